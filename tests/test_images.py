import io
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fleetnet import image_bytes, images
from fleetnet.errors import ImageError
from fleetnet.geometry import SHRINKS
from fleetnet.image_bytes import read_bytes
from fleetnet.images import OpenImage, Pixels, decode, from_array, from_pil
from samples import REFUSING, draw, encode

PICTURE = draw("circle", np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_decode_exactly(kind: str) -> None:
    assert np.array_equal(decode(encode(PICTURE, kind)), np.asarray(PICTURE))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}])
def test_jpeg_decodes_as_pillow_does(options: dict[str, object]) -> None:
    data = encode(PICTURE, "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(decode(data), expected)


def test_webp_and_gif_decode() -> None:
    for kind in ("WEBP", "GIF"):
        assert decode(encode(PICTURE, kind)).shape == (80, 96, 3)


def test_grey_becomes_three_equal_channels() -> None:
    pixels = decode(encode(PICTURE.convert("L"), "PNG"))
    assert np.array_equal(pixels[..., 0], np.asarray(PICTURE.convert("L")))
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


def test_sixteen_bits_keep_their_upper_eight() -> None:
    samples = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    pixels = decode(encode(Image.fromarray(samples), "PNG"))
    assert np.array_equal(pixels[..., 1], (samples >> 8).astype(np.uint8))


@pytest.mark.parametrize("transparency", [None, 0, bytes(range(256))])
def test_palette_images_become_rgb(transparency: int | bytes | None) -> None:
    palette = PICTURE.quantize(64)
    options = {} if transparency is None else {"transparency": transparency}
    pixels = decode(encode(palette, "PNG", **options))
    assert np.array_equal(pixels, np.asarray(palette.convert("RGB")))


def test_alpha_is_dropped() -> None:
    with_alpha = PICTURE.copy()
    with_alpha.putalpha(40)
    assert np.array_equal(decode(encode(with_alpha, "PNG")), np.asarray(PICTURE))


def test_cmyk_jpeg_becomes_rgb() -> None:
    pixels = decode(encode(PICTURE.convert("CMYK"), "JPEG", quality=95))
    assert np.abs(pixels.astype(int) - np.asarray(PICTURE)).mean() < 12


UNDO = {
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_90],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_270],
}
"""How a camera that was held that way stores an upright picture."""


