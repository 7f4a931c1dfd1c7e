"""Files of kinds whose schemas the checker of `make lint` lacks: the fields that they use are those of the documentation.

ServiceMonitor: https://prometheus-operator.dev/docs/api-reference/api/; Kustomization:
https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/; the adapter's values: the chart
prometheus-community/prometheus-adapter, and "Metrics Discovery and Presentation Configuration" of
kubernetes-sigs/prometheus-adapter.
"""

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

FOLDER = Path(__file__).parents[3] / "deploy/kubernetes"
TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "object", "additionalProperties": TEXT}
NAME = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"}
SECONDS = {"type": "string", "pattern": "^[0-9]+s$"}


def fields(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of an object that has these fields and no others."""
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def several(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


ENDPOINT = fields({"port": NAME}, {"path": {"type": "string", "pattern": "^/"}, "interval": SECONDS, "scrapeTimeout": SECONDS})
RESOURCE = fields({"resource": NAME}, {"group": NAME})
RULE = {
    "seriesQuery": TEXT,
    "resources": fields({"overrides": {"type": "object", "additionalProperties": RESOURCE}}),
    "name": fields({"matches": TEXT, "as": TEXT}),
    "metricsQuery": TEXT,
}
SCHEMAS = {
    "servicemonitor": fields(
        {
            "apiVersion": {"const": "monitoring.coreos.com/v1"},
            "kind": {"const": "ServiceMonitor"},
            "metadata": fields({"name": NAME}, {"labels": TEXTS}),
            "spec": fields({"selector": fields({"matchLabels": TEXTS}), "endpoints": several(ENDPOINT)}),
        }
    ),
    "kustomization": fields(
        {
            "apiVersion": {"const": "kustomize.config.k8s.io/v1beta1"},
            "kind": {"const": "Kustomization"},
            "resources": several({"enum": sorted(path.name for path in FOLDER.iterdir())}),
            "images": several(fields({"name": TEXT}, {"newName": TEXT, "newTag": TEXT})),
        }
    ),
    "prometheus-adapter-values": fields(
        {
            "prometheus": fields({"url": {"type": "string", "pattern": "^https?://[a-z0-9.-]+$"}, "port": {"type": "integer"}}),
            "rules": fields({"default": {"type": "boolean"}, "custom": several(fields(RULE))}),
        }
    ),
}


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_file_has_the_documented_fields(name: str) -> None:
    jsonschema.validate(read(name), SCHEMAS[name])


def test_a_monitor_that_the_operator_would_refuse_is_found() -> None:
    monitor = copy.deepcopy(read("servicemonitor"))
    monitor["spec"]["endpoints"][0]["intervall"] = "15s"
    with pytest.raises(jsonschema.ValidationError, match="intervall"):
        jsonschema.validate(monitor, SCHEMAS["servicemonitor"])


def test_every_manifest_has_a_check() -> None:
    makefile = (FOLDER.parents[1] / "Makefile").read_text()
    others = [path.name for path in FOLDER.iterdir() if path.stem not in SCHEMAS]
    assert all(name in makefile for name in others)
