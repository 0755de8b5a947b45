"""The files of ``deploy/``: against schemas, by the tools of what they are for, and run."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import promql_parser
import pytest
import yaml

from fleetnet.conformance.files import find_set
from fleetnet.serving.config import PREFIX, Settings
from fleetnet.serving.drift import Watch
from fleetnet.serving.metrics import Metrics
from samples import ROOT
from serving.test_drift import made_up, show

DEPLOY = ROOT / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
BIN = Path(sys.executable).parent
Object = dict[str, Any]


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a tool, and return what it says; it has to be content."""
    found = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout + found.stderr


def documents(path: Path) -> list[Object]:
    return list(yaml.safe_load_all(path.read_text("utf-8")))


def only(path: str) -> Object:
    (document,) = documents(DEPLOY / path)
    return document


needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="Debian's package prometheus has promtool"
)
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed"
)


# The image ----------------------------------------------------------------------------------------


@functools.cache
def dockerfile() -> dict[str, str]:
    """Return the last instruction of each kind in the last stage."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split(maxsplit=1) for line in lines)


def test_the_image_runs_as_nobody_and_is_pinned() -> None:
    uid, _, gid = dockerfile()["USER"].partition(":")
    assert int(uid) > 1000
    assert int(gid) > 1000
    for line in (DEPLOY / "Dockerfile").read_text("utf-8").splitlines():
        if line.startswith("FROM"):
            assert re.fullmatch(r"FROM python:3\.11\.\d+-(slim-)?bookworm( AS build)?", line)


def test_the_build_gets_all_that_it_copies() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ")]
    sources = {one for line in copied for one in line if not one.startswith(("--", "/"))}
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may take namespaces of its own")
@pytest.mark.skipif(
    not all(map(shutil.which, ("unshare", "setpriv"))), reason="takes util-linux's tools"
)
def test_the_images_command_answers_on_a_read_only_root(tmp_path: Path) -> None:
    if subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "true"], check=False
    ).returncode:
        pytest.skip("namespaces are not allowed here")
    if Path(sys.prefix).is_relative_to("/tmp"):  # noqa: S108 - the image's, which is empty
        pytest.skip("the image has a /tmp of its own, which hides this Python")
    instructions = dockerfile()
    start = json.loads(instructions["ENTRYPOINT"]) + json.loads(instructions["CMD"])
    health = json.loads(instructions["HEALTHCHECK"].partition("CMD ")[2])
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(find_set() / "network.onnx", models / "net.onnx")
    start = [word.replace("/models", "/run/fleetnet-image/models") for word in start]
    found = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child",
         "sh", Path(__file__).with_name("like_the_container.sh"),
         models, find_set() / "pictures" / "jpeg-baseline.jpg", sys.executable,
         instructions["USER"].partition(":")[0],
         " ".join(start), f'{health[0]} -c "{health[2]}"'],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    said = found.stdout.splitlines()
    assert found.returncode == 0, found.stdout + found.stderr
    assert said[0] == "healthy", found.stderr
    assert json.loads(said[1])["predictions"][0]["top"]
    assert said[2:] == ["written: 0", "ended: 0"]


# Compose ------------------------------------------------------------------------------------------


def test_compose_is_one_by_its_schema() -> None:
    run(
        BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec",
        DEPLOY / "compose.yaml",
    )  # fmt: skip


def test_compose_mounts_what_is_there_and_hardens_everything() -> None:
    compose = only("compose.yaml")
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert {"mem_limit", "pids_limit", "restart"} <= set(service)
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), source
                assert volume.endswith(":ro")
        assert set(service["secrets"]) <= set(compose["secrets"])
    variables = compose["services"]["fleetnet"]["environment"]
    settings = Settings.load_all(None, variables, {})
    assert settings.tokens == Path("/run/secrets/tokens")
    assert settings.engine.threads == compose["services"]["fleetnet"]["cpus"]
    assert settings.drain < int(compose["services"]["fleetnet"]["stop_grace_period"][:-1])
    assert all(name.startswith(PREFIX) for name in variables)


# Prometheus and Grafana ---------------------------------------------------------------------------


@functools.cache
def real_metrics() -> dict[str, frozenset[str]]:
    """Return the names of a server's metrics, with their labels, as ``/metrics`` has them."""
    metrics = Metrics()
    watch = Watch(made_up(300), window=200, least=100)
    show(watch, 150, seed=1)
    metrics.watch("shapes", "1", watch)
    found = {"up": frozenset({"job", "instance"})}
    for family in metrics.registry.collect():
        known = metrics.registry._names_to_collectors.get(family.name)
        labels = frozenset(getattr(known, "_labelnames", ()))
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        for ending in endings.get(family.type, ("",)):
            found[family.name + ending] = labels | ({"le"} if ending == "_bucket" else set())
        for sample in family.samples:
            if sample.name in found:
                found[sample.name] |= set(sample.labels)
    return found


