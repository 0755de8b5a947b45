"""``fleetnet-predict`` and ``fleetnet predict`` on the same command lines, to the letter."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from fleetnet.bundle import MANIFEST, Bundle, write_bundle
from fleetnet.cli import main

CONFORMANCE = Path(__file__).parents[2] / "conformance"
PICTURES = CONFORMANCE / "pictures"
LABELS = '名前がとても長いクラスで、表の一行には入りきらないもの\n♀️ emoji 😀, "q"\nesc\x1b[31m\t|e\u0301\nlast\n'
TOLERANCE = 1e-5
"""Of the probabilities that are printed with all their digits: both compute with the same engine,
but the C library's exponential function may round another way than NumPy's."""


class Output(NamedTuple):
    code: object
    out: bytes
    err: bytes


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a network, good and bad pictures, odd names, links and label files."""
    root = tmp_path_factory.mktemp("command")
    lone = Bundle.load(CONFORMANCE / "network.onnx")
    network = (CONFORMANCE / "network.onnx").read_bytes()
    (root / "net.onnx").write_bytes(network)
    manifest = lone.manifest.model_copy(
        update={"artifacts": (lone.artifacts[0].model_copy(update={"files": (
            lone.artifacts[0].files[0].model_copy(update={"name": "model.onnx"}),)}),)}
    )  # fmt: skip
    for name in ("b.bundle", "changed.bundle", "nojson.bundle", "newer.bundle"):
        write_bundle(root / name, manifest, {"model.onnx": network})
    (root / "changed.bundle" / "model.onnx").write_bytes(network[:-1])
    (root / "nojson.bundle" / MANIFEST).write_text("{")
    values = json.loads(manifest.to_json())
    (root / "newer.bundle" / MANIFEST).write_text(json.dumps({**values, "format_version": "3.0"}))
    (root / "plain.onnx").write_bytes(b"no network")
    (root / "empty").mkdir()
    _fill(root / "images")
    for name, text in {
        "labels.txt": LABELS,
        "ids.txt": "2 two\n0 zero\n3 three 3\n٠١ one\n",
        "from1.txt": "1 a\n2 b\n3 c\n4 d\n",
        "few.txt": "one\n\ntwo\n",
        "blank.txt": "\n \n",
        "bom.txt": "\ufeffa\r\nb\x0bc\x85d\u2028",
    }.items():
        (root / name).write_bytes(text.encode())
    (root / "latin1.txt").write_bytes(b"caf\xe9\nb\nc\nd\n")
    return root


