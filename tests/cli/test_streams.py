"""Any name through every verb, to consoles, pipes and files of any encoding."""

import codecs
import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from conftest import Run
from fleetnet.bundle import MANIFEST, ONNX_METADATA_KEY, onnx_metadata
from fleetnet.cli import VERBS, _app, main, streams
from fleetnet.cli.console import print_line, say, warn
from samples import draw, encode, make_folder

ENCODINGS = ("ascii", "cp437", "cp1252", "utf-8")
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
"""What no terminal may get of a name; a line feed ends our own lines."""

NOT_UTF8 = os.fsdecode(b"caf\xe9")
IMAGES = (
    f"{NOT_UTF8}.jpg",
    "new\nline.jpg",
    "tab\tcr\r.jpg",
    "esc\x1b[31mred.jpg",
    "[bold]back\\[red].jpg",
    ":smile:.jpg",
    "rtl\u202egpj.jpg",
    "-dash.jpg",
    "日本 \U0001f600.jpg",
    "CON.jpg",
    "two  blanks, a \"quote\" and 'another'; =1+1.jpg",
    "*?{0}%s$HOME.jpg",
    "x" * 251 + ".jpg",
)
CLASSES = ("[bold]", "日本", "new\nline", "esc\x1b[31m", "-d", ":smile:")
PLACE = os.fsdecode(b"d\xe4 [red] :smile: \x1b[32m\nx")
"""Of the data, of runs and of bundles."""
TINY = (
    "--model", "MobileNetV2_x0_25", "--size", "32", "--epochs", "1", "--set", "data.workers=0",
    "--set", "batch_size=8", "--set", "ema.decay=0",
)  # fmt: skip


class Odd(NamedTuple):
    """Data, images to predict, a run and a bundle whose names are all odd."""

    data: Path
    images: Path
    run: Path
    bundle: Path
    trained: "Output"


class Output(NamedTuple):
    code: Any
    out: bytes
    err: bytes

    def text(self, encoding: str) -> str:
        """Return what a person sees, which no name has any power over."""
        text = self.out.decode(encoding) + self.err.decode(encoding)
        assert not CONTROL.search(text.replace(os.linesep, "\n")), ascii(text)
        assert self.code in (0, 1), text
        return text


