"""Checks the names of other schemas in docs/events.md against the schemas' own packages.

Argument: the page.
"""

import importlib
import pkgutil
import sys

import ocsf_json_schema
import opentelemetry.semconv._incubating.attributes
import opentelemetry.semconv.attributes

# A field of a log record, which is no attribute, and names of our own.
OTEL_OTHERS = {"timeUnixNano", "imds.class", "imds.outcome"}
# Elastic Common Schema publishes no package of its fields: generated/ecs/ecs_flat.yml of
# elastic/ecs at b85f7573 (9.5.0-dev).
ECS = {
    "@timestamp", "event.action", "event.outcome", "destination.ip", "destination.port",
    "http.request.method", "url.path", "url.query", "http.response.status_code",
    "user_agent.original", "source.ip", "source.port", "process.pid", "process.executable",
    "process.args", "process.real_user.id", "container.id", "orchestrator.resource.id",
    "orchestrator.resource.name", "orchestrator.namespace", "host.name", "cloud.instance.id",
}  # fmt: skip


def otel_names():
    """Returns every attribute of the semantic conventions."""
    names = set()
    packages = (opentelemetry.semconv.attributes, opentelemetry.semconv._incubating.attributes)
    for package in packages:
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            names |= {value for value in vars(module).values() if isinstance(value, str)}
    return names


def is_ocsf(path, schema, node):
    """Says whether a class of OCSF has an attribute."""
    for name in path.split("."):
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        node = node.get("items", node)
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        if name not in node.get("properties", {}):
            return False
        node = node["properties"][name]
    return True


lines = open(sys.argv[1], encoding="utf-8").read().splitlines()
start = next(place for place, line in enumerate(lines) if line.startswith("| ours | OpenTelemetry"))
rows = []
for line in lines[start + 2 :]:
    if not line.startswith("|"):
        break
    rows.append([
        [name.strip().strip("`") for name in cell.split(",")] for cell in line.strip("|").split("|")
    ])
assert len(rows) > 15, rows
attributes = otel_names() | OTEL_OTHERS
embedded = ocsf_json_schema.OcsfJsonSchemaEmbedded(ocsf_json_schema.get_ocsf_schema("1.8.0"))
schema = embedded.get_class_schema("http_activity", profiles=["host", "container"])
for _, otel, ecs, ocsf in rows:
    assert attributes.issuperset(otel), otel
    assert ECS.issuperset(ecs), ecs
    assert all(is_ocsf(path, schema, schema) for path in ocsf), ocsf
print("ok")
