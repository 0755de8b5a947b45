"""Engines are found: a file in the folder, another package's entry point, or one added by hand."""

import importlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.inference import engines
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.engines import (
    ENGINES,
    devices,
    engines_for,
    installed_engines,
    open_engine,
    precisions,
)
from fleetnet.inference.engines.registry import Engines
from fleetnet.inference.tuning import tune
from fleetnet.inference.tuning_cache import load_tuned, save_tuned

ONE_FILE = dedent(
    '''
    """An engine that finds every image to be of its first class."""

    from collections.abc import Iterable, Iterator

    import numpy as np

    from fleetnet.inference.engines import Closing, EngineKind, Takes


    class Constant(Closing[int]):
        name = "constant"
        version = "1"

        def __init__(self, classes, setup):
            self.precision, self.device, self.threads = setup.precision, setup.device, 1
            super().__init__(classes)

        def run(self, pixels):
            logits = np.zeros((len(pixels), self._taken()), np.float32)
            logits[:, 0] = 1
            return logits

        def run_all(self, batches):
            yield from map(self.run, batches)


    def open(bundle, setup):
        bundle.files(format="safetensors")
        return Constant(len(bundle.manifest.classes), setup)


    ENGINE = EngineKind(
        name="constant",
        needs="json",
        title="Python",
        takes={"fp32": Takes("safetensors"), "int8": Takes("odd-format", "int8")},
        open=open,
        devices=lambda: ("cpu", "tpu"),
        native=lambda device: ("fp32", "int8") if device == "cpu" else ("fp32",),
    )
    '''
)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engines:
    """Have engines looked for anew, and forget in the end what was found."""
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ENGINES, "_found", None)
    monkeypatch.setattr(ENGINES, "_broken", {})
    return ENGINES


def in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str = ONE_FILE) -> None:
    """Put a file where the engines of Fleetnet are, as far as Python can tell."""
    (folder / "added.py").write_text(text)
    monkeypatch.setattr(engines, "__path__", [*engines.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "fleetnet.inference.engines.added", raising=False)
    importlib.invalidate_caches()


def in_a_package(folder: Path, monkeypatch: pytest.MonkeyPatch, points: str) -> None:
    """Install a package with entry points, as far as Python can tell."""
    (folder / "others_engine.py").write_text(ONE_FILE)
    described = folder / "others-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(f"[fleetnet.engines]\n{points}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "others_engine", raising=False)
    importlib.invalidate_caches()


def holds_what_an_engine_does(bundle: Bundle) -> None:
    assert installed_engines()[0] == "openvino"
    assert "constant" in installed_engines()
    assert devices("constant") == ("cpu", "tpu")
    assert precisions("constant", bundle) == ("fp32",)
    with Classifier(bundle, engine="constant") as classifier:
        answer = next(classifier.predict(np.zeros((64, 64, 3), np.uint8)))
    assert answer.label == bundle.manifest.classes[0]
    with open_engine("constant", bundle, 1, device="TPU") as engine:
        assert (engine.name, engine.device, engine.precision) == ("constant", "tpu", "fp32")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 64, 64, 3), dtype=np.uint8)
    tuning = tune(bundle, pixels, "latency", engines=["constant"], budget=0)
    assert {trial.candidate.device for trial in tuning.trials} == {"cpu", "tpu"}
    chosen = save_tuned(bundle, tuning)
    assert chosen.engine == "constant"
    assert load_tuned(bundle, "latency") == chosen
    with pytest.raises(FleetnetError, match="finds no int8 network in this bundle"):
        open_engine("constant", bundle, 1, precision="int8")
    with pytest.raises(FleetnetError, match="does not offer int8 on the device tpu: choose fp32"):
        open_engine("constant", bundle, 1, precision="int8", device="tpu")