def selectors(expression: Any) -> Iterator[Any]:
    """Yield all selectors of series in a parsed expression."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        inner = getattr(expression, name, None)
        if inner is not None and not isinstance(inner, str):
            yield from selectors(inner)
    args = getattr(expression, "args", None)
    for inner in args if args is not None else ():
        yield from selectors(inner)


def check_expression(text: str) -> None:
    """Hold an expression of PromQL to the metrics and labels that a server has."""
    plain = text.replace("$__rate_interval", "5m").replace("$model", "shapes")
    found = list(selectors(promql_parser.parse(plain)))
    assert found, text
    named = set(re.findall(r"\b(?:fleetnet_\w+|up)\b(?=[\[{)\s]|$)", plain))
    assert named == {one.name for one in found}, text
    for one in found:
        labels = real_metrics().get(one.name)
        assert labels is not None, f"no such metric: {one.name}"
        asked = {matcher.name for matcher in one.matchers.matchers}
        assert asked <= labels | {"job", "instance", "namespace", "pod"}, text


def rules() -> list[Object]:
    (group,) = only("prometheus/rules.yaml")["groups"]
    found: list[Object] = group["rules"]
    return found


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_alerts_ask_for_metrics_that_there_are(rule: Object) -> None:
    check_expression(rule["expr"])
    asked = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    kept = re.search(r"by \(([^)]*)\)", rule["expr"])
    there = set(re.split(r",\s*", kept[1])) if kept else {
        label
        for one in selectors(promql_parser.parse(rule["expr"]))
        for label in real_metrics()[one.name]
    } | {"instance"}  # fmt: skip
    assert asked <= there


@needs_promtool
def test_prometheus_takes_rules_and_configurations(tmp_path: Path) -> None:
    run("promtool", "check", "rules", DEPLOY / "prometheus" / "rules.yaml")
    shutil.copy(DEPLOY / "prometheus" / "rules.yaml", tmp_path)
    token = tmp_path / "token"
    token.write_text("a-token")
    for file in ("prometheus/prometheus.yaml", "kubernetes/monitoring/scrape.yaml"):
        text = (DEPLOY / file).read_text("utf-8")
        # Debian builds promtool without Kubernetes.
        text = text.replace("kubernetes_sd_configs:\n      - role: pod", "static_configs: []")
        copy = tmp_path / "prometheus.yml"
        copy.write_text(text.replace("/run/secrets/metrics-token", str(token)))
        run("promtool", "check", "config", copy)


@needs_promtool
def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "prometheus" / "rules.yaml", tmp_path)
    shutil.copy(Path(__file__).with_name("alerts.yaml"), tmp_path)
    run("promtool", "test", "rules", "alerts.yaml", cwd=tmp_path)


def panels() -> list[Object]:
    board = json.loads((DEPLOY / "grafana" / "dashboards" / "fleetnet.json").read_text("utf-8"))
    found: list[Object] = board["panels"]
    return found


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: str(panel["title"]))
def test_panels_ask_for_metrics_that_there_are(panel: Object) -> None:
    (datasource,) = only("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert panel["datasource"]["uid"] == datasource["uid"]
    for target in panel["targets"]:
        check_expression(target["expr"])
        kept = re.search(r"by \(([^)]*)\)", target["expr"])
        if kept:
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert shown <= set(re.split(r",\s*", kept[1]))


def test_the_dashboard_shows_every_metric() -> None:
    shown = {
        one.name
        for panel in panels()
        for target in panel["targets"]
        for one in selectors(
            promql_parser.parse(
                target["expr"].replace("$__rate_interval", "5m").replace("$model", "x")
            )
        )
    }
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    there = {re.sub("_(bucket|sum|count)$", "", name) for name in real_metrics()} - {"up"}
    assert families == there
    assert [panel["id"] for panel in panels()] == list(range(1, len(panels()) + 1))


# systemd ------------------------------------------------------------------------------------------


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program in it that there is."""
    text = (DEPLOY / "systemd" / "fleetnet.service").read_text("utf-8")
    path = tmp_path / "fleetnet.service"
    path.write_text(re.sub("(?m)^ExecStart=.*", "ExecStart=/bin/true", text))
    return path


@needs_systemd
def test_systemd_takes_the_unit_and_finds_it_hardened(unit: Path) -> None:
    assert run("systemd-analyze", "verify", unit).strip() == ""
    run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)


def test_the_unit_runs_a_command_that_there_is() -> None:
    text = (DEPLOY / "systemd" / "fleetnet.service").read_text("utf-8")
    assert "Type=notify" in text
    assert "ExecStart=/opt/fleetnet/bin/fleetnet serve --config /etc/fleetnet/serve.yaml" in text
    settings = Settings.load_all(DEPLOY / "systemd" / "serve.yaml", {}, {})
    stop = re.search(r"TimeoutStopSec=(\d+)", text)
    assert stop is not None
    assert settings.drain < int(stop[1])
    for variable in re.findall(PREFIX + r"\w+", text):
        Settings.load_all(None, {variable: "x"}, {})


