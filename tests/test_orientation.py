from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from fleetnet.evaluation.data_summary import summarise_data
from fleetnet.images import OpenImage
from fleetnet.orientation import TAG, orientation_of, turn_upright, upright_size
from listed import Listed

SIZE = (3, 2)


def encoded(orientation: int | None) -> bytes:
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    stored = Image.Exif()
    if orientation is not None:
        stored[TAG] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=stored.tobytes())
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_and_sizes_are_turned_as_pillow_turns_them(orientation: int) -> None:
    with Image.open(io.BytesIO(encoded(orientation))) as image:
        assert orientation_of(image) == orientation
        expected = np.asarray(ImageOps.exif_transpose(image))
        stored = np.asarray(image)
    assert np.array_equal(turn_upright(stored, orientation), expected)
    assert upright_size(*SIZE, orientation) == expected.shape[1::-1]


@pytest.mark.parametrize("orientation", [None, 0, 9])
def test_unknown_orientations_count_as_upright(orientation: int | None) -> None:
    with Image.open(io.BytesIO(encoded(orientation))) as image:
        assert orientation_of(image) == 1


def test_a_report_has_the_sizes_that_decoding_gives() -> None:
    contents = [encoded(6), encoded(1), encoded(None)]
    source = Listed([(0,)] * 3, contents)
    sizes = summarise_data(source, np.arange(3)).sizes
    opened = [OpenImage(data) for data in contents]
    assert sizes.tolist() == [[image.width, image.height] for image in opened]
