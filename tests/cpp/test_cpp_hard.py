"""The C++ predictor in hard use: broken files, interruptions, full disks, bundles that change."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetnet.errors import ImageError
from fleetnet.images import decode
from replaced_bundles import overwrite, repeating, swap_folders, swap_links, two_bundles

CONFORMANCE = Path(__file__).parents[2] / "conformance"
PICTURES = CONFORMANCE / "pictures"
RUNS = int(os.environ.get("FLEETNET_CPP_RUNS", "12"))
"""How often what depends on the moment is tried."""
DAMAGED_TIFF = "damaged image: decoder error -2"
MEMORY = 1 << 30
"""Bytes that no refusal may need, the bomb's own pixels being refused."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")


def rows_of(output: bytes) -> list[dict[str, object]]:
    """Return rows of JSON, all of which have to be whole."""
    assert output == b"" or output.endswith(b"\n")
    return [json.loads(row) for row in output.splitlines()]


# Files that are no pictures.


class Decoder:
    """The C++ decoder in a process with limited memory, which answers one file after the other."""

    def __init__(self, command: list[str], watched: bool) -> None:
        # A sanitizer reserves terabytes of addresses.
        limit = None if watched else lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY,) * 2)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=limit
        )

    def size_or_error(self, path: Path) -> tuple[int, int] | str:
        """Return a picture's sides, or why it is none."""
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None
        assert sink is not None
        sink.write(f"decode 0 {path}\n".encode())
        sink.flush()
        word, _, rest = source.readline().decode().rstrip("\n").partition(" ")
        assert word in ("ok", "error"), f"the decoder ended at {path.name}"
        if word == "error":
            return rest
        width, height = map(int, rest.split())
        source.read(width * height * 3)
        return width, height

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)
        assert self._process.returncode == 0


@pytest.fixture
def decoder(cpp_build: Path) -> Iterator[Decoder]:
    program = cpp_build / "tests" / "fleetnet-pixels"
    if not program.is_file():
        pytest.skip(f"{program} is not built ('make cpp' builds it)")
    runner = shlex.split(os.environ.get("FLEETNET_CPP_RUNNER", ""))
    made = Decoder([*runner, str(program)], bool(runner) or "sanitize" in str(cpp_build))
    yield made
    made.close()


def python_says(data: bytes) -> tuple[int, int] | str:
    try:
        height, width, _ = decode(data).shape
    except ImageError as error:
        return str(error)
    return width, height


def alike(found: tuple[int, int] | str, expected: tuple[int, int] | str) -> bool:
    """Whether both decoded a picture of these sides, or both refused it in the same words.

    TIFF's directory is read by libtiff here, by Pillow there: what is wrong has other words, and
    libtiff also refuses what Pillow passes over, such as a field of an unknown type.
    """
    if isinstance(found, str) and ("TIFF" in found or found == DAMAGED_TIFF):
        return True
    return found == expected


def assert_alike(decoder: Decoder, folder: Path, files: dict[str, bytes]) -> None:
    """Both decode each file, or refuse it in the same words."""
    different = []
    path = folder / "file"
    for name, data in files.items():
        path.write_bytes(data)
        found, expected = decoder.size_or_error(path), python_says(data)
        if not alike(found, expected):
            different.append(f"{name}: C++ {found}, Python {expected}")
    assert not different, "\n".join(different)


CUT = ("jpeg-baseline.jpg", "jpeg-progressive.jpg", "jpeg-cmyk.jpg", "png-rgb.png",
       "png-interlaced.png", "png-palette.png", "gif.gif", "gif-animated.gif", "bmp.bmp",
       "bmp-palette.bmp", "webp.webp", "webp-lossless.webp", "tiff-lzw.tif",
       "tiff-grey-16.tif")  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_files_that_end_early(decoder: Decoder, tmp_path: Path, name: str) -> None:
    data = (PICTURES / name).read_bytes()
    assert_alike(
        decoder,
        tmp_path,
        {f"{name} cut at {part}/50": data[: len(data) * part // 50] for part in range(1, 50)},
    )


@pytest.mark.parametrize("name", CUT)
def test_files_with_a_bit_that_is_another(decoder: Decoder, tmp_path: Path, name: str) -> None:
    data = (PICTURES / name).read_bytes()
    files = {}
    for number in range(40):
        # The first half near the header, where most depends on a bit.
        place = number * 3 if number < 20 else len(data) * number // 40
        changed = bytearray(data)
        changed[min(place, len(data) - 1)] ^= 1 << number % 8
        files[f"{name} bit {number % 8} of byte {place}"] = bytes(changed)
    assert_alike(decoder, tmp_path, files)


def png(width: int, height: int, pixels: bytes, *, depth: int = 8, colour: int = 2) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels, 9))
            + chunk(b"IEND", b""))  # fmt: skip


