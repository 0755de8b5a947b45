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
LABELS = (
    "名前がとても長いクラスで、表の一行には入りきらないもの\n"
    '♀️ emoji 😀, "q"\nesc\x1b[31m\t|e\u0301\nlast\n'
)
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
    (root / "newer.bundle" / MANIFEST).write_text(json.dumps({**values, "format_version": "4.0"}))
    (root / "plain.onnx").write_bytes(b"no network")
    (root / "empty").mkdir()
    _fill(root / "images")
    for name, text in {
        "labels.txt": LABELS,
        "ids.txt": "2 two\n0 zero\n3 three 3\n\u0660\u0661 one\n",
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
        "with space, and \"quotes\" 'x'.jpg", "esc\x1b[31m\u202e.jpg", "[1].jpg",
        "x" * 120 + ".jpg", "sub/deep/er/c.jpg", "sub/d.png.jpg", "sub/[ab].jpg",
        ".hidden/h.jpg", "__MACOSX/m.jpg", "sub/.secret.jpg", "sub/._resource.jpg", "@eaDir/t.jpg",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(good, folder / name)
    shutil.copy(PICTURES / "bad-cut-jpeg.jpg", folder / "cut.jpg")
    shutil.copy(PICTURES / "jpeg-turned-6.jpg", folder / "sub" / "turned.jpg")
    (folder / "text.jpg").write_text("no image")
    (folder / "nothing.jpg").write_bytes(b"")
    for name in ("notes.txt", "notes.TXT", "no ending", "x.日本", "x.toolongending", "sub/a.Ä"):
        (folder / name).write_text("")
    shutil.copy(os.fsencode(good), os.fsencode(folder) + b"/caf\xe9\xff.jpg")
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
    # With the last one, Python writes each row at once.
    left_out = ("COLUMNS", "NO_COLOR", "PYTHONUNBUFFERED")
    plain = {name: value for name, value in os.environ.items() if name not in left_out}
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
ODD = ("images/new\nline.jpg", "images/日本語の長い名前の画像 😀.jpg",
       "images/esc\x1b[31m\u202e.jpg", "images/with space, and \"quotes\" 'x'.jpg",
       os.fsdecode(b"images/caf\xe9\xff.jpg"), "images/" + "x" * 120 + ".jpg")  # fmt: skip


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
        ("--label", "3", "x", "y"),
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
        ("b.bundle", GOOD, "--reject", "3.25"),
        *(
            ("b.bundle", GOOD, "--reject", word)
            for word in (
                "x",
                "",
                " ",
                "nan",
                "-inf",
                "1e999",
                "0x10",
                "1__0",
                "_1",
                "1_",
                "+-1",
                "Off",
            )
        ),
        ("b.bundle", GOOD, "--reject", " +1_0.5e-1 "),
        ("b.bundle", GOOD, "--json", "--csv", "--reject", "x"),
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


OF_RAY = {b"--ray", b"--output", b"--ray-address", b"--workers", b"--per-part"}


def test_the_help_and_the_version(cpp: Predict) -> None:
    for word in ("--help", "-h"):
        found = cpp((word,))
        assert (found.code, found.err) == (0, b"")
        assert found.out.startswith(b"Usage: fleetnet-predict [OPTIONS] BUNDLE IMAGES...")
    # Python's are all there but those of many machines.
    flags = set(re.findall(rb"--[a-z-]+", python(Path(), ("--help",)).out)) - OF_RAY
    assert flags <= set(re.findall(rb"--[a-z-]+", found.out))
    found = cpp(("x", "--version", "-k", "x"))
    assert found.code == 0
    assert re.match(rb"fleetnet-predict \d+\.\d+\.\d+\nengine openvino: \d+\.", found.out)
    assert b"JPEG, PNG" in found.out


def test_engines_have_names(cpp: Predict) -> None:
    found = cpp(("x", "y", "--engine", "opnvino"))
    assert found.code == 2
    known = b"error: unknown engine 'opnvino', did you mean 'openvino'? (known: openvino"
    assert found.err.startswith(known)


def test_only_bundles_are_models(cpp: Predict, place: Path) -> None:
    """Python makes a bundle of weights first, and knows the names of published ones."""
    assert cpp(("nothing", GOOD)).err == b"error: no such bundle: nothing\n"
    for name in ("images", "labels.txt"):
        found = cpp((name, GOOD))
        assert found.code == 2
        assert found.err.startswith(f"error: {name} is not a bundle: ".encode())


def on_terminal(command: list[str], place: Path, columns: int) -> tuple[int, bytes]:
    """Run a command whose streams are a terminal of so many columns; return what it shows."""
    import fcntl
    import struct
    import termios

    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=place,
        stdin=its,
        stdout=its,
        stderr=its,
        env=environment(TERM="xterm"),
    )
    os.close(its)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that the other side is closed
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    return process.wait(), shown


@pytest.mark.parametrize("arguments", [(*ODD, "--labels", "labels.txt"), (*ODD[:3], "--csv")])
def test_the_same_on_a_terminal(
    predictor: list[str], place: Path, arguments: tuple[str, ...]
) -> None:
    ours, other = (
        on_terminal([*command, "b.bundle", *arguments, "images/cut.jpg", "images/sub"], place, 57)
        for command in (predictor, [sys.executable, "-m", "fleetnet", "predict"])
    )
    # Python's bars come and go, the cursor with them.
    bars = re.compile(rb"\x1b\[(\?25[lh]|\d*[AK])|\r+(?!\r*\n)")
    assert ours == (other[0], bars.sub(b"", other[1]))
    assert b"\x1b[33mwarning:\x1b[0m left out" in ours[1]
    assert b"\x1b[31m" not in ours[1]


