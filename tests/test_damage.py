"""What a file's own bytes call damaged is refused, whatever its decoder lets pass."""

import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from PIL import Image

from fleetnet import damage, images
from fleetnet.data.facts import examine
from fleetnet.errors import ImageError
from fleetnet.images import OpenImage, decode
from pictures import EVERY, GREY16, PICTURE
from samples import REFUSING, encode

PNG = encode(PICTURE, "PNG")


def chunks(png: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield where each chunk begins, its name and its content."""
    place = 8
    while place < len(png):
        length, name = struct.unpack_from(">I4s", png, place)
        yield place, name, png[place + 8 : place + 8 + length]
        place += 12 + length


def png_of(parts: list[tuple[bytes, bytes]]) -> bytes:
    made = PNG[:8]
    for name, content in parts:
        made += struct.pack(">I", len(content)) + name + content
        made += struct.pack(">I", zlib.crc32(name + content))
    return made


def png_with_everything() -> bytes:
    """A PNG of several chunks of pixels, with others before and behind them."""
    ((_, _, header), (_, _, pixels), (_, _, end)) = chunks(PNG)
    third = len(pixels) // 3
    return png_of(
        [
            (b"IHDR", header),
            (b"tEXt", b"Title\0before"),
            (b"IDAT", pixels[:third]),
            (b"IDAT", pixels[third : 2 * third]),
            (b"IDAT", pixels[2 * third :]),
            (b"tEXt", b"Comment\0behind"),
            (b"prVt", b"of nobody's"),
            (b"IEND", end),
        ]
    )


class TestPng:
    def test_every_chunks_checksum_is_checked(self) -> None:
        data = png_with_everything()
        assert np.array_equal(decode(data), np.asarray(PICTURE))
        for place, name, content in chunks(data):
            broken = bytearray(data)
            broken[place + 8 + len(content)] ^= 1
            with pytest.raises(ImageError, match=f"checksum of its chunk {name.decode()}"):
                decode(bytes(broken))

    def test_a_change_of_any_byte_is_found(self) -> None:
        data = encode(PICTURE.resize((12, 10)), "PNG")
        for place in range(len(data)):
            broken = bytearray(data)
            broken[place] ^= 0x10
            with pytest.raises(ImageError):
                decode(bytes(broken))

    def test_the_checksum_of_the_pixels_is_checked_when_the_chunks_is_right(self) -> None:
        ((_, _, header), (_, _, pixels), _) = chunks(PNG)
        wrong = pixels[:-1] + bytes([pixels[-1] ^ 1])
        with pytest.raises(ImageError, match="damaged"):
            decode(png_of([(b"IHDR", header), (b"IDAT", wrong), (b"IEND", b"")]))

    def test_only_the_end_may_be_missing(self) -> None:
        for cut in range(1, 13):
            assert np.array_equal(decode(PNG[:-cut]), np.asarray(PICTURE))
        for cut in range(13, len(PNG), 101):
            with pytest.raises(ImageError):
                decode(PNG[:-cut])

    def test_a_malformed_chunk_behind_the_pixels_hides_no_damage_of_them(self) -> None:
        ((_, _, header), (_, _, pixels), (_, _, end)) = chunks(PNG)
        gamma_cut_off = (b"gAMA", b"\0")
        whole = [(b"IHDR", header), (b"IDAT", pixels), gamma_cut_off, (b"IEND", end)]
        assert np.array_equal(decode(png_of(whole)), np.asarray(PICTURE))
        damaged = [(b"IHDR", header), (b"IDAT", pixels[:-9]), gamma_cut_off, (b"IEND", end)]
        with pytest.raises(ImageError, match="damaged image"):
            decode(png_of(damaged))

    def test_bytes_after_the_end_are_ignored(self) -> None:
        assert np.array_equal(decode(PNG + b"a camera's own"), np.asarray(PICTURE))

    def test_an_icons_picture_is_held_to_its_checksums_too(self) -> None:
        data = encode(PICTURE, "ICO", sizes=[(64, 53)])
        text = bytearray(data)
        text[data.index(b"IDAT") - 5] ^= 1
        with pytest.raises(ImageError, match="checksum"):
            decode(bytes(text))

    def test_frames_behind_the_first_count(self) -> None:
        data = encode(PICTURE, "PNG", save_all=True, append_images=[Image.new("RGB", (96, 80))])
        assert np.array_equal(decode(data), np.asarray(PICTURE))
        broken = bytearray(data)
        broken[data.index(b"fdAT") + 9] ^= 1
        with pytest.raises(ImageError, match="checksum of its chunk fdAT"):
            decode(bytes(broken))


@pytest.mark.parametrize("road", ["simplejpeg", "Pillow"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
class TestJpeg:
    @pytest.fixture(autouse=True)
    def _road(self, road: str, monkeypatch: pytest.MonkeyPatch) -> None:
        if road == "Pillow":
            monkeypatch.setattr(images, "simplejpeg", REFUSING)

    def test_a_jpeg_that_lacks_only_its_end_marker_is_whole(
        self, mode: str, options: dict[str, object]
    ) -> None:
        data = encode(PICTURE.convert(mode), "JPEG", **options)
        for cut in (1, 2):
            assert np.array_equal(decode(data[:-cut]), decode(data))
            small = OpenImage(data[:-cut]).decode(4)
            assert np.array_equal(small, OpenImage(data).decode(4))

    def test_a_jpeg_that_lacks_more_is_damaged(self, mode: str, options: dict[str, object]) -> None:
        data = encode(PICTURE.resize((48, 40)).convert(mode), "JPEG", **options)
        for cut in range(3, len(data)):
            with pytest.raises(ImageError):
                decode(data[:-cut])


class TestJpegsEnd:
    def test_scans_one_component_each(self) -> None:
        """Cut off between them, a picture without colour would pass."""
        data = next(file.data for file in EVERY if file.name == "progressive")
        scans = [place for marker, place in damage._markers(data) if marker == 0xDA]
        assert len(scans) > 5
        for place in scans[1:]:
            with pytest.raises(ImageError, match="truncated"):
                decode(data[:place])

    def test_a_file_with_an_end_is_left_alone(self) -> None:
        data = encode(PICTURE)
        for file in (data, data + b"a camera's own", data + data):
            assert damage.with_jpeg_end(file, 10**8) is file

    def test_too_many_pixels_are_not_tried(self) -> None:
        data = encode(PICTURE)[:-2]
        assert damage.with_jpeg_end(data, 96 * 80) == data + b"\xff\xd9"
        assert damage.with_jpeg_end(data, 96 * 80 - 1) is data

    @pytest.mark.parametrize("cut", range(2, 40))
    def test_headers_alone(self, cut: int) -> None:
        data = encode(PICTURE)
        scan = data.index(b"\xff\xda")
        for file in (data[:cut], data[: scan + cut], data[:scan] + data[scan + cut :][:50]):
            damage.with_jpeg_end(file, 10**8)
            with pytest.raises(ImageError):
                decode(file)


@pytest.mark.parametrize("tags", ["RowsPerStrip", "ImageLength"])
def test_a_tiff_without_some_of_its_strips_is_damaged(tags: str) -> None:
    data = bytearray(encode(Image.fromarray(GREY16), "TIFF"))
    assert decode(bytes(data)).shape == (40, 48, 3)
    height = struct.pack("<HHII", 257, 4, 1, 40)
    assert height in data
    longer = bytes(data).replace(height, struct.pack("<HHII", 257, 4, 1, 400))
    if tags == "RowsPerStrip":
        longer = bytes(data).replace(
            struct.pack("<HHII", 278, 4, 1, 40), struct.pack("<HHII", 278, 4, 1, 8)
        )
        assert longer != data
    with pytest.raises(ImageError, match="strips or tiles of the picture are missing"):
        decode(longer)


def test_a_tiff_in_tiles_is_whole() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8)
    for compression in (1, 5, 8):
        flags = [cv2.IMWRITE_TIFF_COMPRESSION, compression, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 16]
        data = bytes(cv2.imencode(".tiff", pixels, flags)[1])
        assert np.array_equal(decode(data), pixels[..., ::-1])


@pytest.mark.parametrize("options", [{}, {"no_jp2": True}])
def test_a_jpeg2000_without_some_of_its_tiles_is_damaged(options: dict[str, object]) -> None:
    data = encode(PICTURE, "JPEG2000", tile_size=(32, 32), **options)
    assert np.array_equal(decode(data), np.asarray(PICTURE))
    for cut in (*range(1, 40), *range(40, len(data), 97)):
        with pytest.raises(ImageError):
            decode(data[:-cut])
    start = data.index(b"\xff\x90", 10)
    length = int.from_bytes(data[start + 6 : start + 10], "big")
    with pytest.raises(ImageError, match="tiles of the picture are missing"):
        decode(data[:start] + data[start + length :])


@pytest.mark.parametrize("name", ["webp", "webp lossless", "avif", "heic", "bmp", "tiff", "qoi"])
def test_truncated_files_are_damaged(name: str) -> None:
    data = next(file.data for file in EVERY if file.name == name)
    for end in range(9 if name == "qoi" else 1, len(data), max(len(data) // 60, 1)):
        with pytest.raises(ImageError):
            decode(data[:-end])


@pytest.mark.parametrize("step", [-100, -2, 2, 100])
def test_a_webp_of_another_length_than_it_says_is_damaged(step: int) -> None:
    data = bytearray(encode(PICTURE, "WEBP"))
    data[4:8] = struct.pack("<I", struct.unpack_from("<I", data, 4)[0] + step)
    with pytest.raises(ImageError):
        decode(bytes(data))


def test_the_check_of_data_finds_the_same_damage() -> None:
    broken = bytearray(png_with_everything())
    broken[broken.index(b"behind")] ^= 1
    for read in (decode, examine):
        with pytest.raises(ImageError, match="checksum of its chunk tEXt"):
            read(bytes(broken))
    assert examine(encode(PICTURE)[:-2]).width == 96
