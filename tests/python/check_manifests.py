"""Validates Kubernetes manifests against the schemas of one or more releases, strictly.

Usage: check_manifests.py VERSION... < manifests.yaml
Prints the kinds that were validated, and those that Kubernetes itself does not know, as one JSON
object. Fails with the place of the first fault.
"""

import json
import sys

import kubernetes_validate
import yaml

# Kinds of custom resources: their schemas are in no package registry.
CUSTOM = {"PodMonitor", "SecurityContextConstraints"}


def main():
    documents = [document for document in yaml.safe_load_all(sys.stdin) if document]
    validated, custom = [], []
    for document in documents:
        kind = document["kind"]
        if kind in CUSTOM:
            custom.append(kind)
            continue
        for version in sys.argv[1:]:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                place = ".".join(str(part) for part in error.path)
                sys.exit(f"{kind} is not valid for Kubernetes {version}: {place}: {error.message}")
        validated.append(kind)
    print(json.dumps({"validated": sorted(validated), "custom": sorted(custom)}))


main()
