"""What ``fleetnet serve`` refuses, each in one line."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from conftest import Run
from fleetnet.serving.config import Settings
from fleetnet.serving.lifecycle import check_models


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is nothing to serve"),
        (["NETWORK", "NETWORK"], "two models are called 'network'"),
        (["../x=NETWORK"], "is no name of a model"),
        (["net/a/b=NETWORK"], "is no version"),
        (["NETWORK", "--folder", "nowhere"], "is no folder of models"),
        (["NETWORK", "--config", "nowhere.yaml"], "cannot read nowhere.yaml"),
        (["NETWORK", "--tokens", "nowhere"], "cannot read nowhere"),
        (["NETWORK", "--split", "2"], "--split is VERSION=SHARE"),
        (["NETWORK", "--split", "2=200%"], "--split 2=200%: a share is from 0 to 1"),
        (["NETWORK", "--split", "2=10"], "--split 2=10: a share is from 0 to 1"),
        (["NETWORK", "--split", "2=10%"], "routing.network.split: there is no version '2'"),
        (["NETWORK", "--shadow", "2"], "routing.network.shadow: there is no version '2'"),
        (["net=NETWORK", "--shadow", "nets/1"], "no model 'nets', did you mean 'net'?"),
        (["net=NETWORK", "net=NETWORK"], "for another version of it"),
        (["a=NETWORK", "b=NETWORK", "--shadow", "2"], "Give NAME/2"),
        (["NETWORK", "--log", "loud"], "log: it must be 'text' or 'json'"),
        (["NETWORK", "--engine", "openvin", "--port", "0"], "did you mean 'openvino'"),
        (["NETWORK", "--host", "no.such.host.invalid"], "is no address to listen on"),
    ],
)
def test_bad_input_is_one_line(
    fleetnet: Run, network: Path, arguments: list[str], said: str
) -> None:
    result = fleetnet("serve", *(word.replace("NETWORK", str(network)) for word in arguments))
    assert result.code == 2, result
    *logged, last = result.err.strip().splitlines()
    assert last.startswith("error: ")
    assert said in last
    assert "Traceback" not in result.err
    assert all(" warning " in line or " info " in line for line in logged)


def test_what_served_leaves_no_log_behind(fleetnet: Run, network: Path) -> None:
    """Its handler would write to a standard error that a later server does not have."""
    names = ("fleetnet.serving", "grpc", "uvicorn")
    loggers = [logging.getLogger(name) for name in names]
    former = [(one.handlers[:], one.level, one.propagate) for one in loggers]
    assert fleetnet("serve", str(network), "--tokens", "nowhere").code == 2
    assert [(one.handlers[:], one.level, one.propagate) for one in loggers] == former


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits: {bodys: 1}", "limits.bodys: nothing of this name is known, did you mean 'body'?"),
        ("prot: 1", "prot: nothing of this name is known, did you mean 'port'?"),
        ("port: true", "port: it must be a number, not True"),
        ("port: 1\nhost: a\nport: 2", "is not valid YAML at line 3: 'port' is there twice"),
        ("grpc: false", "grpc: it must be settings of its own, each with a name, not False"),
        ("brpc: 8002", "brpc: it must be settings of its own"),
        ("engine: onnxruntime", "engine: it must be settings of its own"),
        ("queue: 10", "queue: it must be settings of its own"),
        ("drift: ref.json", "drift: it must be settings of its own"),
        ("routing: [1]", "routing: it must be settings of its own"),
        ("models: [a.bundle]", "models: it must be settings of its own"),
        ("load: [network, nope]", "there is no model 'nope' to load"),
        ("routing: {network: {split: {1.5: 10%}}}", 'written in quotes, as "1.10"'),
        ("aliases: {stable: network/9}", "aliases.stable: there is no version '9'"),
        ("routing: {network: {default: '7'}}", "routing.network.default: there is no version '7'"),
    ],
)
def test_a_wrong_file_is_one_line(
    fleetnet: Run, network: Path, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(text, "utf-8")
    result = fleetnet("serve", str(network), "--config", str(file))
    assert result.code == 2, result
    assert said in result.err.strip().splitlines()[-1]


def test_routes_to_what_a_folder_may_get_are_a_warning(
    versions: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = {"folder": versions, "routing": {"shapes": {"split": {"3": "10%"}, "shadow": "2"}}}
    with caplog.at_level(logging.WARNING, "fleetnet.serving"):
        check_models(Settings.load_all(None, {}, values))
    assert [record.getMessage() for record in caplog.records] == [
        "routing.shapes.split: there is no version '3' of 'shapes' (there are: 1, 2) yet: until it "
        "is loaded, others answer"
    ]


def test_what_lies_in_a_folder_and_is_no_model_is_said(
    versions: Path, network: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "models"
    shutil.copytree(versions, folder)
    (folder / "empty").mkdir()
    (folder / "shapes" / "3").mkdir()
    shutil.copytree(versions / "shapes" / "1", folder / "bad name.bundle")
    (folder / "away").symlink_to(versions / "shapes" / "1")
    (folder / "README.md").write_text("Models.")
    (folder / ".hidden").mkdir()
    shutil.copy(network, folder / "net.onnx")
    shutil.copytree(versions / "shapes" / "1", folder / "net.bundle")
    with caplog.at_level(logging.WARNING, "fleetnet.serving"):
        check_models(Settings.load_all(None, {}, {"folder": folder}))
    said = {record.args[0].name: record.args[1] for record in caplog.records}  # type: ignore[index, union-attr]
    assert said == {
        "empty": "there is no fleetnet.json in it",
        "3": "there is no fleetnet.json in it",
        "bad name.bundle": "a name has letters, digits, dots, hyphens and underscores only",
        "away": "a link that leads out of the folder",
        "net.onnx": "another model has its name",
    }


def test_a_variable_does_not_hide_a_wrong_section(
    fleetnet: Run, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("limits: 5", "utf-8")
    monkeypatch.setenv("FLEETNET_SERVE_LIMITS_BODY", "100")
    result = fleetnet("serve", str(network), "--config", str(file))
    assert (result.code, "limits: it must be settings" in result.err) == (2, True), result.err


def test_the_name_of_an_only_model_may_be_left_out_wherever_it_is_named(
    fleetnet: Run, network: Path, versions: Path, tmp_path: Path
) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(f"models: {{net/1: {network}, net/2: {network}}}", "utf-8")
    for where in (["--config", str(file)], ["--folder", str(versions)]):
        known = fleetnet("serve", *where, "--split", "2=10%", "--shadow", "1", "--log", "loud")
        assert "log: it must be" in known.err, known.err
        unknown = fleetnet("serve", *where, "--tokens", "nowhere", "--split", "9=10%")
        assert "cannot read nowhere" in unknown.err
    reference = fleetnet("serve", "--config", str(file), "--reference", "a.json")
    assert "of which model is the reference" in reference.err


def test_versions_in_yaml_may_be_numbers() -> None:
    routing = {"shapes": {"default": 1, "split": {2: "10%"}, "shadow": 3}}
    shown = Settings.load_all(None, {}, {"routing": routing}).routing["shapes"]
    assert (shown.default, shown.split, shown.shadow) == ("1", {"2": "10%"}, "3")