def run(encoding: str, *arguments: str | Path) -> Output:
    """Run a command line whose standard output and error are files of an encoding."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.setattr(sys, "argv", ["fleetnet", *map(str, arguments)])
        patch.setenv("COLUMNS", "240")  # room for the whole path, wherever the tests' folder is
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
    for stream in (out, err):
        stream.flush()
    return Output(ended.value.code, out.buffer.getvalue(), err.buffer.getvalue())


def write_images(folder: Path, names: tuple[str, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(encode(draw("circle", rng)))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    root = tmp_path_factory.mktemp("odd")
    try:
        for seed, name in enumerate(CLASSES):
            write_images(root / PLACE / "data" / name, IMAGES[:5], seed)
        write_images(root / "images", IMAGES, len(CLASSES))
    except OSError:
        pytest.skip("this file system has no such names")
    (root / "images" / f"broken{NOT_UTF8}[red]\x1b[32m.jpg").write_bytes(b"no image")
    folder, bundle = root / PLACE / "run", root / PLACE / "b.bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEETNET_CACHE", str(root / "cache"))
        trained = run("ascii", "train", root / PLACE / "data", *TINY, "-o", folder)
        assert trained.code == 0, trained
        exported = run(
            "cp1252", "export", folder / "best.ckpt", "-o", bundle, "--tolerance", "0.01"
        )
        assert "next: fleetnet predict" in exported.text("cp1252")
        yield Odd(root / PLACE / "data", root / "images", folder, bundle, trained)


@pytest.mark.slow
def test_training_with_odd_names(odd: Odd) -> None:
    text = odd.trained.text("ascii")
    shown = r"d\udce4 [red] :smile: \x1b[32m\nx"
    assert f"{shown}/run/best.ckpt" in text
    assert "optimizer:" in text  # the recipe, line by line
    assert "on folder data: 6 classes" in text


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_names_are_printed_readably(odd: Odd, encoding: str) -> None:
    """The verbs that print names or signs of our own, in every encoding."""
    table = run(encoding, "predict", odd.bundle, odd.images, "-k", "1").text(encoding)
    for shown in (
        r"caf\udce9.jpg", r"new\nline.jpg", r"tab\tcr\r.jpg", r"esc\x1b[31mred.jpg",
        r"[bold]back\[red].jpg", ":smile:.jpg", r"rtl\u202egpj.jpg", "/-dash.jpg", "CON.jpg",
        r"brokencaf\udce9[red]\x1b[32m.jpg",
    ):  # fmt: skip
        assert shown in table, table
    name = "日本" if encoding == "utf-8" else r"\u65e5\u672c"
    assert name in table
    checked = run(encoding, "data", "check", odd.data, "--no-sheets").text(encoding)
    for shown in (name, "[bold]", r"new\nline", r"esc\x1b[31m", "-d", ":smile:"):
        assert re.search(rf"^{re.escape(shown)} +5 ", checked, re.MULTILINE), checked
    figures = run(encoding, "evaluate", odd.bundle, odd.data, "--bootstrap", "0").text(encoding)
    assert name in figures
    verified = run(encoding, "verify", odd.bundle, "--images", odd.images, "--tolerance", "0.01")
    assert ("max |Δp|" if encoding == "utf-8" else "max |dp|") in verified.text(encoding)


@pytest.mark.slow
def test_the_other_verbs(odd: Odd, tmp_path: Path) -> None:
    """In ASCII, with odd names of all that they write."""
    place = tmp_path / PLACE
    images = ("--images", odd.images)

    def text(*arguments: str | Path) -> str:
        return run("ascii", *arguments).text("ascii")

    assert "<- chosen" in text(
        "tune", odd.bundle, *images, "--seconds", "0.05", "--engine", "onnxruntime"
    )
    text("evaluate", odd.run / "best.ckpt", odd.data, "--report", place / "r.html")
    text("explain", odd.bundle, odd.images, "-o", place / "explained")
    assert len(list((place / "explained").iterdir())) == len(IMAGES)
    assert "6 sheets" in text("data", "check", odd.data, "-o", place / "check")
    text("data", "preview", odd.data, "--images", "2", "--variants", "1", "-o", place / "p.png")
    text("runs", odd.run.parent, "--plot", place / "curves.png")
    assert "multiply-adds, one operation each; 224x224" in text("models")
    text("weights", "list")
    text("weights", "inspect", odd.bundle / "model.safetensors", "--shapes")
    for converted in ("w.ckpt", "w.safetensors"):
        text("weights", "convert", odd.bundle / "model.safetensors", place / converted)
    for engine in ("onnxruntime", "torch"):
        text("predict", odd.bundle, odd.images, "--engine", engine)
    page = (place / "r.html").read_text("utf-8", "strict")
    assert r"d\udce4 [red]" in page  # of the command


@pytest.mark.slow
def test_names_reach_the_bundle_and_come_back(odd: Odd) -> None:
    manifest = json.loads((odd.bundle / MANIFEST).read_bytes().decode("utf-8", "strict"))
    assert manifest["classes"] == sorted(CLASSES)
    metadata = onnx_metadata((odd.bundle / "model.onnx").read_bytes())[ONNX_METADATA_KEY]
    assert json.loads(metadata)["classes"] == sorted(CLASSES)
    found = run("cp437", "predict", odd.bundle, odd.images, "--json", "-k", "6")
    rows = [json.loads(line) for line in found.out.decode("utf-8").splitlines()]
    assert found.code == 1
    assert {row["image"] for row in rows} == set(map(str, odd.images.iterdir()))
    for row in rows:
        assert row["error"] or {top["class"] for top in row["top"]} == set(CLASSES)
    assert not CONTROL.search(found.out.decode("utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_csv_is_utf8_and_names_can_be_found(odd: Odd, encoding: str) -> None:
    found = run(encoding, "predict", odd.bundle, odd.images, "--csv", "-k", "6")
    assert not found.out.startswith(codecs.BOM_UTF8)
    rows = list(csv.reader(io.StringIO(found.out.decode("utf-8"), newline="")))
    assert {len(row) for row in rows} == {14}
    names = {_name_of(row[0]) for row in rows[1:]}
    assert names == set(map(str, odd.images.iterdir()))
    assert set(rows[1][1:12:2]) == set(CLASSES)


def _name_of(cell: str) -> str:
    """Return the name in a cell, as docs/prediction.md says."""
    return re.sub(r"\\udc([89a-f][0-9a-f])", lambda found: chr(0xDC00 + int(found[1], 16)), cell)


def test_a_class_that_is_no_unicode_is_refused_at_the_beginning(
    fleetnet: Run, tmp_path: Path
) -> None:
    """ONNX and JSON hold the names of classes as UTF-8."""
    data = make_folder(tmp_path / "data", 2, ("circle", "square"))
    try:
        (data / "circle").rename(data / NOT_UTF8)
    except OSError:
        pytest.skip("this file system has no such names")
    for command in (["train", data, *TINY, "-o", tmp_path / "run"], ["data", "check", data]):
        fleetnet(*command).assert_one_line(r"class 'caf\udce9'", "not UTF-8", "rename")
    assert not (tmp_path / "run").exists()


@given(
    st.text(st.characters(exclude_categories=())),
    st.sampled_from(
        (
            *ENCODINGS,
            "cp850",
            "latin-1",
            "shift_jis",
            "gb18030",
            "koi8-r",
            "cp1255",
            "utf-16",
            "cp037",
        )
    ),
)
def test_anything_can_be_written(text: str, encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding, errors=streams.READABLE, newline="")
    stream.write(text)
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    shown = stream.buffer.getvalue().decode(encoding)
    assert shown == streams.shown_in(text, encoding)
    if text.isascii():
        assert shown == text


def test_our_own_signs_have_substitutes_in_ascii() -> None:
    assert streams.shown_in("a → b, ← |Δp| 2×3 – …", "ascii") == "a -> b, <- |dp| 2x3 - ..."
    assert streams.shown_in("é 日 \U0001f600 \udce9", "ascii") == r"\xe9 \u65e5 \U0001f600 \udce9"
    assert streams.shown_in("é – …", "cp1252") == "é – …"
    assert streams.shown_in("100%", "cp864") == r"100\x25"  # which lacks it


@pytest.mark.parametrize("tell", [print_line, say, warn])
def test_a_line_is_shown_as_it_is(tell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    name = "[bold]x[/] \\[red] :smile: a\n\x1b[31m\u202e" + "y" * 300
    tell(name)
    captured = capsys.readouterr()
    shown = r"[bold]x[/] \[red] :smile: a\n\x1b[31m\u202e" + "y" * 300 + "\n"
    assert (captured.out + captured.err).removeprefix("warning: ") == shown


class Bare:
    """The least that an object needs to replace standard output."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("arguments", [["weights", "list"], ["weights", "list", "--json"]])