def _fill(folder: Path) -> None:
    folder.mkdir()
    good = PICTURES / "jpeg-baseline.jpg"
    for name in (
        "a.jpg", "B.JPG", "b10.jpeg", "b9.jpeg", "new\nline.jpg", "日本語の長い名前の画像 😀.jpg",
        "with space, and \"quotes\" 'x'.jpg", "esc\x1b[31m\u202e.jpg", "[1].jpg", "x" * 120 + ".jpg",
        "sub/deep/er/c.jpg", "sub/d.png.jpg", "sub/[ab].jpg", ".hidden/h.jpg", "__MACOSX/m.jpg",
        "sub/.secret.jpg", "sub/._resource.jpg", "@eaDir/t.jpg",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(good, folder / name)
    shutil.copy(PICTURES / "bad-cut-jpeg.jpg", folder / "cut.jpg")
    shutil.copy(PICTURES / "jpeg-turned-6.jpg", folder / "sub" / "turned.jpg")
    (folder / "text.jpg").write_text("no image")
    (folder / "nothing.jpg").write_bytes(b"")
    for name in ("notes.txt", "notes.TXT", "no ending", "x.日本", "x.toolongending", "sub/a.Ä"):
        (folder / name).write_text("")
    shutil.copy(good, os.fsencode(folder) + b"/caf\xe9\xff.jpg")
    os.mkfifo(folder / "sub" / "pipe.jpg")
    (folder / "sub" / "up").symlink_to("..")
    (folder / "twice").symlink_to("sub/deep")
    (folder / "gone.jpg").symlink_to("not there")
    (folder / "loop.jpg").symlink_to("loop.jpg")


def python(
    place: Path, arguments: tuple[str, ...], stdin: bytes = b"", columns: str = ""
) -> Output:
    """Run the Python command in this process, its streams being files."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.delenv("COLUMNS", raising=False)
        if columns:
            patch.setenv("COLUMNS", columns)
        with pytest.raises(SystemExit) as ended:
            main(["predict", *arguments])
    for stream in (out, err):
        stream.flush()
    return Output(ended.value.code, out.buffer.getvalue(), err.buffer.getvalue())


def environment(**changes: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return plain | changes


Predict = Callable[..., Output]


@pytest.fixture
def cpp(predictor: list[str], place: Path) -> Predict:
    """Run the C++ command in the folder of this file's tests."""

    def run(arguments: tuple[str, ...], stdin: bytes = b"", columns: str = "") -> Output:
        found = subprocess.run(
            [*predictor, *arguments],
            input=stdin,
            capture_output=True,
            cwd=place,
            env=environment(**({"COLUMNS": columns} if columns else {})),
            timeout=60,
            check=False,
        )
        return Output(found.returncode, found.stdout, found.stderr)

    return run


def of_python(line: bytes) -> bytes:
    """Return the C++ command's line as Python's: one has another name and takes only bundles."""
    return line.replace(b"fleetnet-predict", b"fleetnet predict").replace(b"'BUNDLE'", b"'MODEL'")


def assert_same_rows(ours: bytes, python: bytes) -> None:
    """Compare rows of JSON to the letter but for the last digits of probabilities."""
    number = re.compile(rb'"probability": ([^}]+)}')
    assert number.sub(b"", ours) == number.sub(b"", python)
    ours_found = [float(found) for found in number.findall(ours)]
    found = [float(found) for found in number.findall(python)]
    assert ours_found == pytest.approx(found, abs=TOLERANCE)
    for text in number.findall(ours):
        assert repr(float(text)).encode() == text


GOOD = "images/a.jpg"
SEVERAL = ("images/a.jpg", "images/sub/turned.jpg", "images/cut.jpg", "images/b9.jpeg")
ODD = ("images/new\nline.jpg", "images/日本語の長い名前の画像 😀.jpg", "images/esc\x1b[31m\u202e.jpg",
       "images/with space, and \"quotes\" 'x'.jpg", os.fsdecode(b"images/caf\xe9\xff.jpg"),
       "images/" + "x" * 120 + ".jpg")  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("net.onnx", GOOD),
        ("b.bundle", GOOD, "-k", "1"),
        ("b.bundle/fleetnet.json", GOOD, "--top-k", "99"),
        ("b.bundle/", f"./{GOOD}"),
        ("b.bundle", *SEVERAL),
        ("b.bundle", *SEVERAL, "--exact", "--threads=1"),
        ("b.bundle", *SEVERAL, "--batch-size", "3", "-k2"),
        ("b.bundle", *SEVERAL, "--batch-size", "64"),
        ("b.bundle", "images"),
        ("b.bundle", "images/"),
        ("b.bundle", "./images//sub/.."),
        ("b.bundle", "images/sub", "images/sub/deep", "images/twice"),
        ("b.bundle", "images/*.jp*g"),
        ("b.bundle", "images/*/*.jpg", "images/[1].jpg"),
        ("b.bundle", "images/[a-c]*", "images/[!a-z]*.jpg", "images/sub/[[]ab].jpg"),
        ("b.bundle", "images/**/*.jpg"),
        ("b.bundle", "**/deep/**"),
        ("b.bundle", "images/**/d*/*", "images/su?/t*"),
        ("b.bundle", "images/.hidden/*", "images/.h*/h.jpg"),
        ("b.bundle", "images/s*b/"),
        ("b.bundle", "images/*.nothing"),
        ("b.bundle", GOOD, "images/b9.jpeg", "**/x.nothing"),
        ("b.bundle", "empty"),
        ("b.bundle", GOOD, "images/b9.jpeg", "empty"),
        ("b.bundle", GOOD, "empty/"),
        ("b.bundle", "missing.jpg"),
        ("b.bundle", "missing.jpg", GOOD, ""),
        ("b.bundle", ""),
        ("b.bundle", "images/cut.jpg"),
        ("b.bundle", "images/text.jpg", "images/nothing.jpg", "images/gone.jpg", "images/loop.jpg"),
        ("b.bundle", GOOD + "/x.jpg", "x" * 300),
        ("b.bundle", *ODD),
        ("b.bundle", ODD[0]),
        ("b.bundle", ODD[1], "--labels", "labels.txt"),
        ("b.bundle", *ODD, "--labels", "labels.txt"),
        ("b.bundle", *SEVERAL, "--labels", "ids.txt"),
        ("b.bundle", *SEVERAL, "--labels", "bom.txt"),
        ("b.bundle", *SEVERAL, "--labels", ""),
        ("b.bundle", "--", GOOD, "-k"),
        ("b.bundle", GOOD, GOOD, "--precision", "fp32", "--engine", "openvino", "--device", "CPU"),
    ],
    ids=lambda arguments: " ".join(arguments)[:60].encode("unicode_escape").decode(),
)
def test_the_same_table(cpp: Predict, place: Path, arguments: tuple[str, ...]) -> None:
    ours, python_says = cpp(arguments), python(place, arguments)
    assert ours == python_says


