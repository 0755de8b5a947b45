"""What comes from outside, and where the C++ predictor runs, does not end or mislead it."""

from __future__ import annotations

import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import external_data_helper

from cpp.library import Library
from fleetnet.bundle import Bundle
from odd_networks import (
    with_a_class_that_is_not_there,
    with_answers_that_are_no_numbers,
    with_logits_of_another_shape,
    with_two_inputs,
)

CONFORMANCE = Path(__file__).parents[2] / "conformance"
NETWORK = CONFORMANCE / "network.onnx"
PICTURE = CONFORMANCE / "pictures" / "png-rgb.png"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="systems other than Windows")


def _run(words: list[str], **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, **more)  # type: ignore[call-overload, no-any-return]


def _tiled(side: int) -> bytes:
    """Return a TIFF of 100 × 100 pixels in one tile of ``side`` × ``side``, nearly without data."""
    data = zlib.compress(bytes(1000))
    fields = {
        256: 100, 257: 100, 258: 8, 259: 8, 262: 2, 277: 3, 322: side, 323: side, 324: 8,
        325: len(data),
    }  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    directory = struct.pack("<H", len(fields)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


@pytest.mark.parametrize(("side", "error"), [(65536, "decoder error -9"), (16384, "")])
def test_a_small_file_of_a_huge_tile_takes_no_memory(
    predictor: list[str], tmp_path: Path, side: int, error: str
) -> None:
    """A kilobyte may ask for gigabytes; the picture is refused, and the next one is answered."""
    bomb = tmp_path / "bomb.tif"
    bomb.write_bytes(_tiled(side))
    watch = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]);"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss;"
        "sys.exit(done.returncode if peak < 500_000 else 99)"
    )
    words = [*predictor, str(NETWORK), str(bomb), str(PICTURE), "--csv", "-k", "1"]
    done = _run([sys.executable, "-c", watch, *words])
    assert done.returncode == 1, (done.returncode, done.stderr)
    first, second = done.stdout.splitlines()[1:]
    assert "damaged image" in first
    assert error in first
    assert second.endswith(",")