def test_standard_streams_that_are_closed(predictor: list[str], place: Path) -> None:
    command = " ".join([*predictor, "b.bundle", GOOD])
    for closed, code in ((">&-", 0), ("<&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0)):
        found = subprocess.run(["sh", "-c", f"exec {command} {closed}"], cwd=place, check=False)
        assert found.returncode == code
    missing = subprocess.run(["sh", "-c", f"exec {command} - <&- 2>&-"], cwd=place, check=False,
                             capture_output=True)  # fmt: skip
    assert (missing.returncode, missing.stderr) == (1, b"")
    assert b"standard input  " in missing.stdout
    assert b"error: the file is empty" in missing.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("flags", [(), ("--json",), ("--csv",)])
def test_a_full_disk_is_one_line(predictor: list[str], place: Path, flags: tuple[str, ...]) -> None:
    results = []
    for command in (predictor, [sys.executable, "-m", "fleetnet", "predict"]):
        with Path("/dev/full").open("wb") as full:
            found = subprocess.run(
                [*command, "b.bundle", *SEVERAL, *flags],
                stdout=full,
                stderr=subprocess.PIPE,
                cwd=place,
                env=environment(),
                check=False,
            )
        results.append((found.returncode, found.stderr))
    assert results[0] == results[1]
    assert results[0][1].endswith(b"error: No space left on device\n")


def test_a_file_that_may_grow_no_further(predictor: list[str], place: Path, tmp_path: Path) -> None:
    """A limit of the shell, which would end the process by a signal."""
    rows = tmp_path / "rows.jsonl"
    with rows.open("wb") as out:
        found = subprocess.run(
            [*predictor, "b.bundle", *[GOOD] * 40, "--json"],
            stdout=out,
            stderr=subprocess.PIPE,
            cwd=place,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
            check=False,
        )
    assert found.returncode == 2
    assert found.stderr == b"error: File too large\n"


def test_a_reader_that_has_seen_enough(predictor: list[str], place: Path) -> None:
    images = " ".join([GOOD] * 300)
    for flags in ("", "--json"):
        found = subprocess.run(
            ["sh", "-c", f"{' '.join(predictor)} b.bundle {images} {flags} | head -n 1"],
            cwd=place,
            capture_output=True,
            check=False,
        )
        assert found.stdout.count(b"\n") == 1
        assert found.stderr == b""


@contextlib.contextmanager
def waiting(command: list[str], place: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command that waits for a pipe's content after it has answered other images."""
    pipe = place / "waits.jpg"
    os.mkfifo(pipe)
    # In turn, so that those before the pipe are answered.
    process = subprocess.Popen(
        [*command, "b.bundle", *[GOOD] * 20, "waits.jpg", *[GOOD] * 20, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=place,
        env=environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        pipe.unlink()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_rows_so_far_are_whole_when_interrupted(
    predictor: list[str], place: Path, number: signal.Signals, code: int
) -> None:
    with waiting(predictor, place, "--json") as process:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(20)]
        process.send_signal(number)
        rest, said = process.communicate(timeout=30)
        assert process.returncode == code
        assert said == b""
    for row in [*first, *rest.splitlines()]:
        assert json.loads(row)["image"] == GOOD
    assert rest == b""


def test_rows_that_are_kept_are_written_when_interrupted(predictor: list[str], place: Path) -> None:
    """A table goes to a pipe in large pieces; none of it is lost."""
    with waiting(predictor, place) as process:
        assert process.stdout is not None
        # The rows are there when all that is ahead of the pipe is answered.
        _wait_for_idle(process.pid)
        process.send_signal(signal.SIGTERM)
        rows, _ = process.communicate(timeout=30)
        assert process.returncode == 143
    assert rows.count(b"\n") == 20
    assert len(set(rows.splitlines())) == 1


def test_nothing_is_waited_for_when_interrupted(predictor: list[str], place: Path) -> None:
    """Neither standard input, nor a reader that does not read."""
    process = subprocess.Popen(
        [*predictor, "b.bundle", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=place
    )
    _wait_for_idle(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    many = subprocess.Popen(
        [*predictor, "b.bundle", *[GOOD] * 3000, "--json"], stdout=subprocess.PIPE, cwd=place
    )
    _wait_for_idle(many.pid)  # the pipe is full
    many.send_signal(signal.SIGTERM)
    assert many.wait(timeout=30) == 143
    for opened in (process, many):
        for stream in (opened.stdin, opened.stdout):
            if stream is not None:
                stream.close()


def _wait_for_idle(pid: int) -> None:
    """Wait until a process has worked and then uses no more processor time."""
    spent = -1
    while True:
        time.sleep(0.25)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        now = int(fields[11]) + int(fields[12])
        if now == spent and now > 0 and fields[0] == "S":
            return
        spent = now


def test_a_background_job_ignores_ctrl_c(predictor: list[str], place: Path) -> None:
    """As a shell starts it."""
    process = subprocess.Popen(
        [*predictor, "b.bundle", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=place,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    _wait_for_idle(process.pid)
    process.send_signal(signal.SIGINT)
    rows, _ = process.communicate((PICTURES / "jpeg-baseline.jpg").read_bytes(), timeout=30)
    assert process.returncode == 0
    assert rows.startswith(b"standard input  square")


def test_characters_are_those_of_python_and_rich() -> None:
    """What unicode_tables.py writes is what is there."""
    import unicodedata

    folder = Path(__file__).parents[2] / "cpp" / "src"
    written = (folder / "unicode_tables.hpp").read_text()
    if f"Unicode {unicodedata.unidata_version} " not in written:
        pytest.skip("the tables are of another version of Python")
    made = subprocess.run(
        [sys.executable, str(folder / "unicode_tables.py")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == written