def test_a_file_in_the_folder_is_an_engine(
    found: Engines, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_folder(tmp_path, monkeypatch)
    holds_what_an_engine_does(bundle)
    assert list(found) == ["openvino", "constant", "onnxruntime", "torch", "torch-compiled"]


def test_another_package_brings_an_engine(
    found: Engines, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_package(tmp_path, monkeypatch, "constant = others_engine:ENGINE")
    holds_what_an_engine_does(bundle)
    assert list(found)[-1] == "constant"


def test_an_engine_is_added_by_hand(found: Engines, bundle: Bundle) -> None:
    inside: dict[str, object] = {}
    exec(ONE_FILE, inside)  # noqa: S102 - our own text
    found.add(inside["ENGINE"])  # type: ignore[arg-type]
    holds_what_an_engine_does(bundle)
    with pytest.raises(FleetnetError, match="there is an engine 'constant' already"):
        found.add(inside["ENGINE"])  # type: ignore[arg-type]


def test_another_engine_that_answers_otherwise_fails_verification(
    found: Engines,
    bundle: Bundle,
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fleetnet: Run,
) -> None:
    in_the_folder(tmp_path, monkeypatch)
    result = fleetnet("verify", bundle.path, "--images", shapes, "--limit", "8")
    result.assert_one_line("constant differs from the trained network by up to")


@pytest.mark.parametrize(
    "command",
    [["conformance"], ["conformance", "BUNDLE"], ["verify", "BUNDLE", "--images", "SHAPES"]],
)
def test_an_engine_of_another_format_is_passed_over(
    found: Engines, bundle: Bundle, shapes: Path, fleetnet: Run, command: list[str]
) -> None:
    inside: dict[str, object] = {}
    exec(ONE_FILE.replace('"safetensors"', '"constant"'), inside)  # noqa: S102 - our own text
    found.add(inside["ENGINE"])  # type: ignore[arg-type]
    assert "constant" in installed_engines()
    assert engines_for(bundle) == ["openvino", "onnxruntime", "torch"]
    given = {"BUNDLE": bundle.path, "SHAPES": shapes}
    result = fleetnet(*(given.get(word, word) for word in command))
    assert result.code == 0, result.err
    assert "onnxruntime" in result.out
    # verify says so; conformance has nothing to say of it.
    about = [line for line in result.out.splitlines() if "constant" in line]
    assert all(line.startswith("not compared: ") for line in about)
    assert bool(about) == (command[0] == "verify")


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ("constant = nowhere_at_all:ENGINE", "No module named 'nowhere_at_all'"),
        ("constant = others_engine:open", "is no EngineKind of this name"),
        ("other = others_engine:ENGINE", "is no EngineKind of this name"),
    ],
)
def test_an_engine_that_cannot_be_loaded_says_why_when_it_is_named(
    found: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: str, words: str
) -> None:
    in_a_package(tmp_path, monkeypatch, points)
    name = points.partition(" ")[0]
    assert name not in found
    with pytest.raises(FleetnetError, match=f"the engine '{name}' cannot be loaded: .*{words}"):
        found.named(name)
    assert found.named("openvino").name == "openvino"


def test_a_runtime_that_is_absent_or_broken_is_said_in_a_line(
    found: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no extra of ours installs it."""
    (tmp_path / "broken_runtime.py").write_text('raise ImportError("libx.so:\\nno such file")')
    monkeypatch.syspath_prepend(str(tmp_path))
    usual = found["openvino"]
    for needs, words in (
        ("absent_runtime", "'odd' needs Odd, which is not installed: pip install absent_runtime"),
        ("broken_runtime", "the engine 'odd' cannot be loaded: libx.so: no such file"),
    ):
        odd = replace(usual, name="odd", title="Odd", needs=needs)
        monkeypatch.setattr(found, "_found", {"odd": odd})
        with pytest.raises(FleetnetError) as raised:
            found.named("odd")
        assert str(raised.value).endswith(words)


def test_another_package_cannot_replace_our_engines(
    found: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_package(tmp_path, monkeypatch, "openvino = others_engine:ENGINE")
    assert found["openvino"].needs == "openvino"


def test_listing_engines_imports_no_runtime() -> None:
    program = dedent(
        """
        import sys
        from fleetnet.inference.engines import ENGINES, installed_engines
        assert list(ENGINES) == ["openvino", "onnxruntime", "torch", "torch-compiled"]
        assert [kind.title for kind in ENGINES.values()]
        assert installed_engines()
        print([name for name in ("openvino", "onnxruntime", "torch") if name in sys.modules])
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["predict", "bench", "tune"])
def test_the_help_names_the_engines_that_there_are(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_package(tmp_path, monkeypatch, "constant = others_engine:ENGINE")
    slow = ONE_FILE.replace("open=open,", "open=open, unasked=False,")
    (tmp_path / "others_engine.py").write_text(slow)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
    shown = subprocess.run(
        [sys.executable, "-m", "fleetnet", verb, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    ).stdout
    names = "".join(shown.split())  # lines break at hyphens
    assert "torch-compiled" in names
    assert "constant" in names
