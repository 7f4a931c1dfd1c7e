"""The Kubernetes manifests, held together. `make lint` checks each against its schema."""

import copy
import re
import textwrap
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from autotool_server.api.app import create_app
from autotool_server.api.metrics import Metrics
from autotool_server.api.state import ServerState
from autotool_server.settings import PREFIX, Settings

FOLDER = Path(__file__).parents[3] / "deploy/kubernetes"
DEPLOYMENT, SERVICE, MONITOR, SCALER, KUSTOMIZATION, ADAPTER = (
    yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    for name in ("deployment", "service", "servicemonitor", "hpa", "kustomization", "prometheus-adapter-values")
)
POD = DEPLOYMENT["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]


def test_the_kustomization_has_every_manifest_and_the_image() -> None:
    others = {"kustomization.yaml", "prometheus-adapter-values.yaml"}
    assert set(KUSTOMIZATION["resources"]) == {path.name for path in FOLDER.iterdir()} - others
    assert [image["name"] for image in KUSTOMIZATION["images"]] == [CONTAINER["image"]]


def test_the_selectors_find_pods_and_service() -> None:
    labels = POD["metadata"]["labels"].items()
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"].items() <= labels
    assert SERVICE["spec"]["selector"].items() <= labels
    assert MONITOR["spec"]["selector"]["matchLabels"].items() <= SERVICE["metadata"]["labels"].items()


def test_the_ports_have_the_names_by_which_they_are_found() -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    (port,) = SERVICE["spec"]["ports"]
    assert port["targetPort"] in ports
    assert [endpoint["port"] for endpoint in MONITOR["spec"]["endpoints"]] == [port["name"]]
    assert variables()["AUTOTOOL_PORT"]["value"] == str(ports["http"])


def variables() -> dict[str, Any]:
    return {variable["name"]: variable for variable in CONTAINER["env"]}


def test_the_variables_are_settings_and_kubernetes_adds_none_of_their_prefix() -> None:
    assert POD["spec"]["enableServiceLinks"] is False
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert {name for name in variables() if name.startswith(PREFIX)} <= known


def test_a_model_that_was_not_trained_to_decide_is_served_in_long() -> None:
    options = dict(zip(CONTAINER["args"][::2], CONTAINER["args"][1::2], strict=True))
    assert options == {"--model": "Qwen/Qwen3-8B", "--default-mode": "long"}
    assert {name.removeprefix("--").replace("-", "_") for name in options} <= Settings.model_fields.keys()


def test_probes_and_metrics_are_routes_of_the_server() -> None:
    probes = {kind: CONTAINER[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/health/ready", "liveness": "/health/live", "readiness": "/health/ready"}
    paths = create_app(ServerState(Settings())).openapi()["paths"]
    assert {*probes.values(), *(endpoint["path"] for endpoint in MONITOR["spec"]["endpoints"])} <= set(paths)


def test_the_autoscaler_scales_the_deployment_by_a_metric_of_the_server() -> None:
    target = SCALER["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (DEPLOYMENT["kind"], DEPLOYMENT["metadata"]["name"])
    assert "replicas" not in DEPLOYMENT["spec"]
    (metric,) = SCALER["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert name in {exported.name for exported in Metrics().registry.collect() if exported.type == "gauge"}
    (rule,) = ADAPTER["rules"]["custom"]
    assert rule["name"]["as"] == name
    assert rule["seriesQuery"].startswith(f"{name}{{")


def merged(of: Any, patch: Any) -> Any:
    """Return a part of a manifest with a strategic merge patch: lists of named objects are merged by their names."""
    if isinstance(of, dict) and isinstance(patch, dict):
        return {**of, **{name: merged(of.get(name), value) for name, value in patch.items()}}
    if isinstance(of, list) and isinstance(patch, list):
        old, new = ({item["name"]: item for item in items} for items in (of, patch))
        return list(merged(old, new).values())
    return copy.deepcopy(patch)


def test_the_guides_audit_log_is_a_file_of_each_pod_on_a_volume() -> None:
    guide = (FOLDER.parents[1] / "docs/guides/deploy.md").read_text()
    section = guide.partition("\n## The audit log")[2].partition("\n## ")[0]
    shown = re.findall(r"^    ```yaml\n(.*?)^    ```", section, re.MULTILINE | re.DOTALL)
    patch, claim = (yaml.safe_load(textwrap.dedent(text)) for text in shown)
    deployment = merged(DEPLOYMENT, patch)
    for manifest in (deployment, claim):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    added = {variable["name"]: variable for variable in container["env"]}
    assert list(added).index("POD_NAME") < list(added).index("AUTOTOOL_AUDIT_LOG"), "a value refers to variables before it"
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "audit")
    assert added["AUTOTOOL_AUDIT_LOG"]["value"] == f"{mount['mountPath']}/$(POD_NAME).jsonl"
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == mount["name"])
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert len(container["volumeMounts"]) == len(CONTAINER["volumeMounts"]) + 1
