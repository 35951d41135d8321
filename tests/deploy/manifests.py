"""The Kubernetes objects as they would be applied: rendered by kubectl and helm, and held against the schemas."""

import functools
import gzip
import json
import os
import shutil
import subprocess
import tempfile
import unittest

import jsonschema
import yaml

from harness import DEPLOY, ROOT, need

OVERLAYS = ("dev", "cpu", "gpu", "mtls")
NAMESPACES = {"gpu": "quantd-gpu"}  # of the others: quantd
K8S = os.path.join(DEPLOY, "k8s")
CHART = os.path.join(DEPLOY, "chart")
EXAMPLES = os.path.join(DEPLOY, "examples")
SCHEMAS = os.path.join(os.path.dirname(ROOT), "shared", "data", "k8s-schemas")

DEFINITIONS = "#/definitions/"
# Kinds that have the schema of another: cert-manager's ClusterIssuer is an Issuer without a namespace.
SAME_AS = {"ClusterIssuer": "Issuer"}
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
# What the OpenAPI document calls plain strings, as the API server parses it.
WRITTEN_FORMS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "oneOf": [{"type": "number"}, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?([KMGTPE]i|[munkMGTPE])?$"}]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
}


class StrictLoader(yaml.CSafeLoader):
    """YAML 1.1 as usual, but a key that is given twice is an error instead of the last one winning."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def parse(text):
    return [document for document in yaml.load_all(text, StrictLoader) if document is not None]


def read(path):
    with open(path, encoding="utf-8") as file:
        return parse(file.read())


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


@functools.cache
def _overlay_text(name):
    return output(need("kubectl"), "kustomize", os.path.join(K8S, "overlays", name))


def chart_arguments(name=None):
    """What `helm template` needs to make the objects of the overlay NAME, its Namespace too."""
    namespace = ["--namespace", NAMESPACES.get(name, "quantd"), "--set", "namespace.create=true"]
    return namespace + (["--values", os.path.join(CHART, f"values-{name}.yaml")] if name else [])


@functools.cache
def _chart_text(name):
    return output(need("helm"), "template", "quantd", CHART, *chart_arguments(name))


def render_overlay(name):
    """The objects of `kubectl apply -k deploy/k8s/overlays/NAME`; each call gives its own copy."""
    return parse(_overlay_text(name))


def render_chart(name=None):
    """The objects of the chart with values-NAME.yaml, or with its defaults."""
    return parse(_chart_text(name))


def render_changed(overlay, changes):
    """The overlay's objects after `changes` of a copy of deploy/k8s: path -> function that changes the text."""
    with tempfile.TemporaryDirectory(prefix="quantd-deploy-") as folder:
        for name in ("k8s", "dashboards"):
            shutil.copytree(os.path.join(DEPLOY, name), os.path.join(folder, name))
        for path, change in changes.items():
            with open(os.path.join(folder, "k8s", path), "r+", encoding="utf-8") as file:
                text = change(file.read())
                file.seek(0)
                file.write(text)
                file.truncate()
        return parse(output(need("kubectl"), "kustomize", os.path.join(folder, "k8s", "overlays", overlay)))


def render_with_hpa(overlay):
    """The overlay with the component of deploy/k8s/alternatives."""
    return render_changed(overlay, {
        f"overlays/{overlay}/kustomization.yaml": lambda text: text + "components: [../../alternatives]\n"})


def title(one):
    return f"{one.get('kind')}/{one.get('metadata', {}).get('name')}"


class Schemas:
    """Strict: a field that the schema does not know is a complaint, as with kubeconform -strict."""

    def __init__(self, folder=SCHEMAS):
        self.folder = folder
        with gzip.open(os.path.join(folder, "kubernetes-1.34-openapi-v2.json.gz"), "rt") as file:
            self.definitions = json.load(file)["definitions"]
        self.definitions.update(WRITTEN_FORMS)
        self.names = {}
        for name, definition in self.definitions.items():
            if definition.get("properties"):
                definition.setdefault("additionalProperties", False)
            for kind in definition.get("x-kubernetes-group-version-kind", []):
                self.names[kind["group"], kind["version"], kind["kind"]] = name
        self._resolver = jsonschema.RefResolver("", {"definitions": self.definitions})

    def _errors(self, schema, value):
        return jsonschema.Draft7Validator(schema, resolver=self._resolver).iter_errors(value)

    def _custom(self, group, version, kind):
        """The schema of a custom resource; the parts that all objects share are those of the core."""
        path = os.path.join(self.folder, "crd", group, f"{SAME_AS.get(kind, kind).lower()}_{version}.json")
        if not os.path.exists(path):
            return None
        with open(path, encoding="utf-8") as file:
            schema = json.load(file)
        schema["properties"]["metadata"] = {"$ref": DEFINITIONS + OBJECT_META}
        return schema

    def complaints(self, one):
        """What is wrong with one object: "KIND/NAME: PATH: what"."""
        group, _, version = str(one.get("apiVersion", "")).rpartition("/")
        kind = str(one.get("kind", ""))
        if (group, version, kind) in self.names:
            schema = {"$ref": DEFINITIONS + self.names[group, version, kind]}
        elif (schema := self._custom(group, version, kind)) is None:
            return [f"{title(one)}: no schema for kind {kind} of {one.get('apiVersion')}"]
        return [f"{title(one)}: {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
                for error in self._errors(schema, one)]


@functools.cache
def schemas():
    """The schemas, or the test is skipped: they are data beside the tree and not a tool that could be installed."""
    if not os.path.isdir(SCHEMAS):
        raise unittest.SkipTest(f"no schemas: {os.path.relpath(SCHEMAS, ROOT)} is absent")
    return Schemas()
