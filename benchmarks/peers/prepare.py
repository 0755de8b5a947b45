"""Make what everybody opens: the networks by us, each export in the environment of its project."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.peers.comparison import Place
from benchmarks.peers.contenders import SUBJECTS, Trained
from benchmarks.peers.process import PeerError, environment

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MAKE = HERE / "make"
TIMEOUT_S = 600
KEY = "made-of.txt"


Command = list[str | os.PathLike[str]]


@dataclass(frozen=True)
class Step:
    """A command that makes files; without them it failed, whatever it says."""

    title: str
    command: Sequence[str | os.PathLike[str]]
    makes: tuple[str, ...]


def prepare(place: Place, photos: Path, checkpoints: Sequence[Path] = ()) -> list[Trained]:
    """Make what is not there yet; the reasons for what cannot be made go to ``place.unmade``.

    Returns:
        The trained networks that could be made: the one from a package, and the checkpoints'.

    Raises:
        PeerError: our own networks cannot be made or run, without which there is nothing to
            compare.
    """
    _check_base(place)
    place.models.mkdir(parents=True, exist_ok=True)
    sources = [ROOT / "src", MAKE, HERE / "contenders.py", ROOT / "Makefile"]
    forget_if_changed(place.models, fingerprint(sources))
    _make(_ours(place, photos), place, {**os.environ, "OMP_NUM_THREADS": "1"})
    _try(_exports(place), place)
    trained = _trained(place, photos, checkpoints)
    _try((step for one in trained for step in _exports_of(place, one.file)), place)
    return trained


def _try(steps: Iterable[Step], place: Place) -> None:
    for step in steps:
        try:
            _make(step, place, environment(len(place.cores)))
        except PeerError as error:
            place.unmade.update(dict.fromkeys(step.makes, str(error)))


def _trained(place: Place, photos: Path, checkpoints: Sequence[Path]) -> list[Trained]:
    python, folder = place.pythons.get("trained"), place.models
    if python is None:
        return []
    names = folder / "trained.json"
    module: Command = [python, "-m", "benchmarks.peers.make.trained", folder, photos]
    command = [*module, *(path.resolve() for path in checkpoints)]
    _try((Step("trained networks", command, (names.name,)),), place)
    if names.name in place.unmade:
        place.say(f"no trained networks: {place.unmade[names.name]}")
        return []
    return [Trained(**one) for one in json.loads(names.read_text("utf-8"))]


def _check_base(place: Place) -> None:
    """Find out before everybody else is measured for a quarter of an hour."""
    if python := place.pythons.get("base"):
        engine = "import fleetnet.inference.classifier, fleetnet.inference.engines.openvino"
        _run([python, "-c", engine], environment(1))


def _ours(place: Place, photos: Path) -> Step:
    command: Command = [sys.executable, "-m", "benchmarks.peers.make.ours", place.models, photos]
    return Step("our networks", command, tuple(f"{subject.ours}.npy" for subject in SUBJECTS))


def _exports(place: Place) -> Iterator[Step]:
    folder, python = place.models, place.pythons
    for subject in SUBJECTS:
        if name := subject.paddle:
            save: Command = [python["paddle"], MAKE / "paddle_export.py", folder, name]
            makes = f"{name}.paddle/inference.json"
            yield Step(f"{name} for Paddle Inference", save, (makes,))
        if name := subject.timm:
            yield from _exports_of(place, name)


def _exports_of(place: Place, name: str) -> Iterator[Step]:
    """Give what makes everybody's files of weights under timm's names."""
    export: Command = [
        *(place.pythons["timm"], MAKE / "timm_export.py", place.models, name),
        str(side_of(place.models, name)),
    ]
    yield Step(f"{name} as ONNX and TorchScript", export, (f"{name}.onnx", f"{name}.pt"))
    yield Step(f"{name} for ncnn", _pnnx(place, name), (f"{name}.ncnn.param",))
    yield Step(f"{name} for MNN", _mnnconvert(place, name), (f"{name}.mnn",))


def _mnnconvert(place: Place, name: str) -> Command:
    files: Command = ["--modelFile", place.models / f"{name}.onnx"]
    files += ["--MNNModel", place.models / f"{name}.mnn"]
    return [
        *(place.pythons["mnn"], MAKE / "mnn_convert.py"),
        *("-f", "ONNX", "--bizCode", "peers", *files),
    ]


def _pnnx(place: Place, name: str) -> Command:
    """Convert by pnnx's program itself: the Python package around it would import PyTorch."""
    home = place.pythons["ncnn"].parents[1]
    found = [*home.glob("lib/python*/site-packages/pnnx/pnnx"), home / "bin" / "pnnx"]
    target = place.models / name
    unwanted = [f"{kind}={os.devnull}" for kind in ("pnnxparam", "pnnxbin", "pnnxpy", "pnnxonnx")]
    return [
        found[0],
        f"{target}.pt",
        f"inputshape=[1,3,{side_of(place.models, name)},{side_of(place.models, name)}]",
        "fp16=0",
        f"ncnnparam={target}.ncnn.param",
        f"ncnnbin={target}.ncnn.bin",
        f"ncnnpy={os.devnull}",
        *unwanted,
    ]


def side_of(models: Path, name: str) -> int:
    """Return the side of a network's input in pixels: its own inputs', or 224."""
    inputs = models / f"{name}.inputs.npz"
    if not inputs.is_file():
        return 224
    with np.load(inputs) as arrays:
        return int(arrays["pixels"].shape[1])


def _make(step: Step, place: Place, variables: dict[str, str]) -> None:
    targets = [place.models / name for name in step.makes]
    if all(target.exists() for target in targets):
        return
    place.say(f"making {step.title}")
    try:
        _run(step.command, variables)
    except PeerError:
        for target in targets:
            target.unlink(missing_ok=True)
        raise
    if absent := [target.name for target in targets if not target.exists()]:
        raise PeerError(f"the conversion made no {' and no '.join(absent)}")


def _run(command: Sequence[str | os.PathLike[str]], variables: dict[str, str]) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT_S,
            env=variables,
            cwd=ROOT,
        )
    except FileNotFoundError:
        raise PeerError(f"its environment is not installed: there is no {command[0]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(str(error)) from None
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise PeerError(lines[-1][:300] if lines else f"exit code {done.returncode}")


def forget_if_changed(folder: Path, key: str) -> None:
    """Remove what was made by other sources than those with this fingerprint."""
    file = folder / KEY
    if file.is_file() and file.read_text("utf-8") == key:
        return
    for name in folder.glob("*"):
        if name.suffix in (".npy", ".pt", ".mnn", ".param", ".json"):
            name.unlink()
    for made in folder.glob("*.paddle/inference.json"):
        made.unlink()
    file.write_text(key, "utf-8")


def fingerprint(paths: Iterable[Path]) -> str:
    """Return a hash of the contents of files and of the Python files below folders."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(str(file.relative_to(path)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
