"""Parts of JPEG files are the pixels of whole files, whoever decodes them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fleetnet import native
from fleetnet.errors import ImageError
from fleetnet.images import OpenImage
from fleetnet.orientation import TAG, stored_box, turn_upright
from samples import draw, encode

SIZE = (171, 122)
PICTURE = draw("circle", np.random.default_rng(4), SIZE)
Box = tuple[int, int, int, int]

compiled = pytest.mark.skipif(native.jpeg is None, reason="compiled without libjpeg-turbo")


def boxes(size: tuple[int, int], count: int = 12) -> list[Box]:
    """Return all of a picture, its corners, and boxes anywhere in it."""
    width, height = size
    found = [(0, 0, width, height), (0, 0, 1, 1), (width - 1, height - 1, width, height)]
    rng = np.random.default_rng(0)
    for _ in range(count):
        left, right = sorted(rng.choice(width + 1, 2, replace=False).tolist())
        top, bottom = sorted(rng.choice(height + 1, 2, replace=False).tolist())
        found.append((left, top, right, bottom))
    return found


def of_whole(data: bytes, box: Box, shrink: int = 1) -> Any:
    left, top, right, bottom = box
    return OpenImage(data).decode(shrink)[top:bottom, left:right]


def test_libjpeg_is_used_where_it_can_be_compiled_with() -> None:
    compiler = shutil.which("gcc") and native.COMPILED
    assert native.jpeg is not None or not (compiler and Path("/usr/include/jpeglib.h").exists())


@compiled
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("layers", ["4:4:4", "4:2:2", "4:2:0", "L"])
def test_parts_have_the_bits_of_the_whole(layers: str, progressive: bool) -> None:
    colours: dict[str, Any] = {} if layers == "L" else {"subsampling": layers}
    picture = PICTURE.convert("L") if layers == "L" else PICTURE
    data = encode(picture, "JPEG", quality=80, progressive=progressive, **colours)
    for shrink in (1, 2, 4, 8):
        image = OpenImage(data)
        for box in boxes(image.size(shrink)):
            part = image._decode_part_fast(box, shrink)
            assert part is not None
            assert np.array_equal(part, of_whole(data, box, shrink)), (shrink, box)


def test_parts_of_photographs_have_the_bits_of_the_whole(photos: list[Path]) -> None:
    for photo in photos[::12]:
        data = photo.read_bytes()
        image = OpenImage(data)
        for box in boxes((image.width, image.height), 3):
            assert np.array_equal(image.decode_part(box), of_whole(data, box))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shrink", [1, 2])
def test_parts_are_of_the_upright_picture(
    orientation: int, shrink: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[TAG] = orientation
    data = encode(PICTURE, "JPEG", exif=exif.tobytes())
    image = OpenImage(data)
    for box in boxes(image.size(shrink), 4):
        part = image.decode_part(box, shrink)
        assert np.array_equal(part, of_whole(data, box, shrink))
        with monkeypatch.context() as patch:
            patch.setattr(native, "jpeg", None)
            assert np.array_equal(image.decode_part(box, shrink), part)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_stored_box_turned_upright_is_the_box(orientation: int) -> None:
    stored = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    upright = turn_upright(stored, orientation)
    height, width = upright.shape[:2]
    left, top, right, bottom = stored_box((1, 2, 4, 5), width, height, orientation)
    part = turn_upright(stored[top:bottom, left:right], orientation)
    assert np.array_equal(part, upright[2:5, 1:4])


def test_other_formats_have_parts_too() -> None:
    box = (3, 4, 50, 60)
    data = encode(PICTURE, "PNG")
    assert OpenImage(data).size(4) == SIZE
    assert np.array_equal(OpenImage(data).decode_part(box, 4), of_whole(data, box))


def test_damage_in_a_part_is_an_error_as_in_the_whole() -> None:
    cut = encode(PICTURE)[:-900]
    with pytest.raises(ImageError) as whole:
        OpenImage(cut).decode()
    with pytest.raises(ImageError) as part:
        OpenImage(cut).decode_part((0, 0, *SIZE))
    assert str(part.value) == str(whole.value)


@compiled
@pytest.mark.parametrize(
    ("size", "shrink", "box", "room"),
    [
        (SIZE, 1, (1, 0, 172, 10), 171 * 10),  # beyond the picture
        (SIZE, 1, (-1, 0, 9, 10), 100),
        ((171, 121), 1, (0, 0, 10, 10), 100),  # not the size that the file states
        (SIZE, 8, (0, 0, 10, 100), 1000),  # beyond what is decoded smaller
    ],
)
def test_what_does_not_fit_the_file_is_not_decoded(
    size: tuple[int, int], shrink: int, box: Box, room: int
) -> None:
    assert native.jpeg is not None
    out = bytearray(3 * room)
    assert not native.jpeg.decode_part(encode(PICTURE), out, size, shrink, box)
    assert not any(out)


@compiled
@pytest.mark.parametrize(
    ("size", "shrink", "box", "room"),
    [
        (SIZE, 0, (0, 0, 10, 10), 100),
        (SIZE, 9, (0, 0, 10, 10), 100),
        (SIZE, 1, (0, 0, 10, 10), 99),
        (SIZE, 1, (10, 0, 10, 10), 0),
        (SIZE, 1, (-(2**31), 0, 2**31 - 1, 10), 100),
        ((0, 0), 1, (0, 0, 10, 10), 100),
    ],
)
def test_senseless_numbers_are_refused(
    size: tuple[int, int], shrink: int, box: Box, room: int
) -> None:
    assert native.jpeg is not None
    with pytest.raises(ValueError, match="do not fit"):
        native.jpeg.decode_part(encode(PICTURE), bytearray(3 * room), size, shrink, box)
