import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet import native
from fleetnet.errors import ImageError
from fleetnet.geometry import (
    SHRINKS,
    Extent,
    Interpolation,
    extent_of,
    geometry,
    number_of,
    reference,
    reference_extent,
    reference_shrink,
    shrink_for,
)
from fleetnet.preprocess import Preprocess

KINDS: tuple[Interpolation, ...] = ("bilinear", "bicubic", "cv2-linear")
CORE = Path(__file__).resolve().parent.parent / "native"

compiled = pytest.mark.skipif(not native.COMPILED, reason="there was no compiler")
sides = st.integers(1, 20000)
kinds = st.sampled_from(KINDS)


@st.composite
def pictures(draw: st.DrawFn) -> tuple[int, int]:
    """Draw sides that no host refuses."""
    short = draw(sides)
    long = draw(st.integers(short, min(100 * short, 10**6)))
    return (short, long) if draw(st.booleans()) else (long, short)


@st.composite
def targets(draw: st.DrawFn) -> tuple[int, int]:
    """Draw ``resize`` and ``crop``."""
    resize = draw(st.integers(1, 4096))
    return resize, draw(st.integers(1, resize))


@compiled
@given(pictures(), targets(), kinds)
def test_the_core_computes_the_reference(
    picture: tuple[int, int], target: tuple[int, int], kind: Interpolation
) -> None:
    assert geometry(*picture, *target, kind) == reference(*picture, *target, kind)


@compiled
@given(pictures(), targets(), st.sampled_from(KINDS[:2]), st.sampled_from(SHRINKS))
def test_the_core_computes_the_reference_for_smaller_decodings(
    picture: tuple[int, int], target: tuple[int, int], kind: Interpolation, shrink: int
) -> None:
    width, height = (side / shrink for side in picture)
    assert geometry(width, height, *target, kind) == reference(width, height, *target, kind)


@compiled
@given(sides, sides, st.integers(1, 4096), kinds)
def test_scaled_decoding_is_the_references(
    width: int, height: int, resize: int, kind: Interpolation
) -> None:
    expected = reference_shrink(width, height, resize, kind)
    assert shrink_for(width, height, resize, kind) == expected


@compiled
@given(sides, sides, st.sampled_from((1, *SHRINKS)), st.integers(1, 8))
def test_extents_are_the_references(width: int, height: int, shrink: int, turn: int) -> None:
    expected = reference_extent(width, height, shrink, turn)
    assert extent_of(width, height, shrink, turn) == expected


@given(sides, targets(), kinds)
def test_the_crop_lies_in_the_resized_picture(
    short: int, target: tuple[int, int], kind: Interpolation
) -> None:
    (width, height), (left, top) = geometry(short, 3 * short, *target, kind)
    resize, crop = target
    assert min(width, height) == resize
    assert 0 <= left <= width - crop
    assert 0 <= top <= height - crop


@pytest.mark.parametrize("kind", KINDS)
def test_sides_too_far_apart_are_refused(kind: Interpolation) -> None:
    assert geometry(100, 1, 36, 32, kind).size == (3600, 36)
    with pytest.raises(ImageError, match=r"^101×1 is longer than 1:100$"):
        geometry(101, 1, 36, 32, kind)
    if native.core is not None:
        with pytest.raises(ValueError, match="too far apart"):
            native.core.geometry(101, 1, 36, 32, number_of(kind))


@compiled
@pytest.mark.parametrize(
    "arguments",
    [
        (0, 5, 36, 32, 0),
        (5, -1, 36, 32, 0),
        (float("nan"), 5, 36, 32, 0),
        (float("inf"), 5, 36, 32, 0),
        (5, 5, 32, 36, 0),
        (5, 5, 36, 0, 0),
        (5, 5, 5000, 32, 0),
        (5, 5, 36, 32, 3),
        (5, 5, 36, 32, -1),
    ],
)
def test_numbers_that_do_not_fit_are_refused(arguments: tuple[float, ...]) -> None:
    assert native.core is not None
    with pytest.raises(ValueError, match="do not fit"):
        native.core.geometry(*arguments)


