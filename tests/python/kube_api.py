"""A stand-in for the API server of a Kubernetes cluster: as much of it as helm and kubectl ask for.

Usage: kube_api.py NODE...
Prints its port, and serves on loopback until standard input ends. It keeps what it is given, makes
a pod on each node for a DaemonSet, and gives each pod one line of log that names its node. Nothing
is validated: other tests hold the manifests against Kubernetes' own schemas. `GET /objects` lists
what is kept.
"""

import base64
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import yaml

NODES = sys.argv[1:]
# Group and version, then each resource with its kind and whether it is in a namespace.
RESOURCES = {
    "v1": [
        ("namespaces", "Namespace", False),
        ("pods", "Pod", True),
        ("secrets", "Secret", True),
        ("configmaps", "ConfigMap", True),
        ("serviceaccounts", "ServiceAccount", True),
    ],
    "apps/v1": [("daemonsets", "DaemonSet", True)],
}
KINDS = {name: kind for resources in RESOURCES.values() for name, kind, _ in resources}
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
PLACE = re.compile(
    r"^(?:/api|/apis/apps)/v1(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+))?(?P<log>/log)?$"
)
objects = {}


def resource_list(version):
    entries = [
        {"name": name, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": VERBS}
        for name, kind, namespaced in RESOURCES[version]
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": entries}


def openapi(version):
    """Says that the server checks unknown fields, so that kubectl leaves that to it."""
    group, _, number = version.rpartition("/")
    paths = {}
    for name, kind, _ in RESOURCES[version]:
        paths[f"/{name}"] = {
            "patch": {
                "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
                "responses": {},
                "x-kubernetes-group-version-kind": {"group": group, "version": number, "kind": kind},
            }
        }
    return {"openapi": "3.0.0", "info": {"title": "k", "version": "1"}, "paths": paths}


FIXED = {
    "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0", "platform": "linux/amd64"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            {
                "name": "apps",
                "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
                "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
            }
        ],
    },
    "/api/v1": resource_list("v1"),
    "/apis/apps/v1": resource_list("apps/v1"),
    "/openapi/v3": {
        "paths": {
            "api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"},
            "apis/apps/v1": {"serverRelativeURL": "/openapi/v3/apis/apps/v1"},
        }
    },
    "/openapi/v3/api/v1": openapi("v1"),
    "/openapi/v3/apis/apps/v1": openapi("apps/v1"),
}


def selects(selector, labels):
    """Whether a selector of equalities takes an object with these labels."""
    pairs = [re.split("==?", term, maxsplit=1) for term in selector.split(",") if term]
    return all(len(pair) == 2 and labels.get(pair[0]) == pair[1] for pair in pairs)


def fields(message):
    """The fields of a protobuf message, each with a list of its values."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        number, kind = divmod(varint(), 8)
        value = varint()
        if kind == 2:
            at += value
            value = message[at - value : at]
        found.setdefault(number, []).append(value)
    return found


def secret(body):
    """A Secret in Kubernetes' protobuf form (apimachinery's protobuf.go, core/v1's generated.proto)."""

    def entries(maps):
        pairs = [fields(entry) for entry in maps]
        return {pair[1][0].decode(): pair.get(2, [b""])[0] for pair in pairs}

    message = fields(fields(body[4:])[2][0])
    metadata = fields(message[1][0])
    data = {key: base64.b64encode(value).decode() for key, value in entries(message.get(2, [])).items()}
    labels = {key: value.decode() for key, value in entries(metadata.get(11, [])).items()}
    return {
        "apiVersion": "v1",
        "metadata": {"name": metadata[1][0].decode(), "labels": labels},
        "type": message[3][0].decode(),
        "data": data,
    }


def keep(resource, namespace, name, value):
    metadata = value.setdefault("metadata", {})
    metadata.setdefault("name", name)
    metadata.setdefault("uid", f"{resource}-{name}")
    metadata["resourceVersion"] = str(len(objects) + 1)
    if namespace:
        metadata.setdefault("namespace", namespace)
    value["kind"] = KINDS[resource]
    objects[resource, namespace, metadata["name"]] = value
    if resource == "daemonsets":
        for node in NODES:
            template = value["spec"]["template"]
            pod = {
                "apiVersion": "v1",
                "metadata": {"labels": dict(template["metadata"]["labels"])},
                "spec": {**template["spec"], "nodeName": node},
                "status": {"phase": "Running"},
            }
            keep("pods", namespace, f"{metadata['name']}-{node}", pod)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, value, status=200, kind="application/json"):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def fail(self, status, reason):
        message = f"{self.path}: {reason}"
        self.answer(
            {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": status},
            status,
        )

    def bytes(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def body(self):
        body = self.bytes()
        # Helm's own records are the one thing that comes so.
        return secret(body) if body.startswith(b"k8s\0") else yaml.safe_load(body or b"{}")

    def serve(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if self.command == "GET" and url.path in FIXED:
            return self.answer(FIXED[url.path])
        if url.path == "/objects":
            kept = [value for (resource, _, _), value in objects.items() if resource != "pods"]
            return self.answer(kept)
        found = PLACE.match(url.path)
        if found is None:
            # A namespace itself.
            found = re.match(r"^/api/v1/(?P<resource>namespaces)(?:/(?P<name>[^/]+))?$", url.path)
        if found is None or found["resource"] not in KINDS:
            self.bytes()
            return self.fail(404, "NotFound")
        place = found.groupdict()
        key = (place["resource"], place.get("namespace"), place.get("name"))
        return getattr(self, f"on_{self.command.lower()}")(key, place, query)

    def on_get(self, key, place, query):
        resource, namespace, name = key
        if place.get("log"):
            line = json.dumps({"kind": "request", "node": objects[key]["spec"]["nodeName"]})
            return self.answer(f"{line}\n".encode(), kind="text/plain")
        if name:
            return self.answer(objects[key]) if key in objects else self.fail(404, "NotFound")
        selector = query.get("labelSelector", [""])[0]
        items = [
            value
            for (of, within, _), value in sorted(objects.items())
            if (of, within) == (resource, namespace)
            and selects(selector, value["metadata"].get("labels", {}))
        ]
        of_it = {"kind": f"{KINDS[resource]}List", "metadata": {"resourceVersion": "1"}, "items": items}
        version = "apps/v1" if resource == "daemonsets" else "v1"
        return self.answer({"apiVersion": version, **of_it})

    def on_post(self, key, place, query):
        value = self.body()
        name = value["metadata"]["name"]
        if (key[0], key[1], name) in objects:
            return self.fail(409, "AlreadyExists")
        keep(key[0], key[1], name, value)
        return self.answer(value, 201)

    def on_put(self, key, place, query):
        value = self.body()
        keep(*key, value)
        return self.answer(value)

    def on_patch(self, key, place, query):
        value = self.body()
        if key in objects and "apply-patch" not in self.headers.get("Content-Type", ""):
            value = {**objects[key], **value}
        keep(*key, value)
        return self.answer(value)

    def on_delete(self, key, place, query):
        self.bytes()
        gone = objects.pop(key, None)
        if gone is None:
            return self.fail(404, "NotFound")
        if key[0] == "daemonsets":
            for pod in [one for one in objects if one[0] == "pods" and one[2].startswith(f"{key[2]}-")]:
                del objects[pod]
        return self.answer({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


main()
