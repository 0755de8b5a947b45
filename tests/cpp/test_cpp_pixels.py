"""The C++ predictor's pixels and refusals beside this package's, to the bit and to the letter."""

from __future__ import annotations

import functools
import io
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fleetnet.conformance.encode import exif
from fleetnet.errors import ImageError
from fleetnet.geometry import Interpolation
from fleetnet.images import decode
from fleetnet.preprocess import Preprocess

CONFORMANCE = Path(__file__).parents[2] / "conformance"

Pixels = npt.NDArray[np.uint8]
Answer = Pixels | str
"""Pixels, or why there are none."""

INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)


class Decoder:
    """The C++ decoder in a process of its own, which answers one file after the other."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def decode(self, path: Path, sample_bits: int = 0) -> Answer:
        """Return a whole picture."""
        return self._answer(f"decode {sample_bits} {path}")

    def input(self, path: Path, preprocess: Preprocess, *, exact: bool) -> Answer:
        """Return what a network gets of a picture."""
        number = INTERPOLATIONS.index(preprocess.interpolation)
        size = f"{preprocess.resize} {preprocess.crop}"
        return self._answer(f"input {number} {size} {int(exact)} 0 {path}")

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=30)

    def _answer(self, line: str) -> Answer:
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None
        assert sink is not None
        sink.write(line.encode() + b"\n")
        sink.flush()
        word, _, rest = source.readline().decode().rstrip("\n").partition(" ")
        assert word in ("ok", "error"), f"it ended at: {line}"
        if word == "error":
            return rest
        width, height = map(int, rest.split())
        return np.frombuffer(source.read(width * height * 3), np.uint8).reshape(height, width, 3)


@pytest.fixture(scope="module")
def decoder(cpp_build: Path) -> Iterator[Decoder]:
    ending = ".exe" if sys.platform == "win32" else ""
    program = cpp_build / "tests" / f"fleetnet-pixels{ending}"
    if not program.is_file():
        pytest.skip(f"{program} is not built ('make cpp' builds it)")
    made = Decoder([*shlex.split(os.environ.get("FLEETNET_CPP_RUNNER", "")), str(program)])
    yield made
    made.close()


def answer_of(make: Callable[[], Pixels]) -> Answer:
    try:
        return make()
    except ImageError as error:
        return str(error)


def assert_same(found: Answer, expected: Answer) -> None:
    if isinstance(found, str) or isinstance(expected, str):
        assert isinstance(found, str), f"decoded, and not refused: {expected}"
        assert isinstance(expected, str), f"refused: {found}"
        assert found == expected
    else:
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_every_photograph_gives_the_same_input(
    decoder: Decoder, photos: list[Path], interpolation: Interpolation, exact: bool
) -> None:
    for photo in photos:
        for preprocess in (Preprocess(256, 224, interpolation), Preprocess(64, 20, interpolation)):
            found = decoder.input(photo, preprocess, exact=exact)
            expected = preprocess.from_bytes(photo.read_bytes(), exact=exact)
            assert_same(found, expected)


def test_every_photograph_gives_the_same_pixels(decoder: Decoder, photos: list[Path]) -> None:
    for photo in photos:
        assert_same(decoder.decode(photo), decode(photo.read_bytes()))


FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "P", "RGB", "RGBA", "LA", "I;16"),
    "GIF": ("1", "L", "P"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "PPM": ("1", "L", "RGB"),
    "TGA": ("L", "P", "RGB", "RGBA", "LA"),
    "QOI": ("RGB", "RGBA"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"),
}


@st.composite
def pictures(draw: st.DrawFn) -> tuple[bytes, str]:
    """Draw a small picture that Pillow encodes, and the name of its format."""
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    name = draw(st.sampled_from(sorted(FORMATS)))
    mode = draw(st.sampled_from(FORMATS[name]))
    noise = np.random.default_rng(draw(st.integers(0, 2**31)))
    base = noise.integers(0, 256, (height // 9 + 1, width // 9 + 1, 3), np.uint8)
    image = Image.fromarray(base).resize((width, height))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 251)
    elif mode in ("RGBA", "LA"):
        image.putalpha(image.convert("L"))
        image = image.convert(mode)
    else:
        image = image.convert(mode)
    options: dict[str, Any] = {}
    if name in ("JPEG", "PNG", "WEBP") and draw(st.booleans()):
        options["exif"] = exif(draw(st.integers(1, 9)))
    if name == "JPEG":
        options["quality"] = draw(st.integers(5, 100))
        options["progressive"] = draw(st.booleans())
        if mode == "RGB":
            options["subsampling"] = draw(st.sampled_from(["4:4:4", "4:2:2", "4:2:0", "4:1:1"]))
        if draw(st.booleans()):
            options["restart_marker_blocks"] = draw(st.integers(1, 20))
    elif name == "TIFF":
        options["compression"] = draw(st.sampled_from([None, "tiff_lzw", "packbits"]))
    elif name == "TGA" and draw(st.booleans()):
        options["compression"] = "tga_rle"
    elif name == "WEBP":
        options["lossless"] = draw(st.booleans())
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue(), name


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(picture=pictures(), interpolation=st.sampled_from(INTERPOLATIONS), crop=st.integers(1, 30))
def test_what_pillow_writes_gives_the_same_pixels(
    decoder: Decoder,
    tmp_path: Path,
    picture: tuple[bytes, str],
    interpolation: Interpolation,
    crop: int,
) -> None:
    data, name = picture
    file = tmp_path / "picture"
    file.write_bytes(data)
    found = decoder.decode(file)
    if isinstance(found, str) and "not in this build" in found:
        assert name in ("WEBP", "TIFF")  # the libraries that a build may lack
        return
    assert_same(found, answer_of(lambda: decode(data)))
    preprocess = Preprocess(30, crop, interpolation)
    expected = answer_of(lambda: preprocess.from_bytes(data))
    assert_same(decoder.input(file, preprocess, exact=True), expected)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return a file with a few bytes changed, taken out or put in, or without its end."""
    if chance.random() < 0.2:
        return data[: chance.randrange(1, len(data))]
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        place = chance.randrange(min(len(changed), chance.choice((60, 700, 10**6))))
        kind = chance.random()
        if kind < 0.7:
            changed[place] = chance.choice((chance.randrange(256), 0, 255, 0xD9, 0xDA))
        elif kind < 0.85 and len(changed) > 20:
            del changed[place : place + chance.randint(1, 9)]
        else:
            changed[place:place] = chance.randbytes(3)
    return bytes(changed)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damage that it passes over
@pytest.mark.parametrize("pattern", ["jpeg-*.jpg", "png-*.png", "gif*.gif", "bmp*.bmp"])
def test_damaged_files_are_decoded_or_refused_alike(
    decoder: Decoder, tmp_path: Path, pattern: str
) -> None:
    # Not drawn by Hypothesis: which damage libjpeg-turbo sees may differ between its versions, and
    # these are seen by all.
    chance = random.Random(11)  # noqa: S311 - no secret
    files = sorted((CONFORMANCE / "pictures").glob(pattern))
    file = tmp_path / "picture"
    for _ in range(300):
        data = damaged(chance.choice(files).read_bytes(), chance)
        file.write_bytes(data)
        assert_same(decoder.decode(file), answer_of(functools.partial(decode, data)))