@compiled
@given(st.integers(1, 120), st.integers(1, 120), st.sampled_from((1, *SHRINKS)), kinds, st.data())
def test_one_call_makes_what_preprocess_makes(
    width: int, height: int, shrink: int, kind: Interpolation, data: st.DataObject
) -> None:
    """What hosts in other languages call, from the pixels of a picture that was decoded smaller."""
    assert native.core is not None
    resize = data.draw(st.integers(1, 60))
    preprocess = Preprocess(resize, data.draw(st.integers(1, resize)), kind)
    turn = data.draw(st.integers(1, 8))
    box = extent_of(width, height, 1 if kind == "cv2-linear" else shrink, turn)
    stored = np.random.default_rng(width).integers(
        0, 256, (-(-height // shrink), -(-width // shrink), 3), dtype=np.uint8
    )
    if kind == "cv2-linear":
        box = Extent.of(stored)
    out = np.zeros((preprocess.crop, preprocess.crop, 3), np.uint8)
    size = stored.shape[1], stored.shape[0]
    rest = (resize, preprocess.crop, number_of(kind))
    try:
        expected = preprocess(stored, box)
    except ImageError:
        with pytest.raises(ValueError, match="too far apart"):
            native.core.make_input(stored, out, size, box, *rest)
        return
    native.core.make_input(stored, out, size, box, *rest)
    assert np.array_equal(out, expected)


@compiled
def test_one_call_refuses_what_does_not_fit() -> None:
    assert native.core is not None
    stored, out = np.zeros((8, 10, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    native.core.make_input(stored, out, (10, 8), (0, 0, 10, 8), 5, 4, 0)
    for size, box, resize, crop, kind in (
        ((10, 9), (0, 0, 10, 8), 5, 4, 0),
        ((10, 8), (0, 0, 11, 8), 5, 4, 0),
        ((10, 8), (-1, 0, 10, 8), 5, 4, 0),
        ((10, 8), (0, 0, 10, 7.5), 5, 4, 2),
        ((10, 8), (0, 0, 10, 8), 5, 3, 0),
        ((10, 8), (0, 0, 10, 8), 3, 4, 0),
        ((10, 8), (0, 0, 10, 8), 5, 4, 7),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            native.core.make_input(stored, out, size, box, resize, crop, kind)


PROGRAM = """
#include "fleetnet_core.h"
#include <stdio.h>
int main(void) {
    static uint8_t pixels[3 * 40 * 30], out[3 * 16 * 16];
    for (int i = 0; i < 3 * 40 * 30; i++) pixels[i] = (uint8_t)(i * 7);
    fleetnet_preprocess preprocess = {20, 16, FLEETNET_BICUBIC};
    if (fleetnet_make_input(&preprocess, pixels, 40, 30, NULL, out) != FLEETNET_OK) return 1;
    for (int i = 0; i < 3 * 16 * 16; i++) printf("%d ", out[i]);
    return 0;
}
"""


@pytest.mark.parametrize(
    ("compiler", "dialect", "ending"), [("gcc", "c99", "c"), ("g++", "c++17", "cpp")]
)
def test_a_host_in_another_language_compiles_it_and_computes_the_same(
    compiler: str, dialect: str, ending: str, tmp_path: Path
) -> None:
    found = shutil.which(compiler)
    if not found or not shutil.which("gcc"):
        pytest.skip(f"there is no {compiler}")
    if not CORE.is_dir():
        pytest.skip("the C core's sources are not here")
    source, program = tmp_path / f"host.{ending}", tmp_path / "host"
    source.write_text(PROGRAM)
    objects = []
    for file in sorted(CORE.glob("*.c")):
        objects.append(tmp_path / f"{file.stem}.o")
        strict = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror")
        fast = ("-O2", "-ffp-contract=off", "-c", str(file), "-o", str(objects[-1]))
        subprocess.run(["gcc", *strict, *fast], check=True)
    files = [str(file) for file in (source, *objects)]
    link = [found, f"-std={dialect}", f"-I{CORE}", *files, "-lm", "-o", str(program)]
    subprocess.run(link, check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    pixels = (np.arange(3 * 40 * 30) * 7 % 256).astype(np.uint8).reshape(30, 40, 3)
    expected = Preprocess(20, 16, "bicubic")(pixels)
    assert [int(word) for word in printed.split()] == expected.ravel().tolist()