def stored_as(orientation: int, kind: str, picture: Image.Image = PICTURE) -> bytes:
    for step in UNDO.get(orientation, []):
        picture = picture.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(picture, kind, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    assert np.array_equal(decode(stored_as(orientation, "PNG")), np.asarray(PICTURE))


def test_only_the_first_frame_is_taken() -> None:
    data = encode(PICTURE, "GIF", save_all=True, append_images=[Image.new("RGB", PICTURE.size)])
    first = np.asarray(PICTURE.quantize(256).convert("RGB")).astype(int)
    assert np.abs(decode(data).astype(int) - first).mean() < 12


def one_line(error: ImageError) -> None:
    assert "\n" not in str(error)


def test_truncated_files_are_refused_whatever_the_place() -> None:
    data = encode(PICTURE, "JPEG")
    for end in range(0, len(data) - 2, max(1, len(data) // 60)):
        with pytest.raises(ImageError):
            decode(data[:end])


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_files_decode_or_are_refused_in_one_line(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]))
    content = bytearray(encode(PICTURE, kind))
    for _ in range(data.draw(st.integers(1, 20))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    try:
        pixels = decode(bytes(content))
    except ImageError as error:
        one_line(error)
    else:
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3


@pytest.fixture(params=["simplejpeg", "Pillow"])
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Decode with and without simplejpeg."""
    if request.param == "Pillow":
        monkeypatch.setattr(images, "simplejpeg", REFUSING)
    return str(request.param)


def by_pillow(data: bytes) -> Pixels:
    """Decode as :func:`decode` does, with only Pillow."""
    with images.opened(data) as image:
        return from_pil(image)


class TestOpenImage:
    @pytest.mark.parametrize("mode", ["RGB", "L"])
    @pytest.mark.parametrize(
        "options", [{}, {"progressive": True}, {"quality": 30}, {"subsampling": 0}]
    )
    @pytest.mark.usefixtures("road")
    def test_jpeg_decodes_as_by_pillow(self, mode: str, options: dict[str, object]) -> None:
        data = encode(PICTURE.convert(mode), "JPEG", **options)
        image = OpenImage(data)
        assert (image.width, image.height) == PICTURE.size
        assert np.array_equal(image.decode(), by_pillow(data))

    @pytest.mark.usefixtures("road")
    def test_photographs_decode_as_by_pillow(self, photos: list[Path]) -> None:
        for photo in photos:
            data = photo.read_bytes()
            assert np.array_equal(OpenImage(data).decode(), by_pillow(data)), photo.name

    @pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "GIF", "TIFF"])
    def test_other_formats_decode_as_by_pillow(self, kind: str) -> None:
        data = encode(PICTURE, kind)
        assert np.array_equal(OpenImage(data).decode(2), by_pillow(data))

    def test_sixteen_bits_keep_their_upper_eight(self) -> None:
        samples = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
        data = encode(Image.fromarray(samples), "PNG")
        assert np.array_equal(OpenImage(data).decode(), by_pillow(data))

    @pytest.mark.usefixtures("road")
    def test_cmyk_decodes_as_by_pillow(self) -> None:
        data = encode(PICTURE.convert("CMYK"), "JPEG", quality=95)
        assert np.array_equal(OpenImage(data).decode(), by_pillow(data))
        assert OpenImage(data).decode(2).shape == (40, 48, 3)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.usefixtures("road")
    def test_exif_orientation_is_applied(self, kind: str, orientation: int) -> None:
        data = stored_as(orientation, kind)
        image = OpenImage(data)
        assert (image.width, image.height) == PICTURE.size
        assert np.array_equal(image.decode(), by_pillow(data))

    @pytest.mark.parametrize("shrink", [2, 4, 8])
    @pytest.mark.parametrize(("size", "orientation"), [((203, 170), 1), ((208, 168), 6)])
    @pytest.mark.usefixtures("road")
    def test_a_jpeg_decodes_smaller(
        self, shrink: int, size: tuple[int, int], orientation: int
    ) -> None:
        # Smooth, because a coarse average of noise depends on where it is taken.
        smooth = PICTURE.resize((12, 10)).resize(size, Image.Resampling.BICUBIC)
        data = stored_as(orientation, "JPEG", smooth)
        small = OpenImage(data).decode(shrink)
        assert small.shape == (-(-size[1] // shrink), -(-size[0] // shrink), 3)
        average = np.asarray(Image.fromarray(by_pillow(data)).reduce(shrink))
        inside = np.s_[: size[1] // shrink, : size[0] // shrink]
        assert np.abs(small[inside].astype(int) - average[inside]).mean() < 3

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("size", [(203, 169), (201, 174), (208, 168), (5, 3), (1, 9)])
    def test_the_extent_is_the_picture_without_what_fills_the_last_block(
        self, size: tuple[int, int], orientation: int
    ) -> None:
        smooth = PICTURE.resize((12, 10)).resize(size, Image.Resampling.BICUBIC)
        image = OpenImage(stored_as(orientation, "JPEG", smooth))
        for shrink in (1, *SHRINKS):
            pixels, extent = image.decode(shrink), image.extent(shrink)
            assert extent.right - extent.left == size[0] / shrink
            assert extent.bottom - extent.top == size[1] / shrink
            assert min(extent.left, extent.top) >= 0
            assert extent.right <= pixels.shape[1] < extent.right - extent.left + 1
            assert extent.bottom <= pixels.shape[0] < extent.bottom - extent.top + 1

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_the_extent_puts_every_pixel_where_it_was(self, orientation: int) -> None:
        """A ramp shows a shift: a pixel of the small picture is 8 of 2 levels each."""
        ramp = np.add.outer(np.arange(60) * 2, np.arange(53) * 2).astype(np.uint8)
        data = stored_as(orientation, "JPEG", Image.fromarray(ramp).convert("RGB"))
        image = OpenImage(data)
        extent = image.extent(8)
        pixels = image.decode(8)[..., 0]
        y, x = np.mgrid[1 : pixels.shape[0] - 1, 1 : pixels.shape[1] - 1]
        # In the middle of a pixel the ramp is what it is half a source pixel before that.
        there = (x + 0.5 - extent.left) * 8 - 0.5, (y + 0.5 - extent.top) * 8 - 0.5
        assert np.abs(pixels[1:-1, 1:-1] - 2 * (there[0] + there[1])).max() < 3

    def test_other_formats_are_all_picture(self) -> None:
        image = OpenImage(encode(PICTURE, "PNG"))
        assert image.extent(8) == (0, 0, 96, 80)

    @pytest.mark.parametrize("shrink", [1, 2, 8])
    @pytest.mark.usefixtures("road")
    def test_truncated_files_are_refused_whatever_the_place(
        self, capfd: pytest.CaptureFixture[str], shrink: int
    ) -> None:
        for options in ({}, {"progressive": True}):
            data = encode(PICTURE, "JPEG", **options)
            for end in range(0, len(data) - 2, max(1, len(data) // 40)):
                with pytest.raises(ImageError):
                    OpenImage(data[:end]).decode(shrink)
        assert capfd.readouterr().err == ""

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_damaged_jpegs_share_their_fate_with_pillow(self, data: st.DataObject) -> None:
        content = bytearray(encode(PICTURE, "JPEG"))
        for _ in range(data.draw(st.integers(1, 8))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
        try:
            expected = by_pillow(bytes(content))
        except ImageError:
            expected = None
        try:
            pixels = OpenImage(bytes(content)).decode()
        except ImageError as error:
            one_line(error)
            assert expected is None
        else:
            assert expected is None or pixels.shape == expected.shape

    def test_a_file_that_simplejpeg_warns_of_is_decoded_by_pillow(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        data = encode(PICTURE, "JPEG")
        place = data.index(b"\xff\xda")
        odd = data[:place] + b"junk" + data[place:]  # libjpeg skips it, with a warning
        assert np.array_equal(OpenImage(odd).decode(), by_pillow(odd))
        assert np.array_equal(by_pillow(odd), by_pillow(data))
        assert capfd.readouterr().err == ""

    def test_a_header_that_two_parsers_read_differently_goes_to_the_checked_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Liar:
            def decode_jpeg_header(self, *_: object) -> tuple[int, int, str, str]:
                return 60_000, 60_000, "YCbCr", "444"

            def decode_jpeg(self, *_: object, **__: object) -> None:
                raise AssertionError

        monkeypatch.setattr(images, "simplejpeg", Liar())
        assert OpenImage(encode(PICTURE, "JPEG")).decode().shape == (80, 96, 3)

    @pytest.mark.filterwarnings("ignore:Corrupt EXIF")
    @pytest.mark.parametrize("damage", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff"])
    def test_damaged_exif_is_no_reason_to_refuse(self, damage: bytes) -> None:
        data = encode(PICTURE, "JPEG", exif=damage)
        assert OpenImage(data).decode().shape == by_pillow(data).shape

    def test_a_jpeg_beyond_the_limit_is_refused_before_it_is_decoded(self) -> None:
        data = bytearray(encode(PICTURE, "JPEG"))
        place = data.index(b"\xff\xc0") + 5
        data[place : place + 4] = struct.pack(">HH", 60_000, 60_000)
        with pytest.raises(ImageError, match="million pixels"):
            OpenImage(bytes(data))


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode(data)


def _png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_500, 13_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    with pytest.raises(ImageError, match="million pixels"):
        decode(_png_claiming(side, side))


def test_a_file_beyond_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_bytes, "MAX_BYTES", 2**20)
    file = tmp_path / "large.jpg"
    file.write_bytes(b"\0" * (2**20 + 1))
    with pytest.raises(ImageError, match="larger than 1 MiB"):
        read_bytes(file)


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    data = encode(PICTURE, "PNG")
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    assert read_bytes(pipe) == data
    writer.join()


def test_unreadable_paths_say_why(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        read_bytes(tmp_path / "nothing.jpg")
    with pytest.raises(ImageError, match="directory"):
        read_bytes(tmp_path)
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match="empty"):
        read_bytes(tmp_path / "empty.jpg")


def test_arrays() -> None:
    grey = np.full((4, 5), 9, np.uint8)
    assert np.array_equal(from_array(grey), np.full((4, 5, 3), 9))
    for wrong in (np.zeros((4, 5, 4), np.uint8), np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(ImageError, match="height×width×3"):
            from_array(wrong)
    with pytest.raises(ImageError, match="float64"):
        from_array(np.zeros((4, 5, 3)))


def test_float_images_are_refused() -> None:
    with pytest.raises(ImageError, match="32 bits"):
        from_pil(Image.new("F", (4, 4)))