def test_streams_may_be_replaced_by_other_objects(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (io.StringIO(), Bare(), None, closed):
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        if isinstance(stream, Bare):
            assert "MobileNetV2" in stream.text


def test_results_have_line_feeds_on_every_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where text files end their lines by two signs, as on Windows."""
    stream = io.TextIOWrapper(io.BytesIO(), "cp1252", newline="\r\n")
    monkeypatch.setattr(sys, "stdout", stream)
    rows = csv.writer(streams.Rows(streams.for_programs()), lineterminator=streams.Rows.ends)
    rows.writerow(["日本\udce9", "a\rb", "c\nd"])
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    assert stream.buffer.getvalue() == '日本\\udce9,"a\rb","c\nd"\n'.encode()


def test_help_is_ascii(fleetnet: Run) -> None:
    """Typer writes it past our streams where they are ASCII."""
    pages = []

    def look(command: Any, words: list[str]) -> None:
        pages.append(fleetnet(*words, "--help").out)
        for name, inner in getattr(command, "commands", {}).items():
            look(inner, [*words, name])

    look(get_command(_app(VERBS)), [])
    assert len(pages) > len(VERBS)
    for page in pages:
        assert page.isascii(), page


@pytest.mark.slow
def test_a_path_that_is_too_long_is_one_line(fleetnet: Run, odd: Odd) -> None:
    name = "x" * 300
    fleetnet("predict", name, odd.images).assert_one_line(f"{name}", "too long")
    result = fleetnet("predict", odd.bundle, odd.images / f"{name}.jpg", odd.images / IMAGES[5])
    assert result.code == 1
    assert len(result.out.splitlines()) == 2  # the other image gets its answer


def shell(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", script, sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="takes a POSIX shell")
def test_streams_that_are_closed_or_full() -> None:
    closed = shell('exec "$0" -m fleetnet weights list <&- >&- 2>&-')
    assert closed.returncode == 0
    if Path("/dev/full").exists():
        full = shell('exec "$0" -m fleetnet weights list >/dev/full')
        assert full.returncode == 2
        assert full.stderr == "error: No space left on device\n"