@pytest.mark.parametrize("columns", ["1", "40", "61", "80", "200", "x", "-3"])
@pytest.mark.parametrize("images", [ODD, SEVERAL, ODD[1:2]])
def test_the_same_table_of_any_width(
    cpp: Predict, place: Path, columns: str, images: tuple[str, ...]
) -> None:
    arguments = ("b.bundle", *images, "--labels", "labels.txt")
    assert cpp(arguments, columns=columns) == python(place, arguments, columns=columns)


@pytest.mark.parametrize(
    "images", [(GOOD,), SEVERAL, ODD, ("images",), ("images/cut.jpg", "", "images")]
)
def test_the_same_json(cpp: Predict, place: Path, images: tuple[str, ...]) -> None:
    arguments = ("b.bundle", *images, "--json", "--labels", "labels.txt")
    ours, python_says = cpp(arguments), python(place, arguments)
    assert (ours.code, ours.err) == (python_says.code, python_says.err)
    assert_same_rows(ours.out, python_says.out)
    for row in ours.out.splitlines():
        json.loads(row)


@pytest.mark.parametrize(
    "arguments", [(GOOD,), (*SEVERAL, "-k", "2"), ODD, ("images",), ("images", "empty")]
)
def test_the_same_csv(cpp: Predict, place: Path, arguments: tuple[str, ...]) -> None:
    arguments = ("b.bundle", *arguments, "--csv", "--labels", "labels.txt")
    ours = cpp(arguments)
    assert ours == python(place, arguments)
    rows = list(csv.reader(io.StringIO(ours.out.decode("utf-8"), newline="")))
    assert len({len(row) for row in rows}) == 1


@pytest.mark.parametrize("content", [b"", b"no image", None])
@pytest.mark.parametrize("more", [(), (GOOD, "-"), ("--json",), ("--csv",)])
def test_the_same_of_standard_input(
    cpp: Predict, place: Path, content: bytes | None, more: tuple[str, ...]
) -> None:
    stdin = (PICTURES / "jpeg-baseline.jpg").read_bytes() if content is None else content
    arguments = ("b.bundle", "-", *more)
    ours, python_says = cpp(arguments, stdin), python(place, arguments, stdin)
    assert (ours.code, ours.err) == (python_says.code, python_says.err)
    assert_same_rows(ours.out, python_says.out)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("b.bundle",),
        ("--bogus", "x", "y"),
        ("--jso", "x", "y"),
        ("--no-csv", "x", "y"),
        ("--thread", "3", "x", "y"),
        ("-z", "x", "y"),
        ("-é", "x", "y"),
        ("--\n=5", "x", "y"),
        ("-jk", "x", "y"),
        ("x", "y", "--top-k"),
        ("x", "y", "-k"),
        ("x", "y", "--labels"),
        ("x", "y", "-k", "0"),
        ("x", "y", "-k", "-1"),
        ("x", "y", "-k", "x"),
        ("x", "y", "-k", "2.5"),
        ("x", "y", "-k", ""),
        ("x", "y", "-k", "it's"),
        ("x", "y", "-k", "y" * 100),
        ("x", "y", "-k=3"),
        ("x", "y", "--top-k="),
        ("x", "y", "--json=1"),
        ("x", "y", "--threads", "0"),
        ("x", "y", "--batch-size", "4097"),
        ("x", "y", "--batch-size", "x", "-k", "0"),
        ("x", "y", "-k", "0", "--batch-size", "x", "-k", "1"),
        ("x", "y", "--top-k", "--json"),
        ("x", "y", "--json", "--csv"),
        ("x", "y", "--precision", "fp33"),
        ("x", "y", "--precision", "FP32"),
        ("x", "y", "--precision", "zzzzz"),
        ("b.bundle", GOOD, "--threads", "1025"),
        ("b.bundle", GOOD, "--threads", " +1_0 "),
        ("b.bundle", GOOD, "--precision", "int8"),
        ("b.bundle", GOOD, "--device", "nowhere"),
        ("b.bundle", GOOD, "--labels", "few.txt"),
        ("b.bundle", GOOD, "--labels", "from1.txt"),
        ("b.bundle", GOOD, "--labels", "blank.txt"),
        ("b.bundle", GOOD, "--labels", "latin1.txt"),
        ("b.bundle", GOOD, "--labels", "not/there.txt"),
        ("b.bundle", GOOD, "--labels", "images//"),
        ("changed.bundle", GOOD),
        ("nojson.bundle", GOOD),
        ("newer.bundle", GOOD),
        ("plain.onnx", GOOD),
    ],
    ids=lambda arguments: " ".join(arguments)[:60].encode("unicode_escape").decode(),
)
def test_the_same_refusal(cpp: Predict, place: Path, arguments: tuple[str, ...]) -> None:
    ours, python_says = cpp(arguments), python(place, arguments)
    assert of_python(ours.err) == python_says.err
    assert (ours.code, ours.out) == (python_says.code, python_says.out)