# Kubernetes and KServe ----------------------------------------------------------------------------


def objects() -> list[Object]:
    return [one for path in KUBERNETES for one in documents(path) if "kustomize" not in str(one)]


@pytest.mark.parametrize("version", ["1.32", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("document", objects(), ids=lambda one: str(one["kind"]))
def test_kubernetes_objects_are_ones_by_its_schema(document: Object, version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_what_is_no_object_is_found() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Service", "metadata": {}, "spec": {"port": 1}},
            "1.32",
            strict=True,
        )


def by_kind(kind: str) -> Object:
    (found,) = (one for one in objects() if one["kind"] == kind)
    return found


def test_kustomize_names_every_file() -> None:
    named = only("kubernetes/kustomization.yaml")["resources"]
    assert {*named, "kustomization.yaml"} == {path.name for path in KUBERNETES}


def test_kubernetes_objects_fit_together(tmp_path: Path) -> None:
    deployment = by_kind("Deployment")
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert by_kind("Service")["spec"]["selector"] == labels
    assert by_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert by_kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    scaled = by_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("Deployment", deployment["metadata"]["name"])
    (container,) = pod["spec"]["containers"]
    config = by_kind("ConfigMap")["data"]["serve.yaml"]
    (tmp_path / "serve.yaml").write_text(config)
    settings = Settings.load_all(tmp_path / "serve.yaml", {}, {})
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert {volume["name"] for volume in pod["spec"]["volumes"]} == set(mounts)
    assert str(settings.folder) == mounts["models"]
    assert str(settings.tokens).startswith(mounts["tokens"])
    assert container["ports"][0]["containerPort"] == settings.port
    assert str(settings.engine.threads) == container["resources"]["requests"]["cpu"]
    slept = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > settings.drain + slept
    harden(pod["spec"])


def harden(pod: Object) -> None:
    """Check that a pod meets the restricted standard for pods."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == int(dockerfile()["USER"].partition(":")[0])
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)


def test_the_autoscaler_asks_for_a_metric_that_the_adapter_makes() -> None:
    (rule,) = only("kubernetes/monitoring/prometheus-adapter.yaml")["rules"]["custom"]
    (metric,) = by_kind("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod")
    check_expression(query.replace("<<.LabelMatchers>>", 'namespace="x",pod=~"a|b"'))
    check_expression(rule["seriesQuery"])
    assert re.fullmatch(rule["name"]["matches"], rule["seriesQuery"].partition("{")[0])


def kserve_model(name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the types of a KServe object's fields, and their names in YAML by those in Python."""
    (models,) = (ROOT / ".venv-triton").glob("lib/*/site-packages/kserve/models")
    tree = ast.parse((models / f"{name}.py").read_text("utf-8"))
    found = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in ("openapi_types", "attribute_map")
    }
    return found["openapi_types"], found["attribute_map"]


def check_fields(value: Object, model: str) -> None:
    types, names = kserve_model(model)
    types = {names[python]: kind for python, kind in types.items()}
    plain = {"int": int, "str": str, "bool": bool}
    for name, inner in value.items():
        kind = types[name]
        expected = plain.get(kind, list if kind.startswith("list[") else dict)
        assert type(inner) is expected, (name, kind)


@pytest.mark.skipif(
    not list((ROOT / ".venv-triton").glob("lib/*/site-packages/kserve/models")),
    reason="make .venv-triton/.made installs KServe's models",
)
def test_kserves_fields_are_those_of_its_published_models() -> None:
    service = only("kserve/inferenceservice.yaml")
    check_fields(service, "v1beta1_inference_service")
    check_fields(service["spec"], "v1beta1_inference_service_spec")
    check_fields(service["spec"]["predictor"], "v1beta1_predictor_spec")
    with pytest.raises(KeyError):
        check_fields({"minReplica": 1}, "v1beta1_predictor_spec")
    with pytest.raises(AssertionError):
        check_fields({"minReplicas": "1"}, "v1beta1_predictor_spec")


def test_kserves_predictor_is_a_pod() -> None:
    service = only("kserve/inferenceservice.yaml")
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    own = ("minReplicas", "maxReplicas", "containerConcurrency", "timeout")
    predictor = service["spec"]["predictor"]
    pod = {key: value for key, value in predictor.items() if key not in own}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": service["metadata"], "spec": pod}
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    harden(pod)
    (container,) = pod["containers"]
    assert container["name"] == "kserve-container"
    assert container["args"][0] == f"{service['metadata']['name']}=/mnt/models"
    port = container["args"][container["args"].index("--port") + 1]
    assert int(port) == container["ports"][0]["containerPort"]