def test_weights_in_other_files_are_refused(
    predictor: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be read from the folder that the program is in, whatever they are."""
    model = onnx.load(str(NETWORK))
    external_data_helper.convert_model_to_external_data(model, location="w.bin", size_threshold=0)
    path = tmp_path / "there" / "model.onnx"
    path.parent.mkdir()
    onnx.save(model, str(path))
    monkeypatch.chdir(path.parent)
    done = _run([*predictor, str(path), str(PICTURE)])
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"error: {path}: its weights are in other files, which nothing checks; export the bundle "
        "anew\n"
    )


def test_answers_that_are_no_numbers_are_said_as_in_python(
    predictor: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    with_answers_that_are_no_numbers(path)
    words = [str(path), str(PICTURE), "--csv"]
    python = _run([sys.executable, "-m", "fleetnet", "predict", *words])
    done = _run([*predictor, *words])
    assert "nan" in done.stdout
    assert (done.returncode, done.stdout) == (python.returncode, python.stdout)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("engine", "make"),
    [
        ("openvino", with_two_inputs),
        ("openvino", with_logits_of_another_shape),
        ("onnxruntime", with_two_inputs),
        ("onnxruntime", with_logits_of_another_shape),
        ("onnxruntime", with_a_class_that_is_not_there),
    ],
)
def test_a_network_that_cannot_be_computed_gets_one_line(
    predictor: list[str], tmp_path: Path, engine: str, make: Callable[[Path], Path], count: int
) -> None:
    """It is the line that Python has, and a runtime's own log does not stand beside it."""
    path = make(tmp_path / "model.onnx")
    folder = Path(onnxruntime.__file__).parent / "capi"
    environment = {**os.environ}
    for runtime in folder.glob("libonnxruntime.so*"):
        environment["FLEETNET_ONNXRUNTIME"] = str(runtime)
    words = [str(path), *[str(PICTURE)] * count, "--engine", engine]
    python = _run([sys.executable, "-m", "fleetnet", "predict", *words])
    done = _run([*predictor, *words], env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert (python.returncode, python.stdout) == (2, "")
    assert _without_line_numbers(python.stderr) == _without_line_numbers(done.stderr)


def _without_line_numbers(text: str) -> str:
    """Return an error without the places in OpenVINO's source, which depend on the language."""
    return re.sub(r"Exception from \S+:\d+: ", "", text)


def test_a_network_that_takes_any_shape_is_refused(predictor: list[str], tmp_path: Path) -> None:
    model = onnx.load(str(NETWORK))
    model.graph.input[0].type.tensor_type.ClearField("shape")
    path = tmp_path / "model.onnx"
    onnx.save(model, str(path))
    done = _run([*predictor, str(path), str(PICTURE)])
    assert done.returncode == 2
    assert "takes images of any shape, the manifest says 24×24×3" in done.stderr


def test_without_a_thread_for_signals_the_command_still_says_what_is_wrong(
    predictor: list[str],
) -> None:
    """It was ended by an abort when the system gave it no thread."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 33, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_AS, (1 << 31, resource.RLIM_INFINITY))

    if resource.getrlimit(resource.RLIMIT_STACK)[1] != resource.RLIM_INFINITY:
        pytest.skip("the limit of the stack cannot be raised")
    done = _run([*predictor, str(NETWORK), "not there.jpg"], preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["de_DE", "ps_AF"])
def test_a_program_of_another_locale_reads_the_same_numbers(
    library: Library, tmp_path: Path, name: str
) -> None:
    """A comma, and a point of two bytes, were taken for the end of a number."""
    localedef = shutil.which("localedef")
    made = tmp_path / f"{name}.UTF-8"
    if localedef is None or _run([localedef, "-i", name, "-f", "UTF-8", str(made)]).returncode:
        pytest.skip("there are no sources of locales ('apt-get install locales')")
    manifest = Bundle.load(NETWORK).manifest.to_json()
    assert '"resize": 27' in manifest
    folder = tmp_path / "b"
    folder.mkdir()
    broken_text = manifest.replace('"resize": 27', '"resize": 27.5')
    (folder / "fleetnet.json").write_text(broken_text)
    code = (
        "import locale, sys; from pathlib import Path; from cpp.library import Library;"
        "locale.setlocale(locale.LC_ALL, sys.argv[1]);"
        "Library(Path(sys.argv[2])).open(Path(sys.argv[3]))"
    )
    path = library.c._name
    environment = {**os.environ, "LOCPATH": str(tmp_path)}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    words = [sys.executable, "-c", code, f"{name}.UTF-8", path]
    whole = _run([*words, str(NETWORK)], env=environment)
    assert whole.returncode == 0, whole.stderr
    broken = _run([*words, str(folder)], env=environment)
    assert "preprocess.resize is 27.5; it must be a whole number" in broken.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_is_refused_instead_of_waiting_for_ever(library: Library) -> None:
    """An engine's threads are not copied by fork."""
    code = (
        "import os, sys; from pathlib import Path; from cpp.library import Library, LibraryError\n"
        "library = Library(Path(sys.argv[1])); bundle = Path(sys.argv[2])\n"
        "picture = Path(sys.argv[3]).read_bytes()\n"
        "opened = library.open(bundle, threads=2, throughput=1)\n"
        "opened.logits([picture] * 4, 4)\n"
        "if os.fork(): sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
        "for call in (lambda: opened.logits([picture] * 4, 4), lambda: library.open(bundle)):\n"
        "    try: call()\n"
        "    except LibraryError as error: print(error, flush=True)\n"
        "os._exit(7)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    words = [sys.executable, "-c", code, library.c._name, str(NETWORK), str(PICTURE)]
    done = _run(words, env=environment)
    assert done.returncode == 7, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("before this process was forked" in line for line in lines)