def tiff(width: int, height: int, data: bytes, compression: int, count: int | None = None) -> bytes:
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, compression), (262, 3, 1),
            (273, 4, 8), (277, 3, 1), (278, 4, height),
            (279, 4, len(data) if count is None else count)]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags
    )
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory + bytes(4)


def gif(width: int, height: int, data: bytes) -> bytes:
    return (b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
            + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + data + b";")  # fmt: skip


def webp(width: int, height: int) -> bytes:
    """Return an extended header whose canvas is as large as said, and a small picture."""
    inner = (PICTURES / "webp.webp").read_bytes()[12:]
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sides + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


def patched(name: str, place: int, value: bytes) -> bytes:
    data = bytearray((PICTURES / name).read_bytes())
    data[place : place + len(value)] = value
    return bytes(data)


def jpeg_of_sides(height: int, width: int) -> bytes:
    data = (PICTURES / "jpeg-baseline.jpg").read_bytes()
    return patched(
        "jpeg-baseline.jpg", data.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width)
    )


HOSTILE: dict[str, Callable[[], bytes]] = {
    "PNG of no width": lambda: png(0, 5, b""),
    "PNG of no height": lambda: png(5, 0, b""),
    "PNG of the largest sides": lambda: png(2**31 - 1, 2**31 - 1, b""),
    "PNG of sides with a sign": lambda: png(2**31, 1, b""),
    "PNG bomb": lambda: png(30000, 30000, bytes(20_000_000)),
    "PNG bomb within the limit, without its pixels": lambda: png(9000, 9000, bytes(1000)),
    "PNG whose pixels go on": lambda: png(4, 4, bytes(50_000_000)),
    "PNG of a strange depth": lambda: png(4, 4, bytes(100), depth=3),
    "PNG chunk of a wrong length": lambda: patched("png-rgb.png", 33, b"\x7f\xff\xff\xff"),
    "PNG chunk of the largest length": lambda: patched("png-rgb.png", 33, b"\xff\xff\xff\xff"),
    "JPEG of no width": lambda: jpeg_of_sides(38, 0),
    "JPEG of no height": lambda: jpeg_of_sides(0, 48),
    "JPEG of the largest sides": lambda: jpeg_of_sides(65535, 65535),
    "JPEG of large sides": lambda: jpeg_of_sides(9000, 9000),
    "JPEG segment of no length": lambda: patched("jpeg-baseline.jpg", 4, b"\x00\x00"),
    "JPEG segment of the largest length": lambda: patched("jpeg-baseline.jpg", 4, b"\xff\xff"),
    "GIF of no sides": lambda: gif(0, 0, b"\x02\x02\x4c\x01\x00"),
    "GIF of the largest sides": lambda: gif(65535, 65535, b"\x02\x02\x4c\x01\x00"),
    "GIF bomb": lambda: gif(9000, 9000, b"\x02" + (b"\xff" + bytes(255)) * 50 + b"\x00"),
    "GIF without data": lambda: gif(40, 40, b""),
    "BMP of no width": lambda: patched("bmp.bmp", 18, struct.pack("<ii", 0, 10)),
    "BMP of the largest sides": lambda: patched("bmp.bmp", 18, b"\xff\xff\xff\x7f" * 2),
    "BMP of negative sides": lambda: patched("bmp.bmp", 18, struct.pack("<ii", -5, -5)),
    "BMP of the smallest height": lambda: patched("bmp.bmp", 22, b"\x00\x00\x00\x80"),
    "BMP whose pixels are beyond": lambda: patched("bmp.bmp", 10, b"\xff\xff\xff\xff"),
    "WebP of the largest sides": lambda: webp(1 << 24, 1 << 24),
    "WebP of large sides": lambda: webp(16383, 16383),
    "WebP of a wrong length": lambda: patched("webp.webp", 4, b"\xff\xff\xff\xff"),
    "WebP chunk of a wrong length": lambda: patched("webp.webp", 16, b"\xff\xff\xff\x7f"),
    "TIFF of no sides": lambda: tiff(0, 0, b"", 1),
    "TIFF of the largest sides": lambda: tiff(2**32 - 1, 2**32 - 1, b"", 1),
    "TIFF bomb": lambda: tiff(30000, 30000, zlib.compress(bytes(900_000_000 // 50), 9), 8),
    "TIFF within the limit, without its pixels": lambda: tiff(9000, 9000, bytes(100), 1),
    "TIFF of a wrong length": lambda: tiff(10, 10, bytes(100), 1, 2**32 - 1),
    "TIFF directory of itself": lambda: tiff(10, 10, bytes(100), 1)[:-4] + struct.pack("<I", 108),
    "PPM of no sides": lambda: b"P6 0 0 255 ",
    "PPM of the largest sides": lambda: b"P6 99999999999 99999999999 255 ",
    "PPM without its pixels": lambda: b"P6 9000 9000 255 abc",
    "QOI of the largest sides": lambda: b"qoif" + b"\xff" * 8 + b"\x03\x00" + bytes(20),
    "QOI without its pixels": lambda: b"qoif" + struct.pack(">II", 3000, 3000) + b"\x03\x00",
    "ICO of one picture far beyond": lambda: struct.pack(
        "<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, 2**32 - 1, 2**32 - 1
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers(decoder: Decoder, tmp_path: Path, name: str) -> None:
    """Within a gigabyte of addresses, decoded or refused as in Python."""
    assert_alike(decoder, tmp_path, {name: HOSTILE[name]()})


# Interruptions.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of many pictures."""
    root = tmp_path_factory.mktemp("many")
    kinds = ("jpeg-baseline.jpg", "png-rgb.png", "jpeg-turned-6.jpg", "bad-cut-jpeg.jpg")
    for number in range(800):
        os.link(_copied(root, kinds[number % 4]), root / f"{number:04}.{number % 4}.jpg")
    for kind in kinds:
        (root / kind).unlink()
    return root


def _copied(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.exists():
        shutil.copy(PICTURES / name, path)
    return path


def test_sigterm_in_the_middle_of_a_folder(predictor: list[str], folder: Path) -> None:
    """Rows are whole, in order, and those of the first images; the moment is counted in rows."""
    command = [*predictor, str(CONFORMANCE / "network.onnx"), str(folder), "--json"]
    whole = subprocess.run(command, capture_output=True, check=False)
    assert whole.returncode == 1
    expected = [row["image"] for row in rows_of(whole.stdout)]
    assert len(expected) == 800
    middle = 0
    for run in range(RUNS):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            # None at first: the signal comes while the command starts.
            first = [process.stdout.readline() for _ in range(800 * run // RUNS)]
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
            assert process.wait(timeout=60) in (143, -signal.SIGTERM, 1)
        found = [row["image"] for row in rows_of(b"".join(first) + rest)]
        assert found == expected[: len(found)]
        middle += process.returncode == 143 and 0 < len(found) < 800
    sys.stdout.write(f"{middle} of {RUNS} in the middle\n")
    # A pipe holds a part of the rows: the command has not ended when the early ones are read.
    assert middle > 0 or RUNS < 10


# Bundles that are replaced.


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return two bundles whose networks and classes differ."""
    return two_bundles(tmp_path_factory.mktemp("bundles"))


def answers_of(predictor: list[str], bundle: Path) -> tuple[int, str]:
    picture = str(PICTURES / "jpeg-baseline.jpg")
    found = subprocess.run(
        [*predictor, str(bundle), picture, "--json"], capture_output=True, text=True, check=False
    )
    return found.returncode, found.stdout or found.stderr


@pytest.mark.parametrize("way", [swap_links, swap_folders, overwrite])
def test_a_bundle_that_is_replaced(
    predictor: list[str],
    bundles: tuple[Path, Path],
    tmp_path: Path,
    way: Callable[[tuple[Path, Path], Path], Callable[[], None]],
) -> None:
    """Each answer is one bundle's, or there is a line that says what was wrong.

    If it is replaced as a whole, what may be wrong is that there is none at the moment (nor its
    files, once the manifest was read), or that a slow reader met another one at every try.
    """
    expected = {answers_of(predictor, bundle) for bundle in bundles}
    assert len(expected) == 2
    assert all(code == 0 for code, _ in expected)
    with repeating(way(bundles, tmp_path / "net.bundle")):
        found = [answers_of(predictor, tmp_path / "net.bundle") for _ in range(RUNS)]
    for code, said in found:
        if (code, said) in expected:
            continue
        assert code == 2, said
        assert said.startswith("error: "), said
        assert said.count("\n") == 1, said
        assert "net.bundle" in said
        usual = "no such bundle|is not a bundle|is not the file that was exported|is missing"
        assert way is overwrite or re.search(usual, said), said
    answered = sum(answer in expected for answer in found)
    sys.stdout.write(f"{answered} answers, {len(found) - answered} refusals\n")
    assert answered > 0 or RUNS < 10


# Full disks.


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root mounts")
@pytest.mark.parametrize("flags", [(), ("--json",), ("--csv",)])
def test_a_disk_that_becomes_full(
    predictor: list[str], folder: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        with (disk / "rows").open("wb") as rows:
            found = subprocess.run(
                [*predictor, str(CONFORMANCE / "network.onnx"), str(folder), *flags],
                stdout=rows,
                stderr=subprocess.PIPE,
                check=False,
            )
        assert found.returncode == 2
        assert found.stderr == b"error: No space left on device\n"
        assert (disk / "rows").stat().st_size == 16384
    finally:
        subprocess.run(["umount", str(disk)], check=True)
