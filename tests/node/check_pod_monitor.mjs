// Validates the PodMonitors among Kubernetes manifests against the Prometheus operator's own schema.
//
// Usage: check_pod_monitor.mjs NODE_MODULES < manifests.json
// The schema does not refuse members that it does not know. So each value is replaced by one of a
// wrong type, which must be refused: where it is not, nobody reads the member.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const file = '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor.js';
const { PodMonitor } = await import(pathToFileURL(join(process.argv[2], file)));

/** Returns why a manifest is refused, or nothing. */
function refusal(manifest) {
  try {
    new PodMonitor(manifest).validate();
    return undefined;
  } catch (error) {
    return error.message;
  }
}

/** Lists the paths of all values in an object that are neither objects nor lists. */
function* leaves(value, path = []) {
  if (typeof value !== 'object' || value === null) {
    yield path;
    return;
  }
  for (const key of Object.keys(value)) yield* leaves(value[key], [...path, key]);
}

/** Returns a copy of a manifest with another value at a path. */
function replaced(manifest, path, value) {
  const copy = structuredClone(manifest);
  let place = copy;
  for (const key of path.slice(0, -1)) place = place[key];
  place[path.at(-1)] = value;
  return copy;
}

const monitors = JSON.parse(readFileSync(0)).filter((one) => one.kind === 'PodMonitor');
for (const monitor of monitors) {
  const fault = refusal(monitor);
  if (fault !== undefined) throw new Error(fault);
  for (const path of leaves(monitor.spec, ['spec'])) {
    if (refusal(replaced(monitor, path, { wrong: 'type' })) === undefined) {
      throw new Error(`${path.join('.')} is not in the schema`);
    }
  }
}
console.log(monitors.length);
