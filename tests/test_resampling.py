import importlib
import shutil
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetnet import native
from fleetnet.geometry import Extent, Interpolation
from fleetnet.images import Pixels
from fleetnet.resampling import resample

KINDS: tuple[Interpolation, ...] = ("bilinear", "bicubic", "cv2-linear")

compiled = pytest.mark.skipif(not native.COMPILED, reason="there was no compiler")


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _compiled() -> Callable[..., None]:
    return importlib.import_module("fleetnet._native").resample  # type: ignore[no-any-return]


def test_a_compiler_is_used_where_there_is_one() -> None:
    header = Path(sysconfig.get_path("include")) / "Python.h"
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert native.COMPILED or not (compiler and header.exists())


@compiled
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=80, deadline=None)
@given(st.data())
def test_without_a_compiler_every_pixel_is_the_same(
    kind: Interpolation, data: st.DataObject
) -> None:
    width, height = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 200))
    size = data.draw(st.integers(1, 150)), data.draw(st.integers(1, 150))
    crop = data.draw(st.integers(1, min(size)))
    offset = tuple(data.draw(st.integers(0, side - crop)) for side in size)
    image = noise(height, width, data.draw(st.integers(0, 99)))
    extent = Extent.of(image)
    if kind != "cv2-linear":
        # Eighths of a pixel, as pictures decoded smaller have them.
        left = data.draw(st.integers(0, 8 * width - 1))
        top = data.draw(st.integers(0, 8 * height - 1))
        right = data.draw(st.integers(left + 1, 8 * width))
        bottom = data.draw(st.integers(top + 1, 8 * height))
        extent = Extent(left / 8, top / 8, right / 8, bottom / 8)
    arguments = (image, extent, size, (offset[0], offset[1]), crop, kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "core", None)
        expected = resample(*arguments)
    assert np.array_equal(resample(*arguments), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("edge", [0, 255])
def test_a_black_or_white_picture_stays_so(kind: Interpolation, edge: int) -> None:
    image = np.full((301, 407, 3), edge, np.uint8)
    out = resample(image, Extent.of(image), (90, 70), (3, 5), 60, kind)
    assert (out == edge).all()


@pytest.mark.parametrize("kind", KINDS)
def test_views_of_arrays_are_resized_like_copies(kind: Interpolation) -> None:
    image = noise(80, 100)
    view = image[::-1, 10:90:2]
    copy = np.ascontiguousarray(view)
    arguments = (Extent.of(copy), (30, 60), (0, 0), 30, kind)
    assert np.array_equal(resample(view, *arguments), resample(copy, *arguments))


@compiled
@pytest.mark.parametrize("kind", KINDS)
def test_threads_do_not_disturb_one_another(kind: Interpolation) -> None:
    images = [noise(90, 120, seed) for seed in range(4)]
    arguments = (Extent.of(images[0]), (60, 45), (5, 0), 45, kind)
    expected = [resample(image, *arguments) for image in images]
    wrong: list[int] = []

    def repeat(number: int) -> None:
        for _ in range(50):
            same = np.array_equal(resample(images[number], *arguments), expected[number])
            wrong.extend([] if same else [number])

    threads = [threading.Thread(target=repeat, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@compiled
@pytest.mark.parametrize(
    "change",
    [
        {"size": (11, 8)},
        {"size": (0, 8)},
        {"size": (-10, -8)},
        {"size": (2**30, 2**30)},
        {"box": (-0.5, 0, 10, 8)},
        {"box": (0, 0, 10.5, 8)},
        {"box": (4, 0, 4, 8)},
        {"box": (0, 0, float("nan"), 8)},
        {"resized": (3, 3)},
        {"resized": (0, 4)},
        {"offset": (2, 0)},
        {"offset": (0, -1)},
        {"crop": 3},
        {"crop": 0},
        {"filter": 3},
        {"filter": -1},
    ],
)
def test_what_does_not_fit_is_refused_before_memory_is_touched(change: dict[str, object]) -> None:
    fitting = {
        "size": (10, 8),
        "box": (0, 0, 10, 8),
        "resized": (5, 4),
        "offset": (0, 0),
        "crop": 4,
        "filter": 0,
    }
    image, out = noise(8, 10), np.zeros((4, 4, 3), np.uint8)
    write = _compiled()
    write(image, out, *fitting.values())
    with pytest.raises(ValueError, match="do not fit"):
        write(image, out, *{**fitting, **change}.values())


@compiled
def test_read_only_results_and_other_objects_are_refused() -> None:
    image, out = noise(8, 10), np.zeros((4, 4, 3), np.uint8)
    rest = ((10, 8), (0, 0, 10, 8), (5, 4), (0, 0), 4, 0)
    out.flags.writeable = False
    with pytest.raises((TypeError, ValueError, BufferError)):
        _compiled()(image, out, *rest)
    with pytest.raises(TypeError):
        _compiled()([1, 2, 3], out, *rest)
