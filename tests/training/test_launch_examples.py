"""The examples of launches in the documentation, as far as they can be tried without a cluster."""

import re
import shlex
import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from typer.main import get_command

from fleetnet.cli import _app
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.recipe import Recipe
from fleetnet.yaml_text import from_yaml
from samples import ROOT, TINY

PAGE = (ROOT / "docs" / "distributed.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def understood(words: Sequence[str]) -> dict[str, Any]:
    """Return what our command line makes of the words after ``fleetnet``."""
    assert words[0] == "train"
    command = get_command(_app(["train"]))
    context = command.make_context("fleetnet", [*words], resilient_parsing=False)
    train = command.get_command(context, "train")  # type: ignore[attr-defined]
    parameters: dict[str, Any] = train.make_context("train", [*words[1:]]).params
    Recipe.load(parameters["recipe"], parameters["settings"] or [], parameters["model"])
    return parameters


def torchruns() -> list[list[str]]:
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [
        shlex.split(line, comments=True) for line in lines if "torchrun" in line and "…" not in line
    ]


@pytest.mark.parametrize("words", torchruns(), ids=lambda words: words[0])
def test_torchrun_and_fleetnet_understand_the_command_lines(words: list[str]) -> None:
    from torch.distributed.run import get_args_parser

    arguments = words[words.index("torchrun") + 1 :]
    numbers = {"$SLURM_NNODES": "2", "$SLURM_JOB_ID": "7", "$first:29500": "host:29500"}
    parsed = get_args_parser().parse_args([numbers.get(word, word) for word in arguments])
    assert parsed.module
    assert parsed.training_script == "fleetnet"
    assert understood(parsed.training_script_args)["output"] is not None


def test_a_shell_understands_the_scripts() -> None:
    scripts = blocks("bash")
    assert sum("#SBATCH" in script for script in scripts) == 1
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_kubernetes_understands_the_pods_and_fleetnet_their_commands() -> None:
    (text,) = blocks("yaml")
    job = from_yaml(text)
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    replicas = job["spec"]["pytorchReplicaSpecs"]
    assert set(replicas) == {"Master", "Worker"}
    assert replicas["Master"]["template"] == replicas["Worker"]["template"]
    for replica in replicas.values():
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "pod"},
            **replica["template"],
        }
        kubernetes_validate.validate(pod, "1.32", strict=True)
        (container,) = pod["spec"]["containers"]
        words: list[str] = container["command"] + container["args"]
        assert words[0] == "fleetnet"
        found = understood(words[1:])
        assert found["go_on"]
        mounted = [volume["mountPath"] for volume in container["volumeMounts"]]
        assert any(str(found["output"]).startswith(path) for path in mounted)


@pytest.mark.slow
def test_the_work_of_ray_trains_and_goes_on(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Ray, whose part is to call it in several processes."""
    train, torch = types.ModuleType("ray.train"), types.ModuleType("ray.train.torch")
    for name in ("FailureConfig", "RunConfig", "ScalingConfig"):
        setattr(train, name, dict)
    torch.TorchTrainer = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    monkeypatch.setitem(sys.modules, "ray.train", train)
    monkeypatch.setitem(sys.modules, "ray.train.torch", torch)
    recipe = Recipe.load(overrides=[*TINY, "epochs=1"])
    monkeypatch.setattr("fleetnet.training.recipe.Recipe.load", lambda: recipe)
    (script,) = blocks("python")
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(script, "distributed.md", "exec"), names)  # noqa: S102 - our own page
    config = {"data": str(shapes), "model": "MobileNetV2_x0_25", "output": tmp_path / "run"}
    for _ in range(2):
        names["work"](config)
    assert Checkpoint.load(tmp_path / "run" / "last.ckpt").epoch == 1
