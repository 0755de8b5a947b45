import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fleetnet import formats
from fleetnet.errors import ImageError
from fleetnet.formats import EXTENSIONS, FORMATS, is_image_name
from fleetnet.images import MAX_PIXELS, OpenImage, Pixels, decode, from_pil, opened
from pictures import EVERY, PICTURE, SMALL, Encoded, heic, heic_of_ten_bits
from samples import encode


def one_line(error: ImageError) -> None:
    assert "\n" not in str(error)


every = pytest.mark.parametrize("file", EVERY, ids=lambda file: file.name)


@every
def test_every_format_is_known_and_decoded(file: Encoded) -> None:
    image = OpenImage(file.data)
    assert image.format == file.format
    assert is_image_name(f"photo{file.ending.upper()}")
    pixels = image.decode()
    assert (image.width, image.height) == SMALL.size
    if file.exact:
        assert np.array_equal(pixels, np.asarray(SMALL))


def test_every_format_is_tried_here() -> None:
    assert {file.format for file in EVERY} == {known.name for known in FORMATS}


@every
def test_each_file_is_recognised_as_its_own_format_only(file: Encoded) -> None:
    matching = [known.name for known in FORMATS if known.begins(file.data)]
    # AVIF and HEIF share a container, and the first decides.
    assert matching == (["AVIF", "HEIF"] if file.format == "AVIF" else [file.format])


@pytest.mark.parametrize(
    "name", ["a.txt", "a", "a.eps", "a.wmf", "a.pdf", "a.pfm", "a.psd", "a.svg", "a.icns", "a.dds"]
)
def test_files_of_formats_that_are_not_read_are_not_found_as_images(name: str) -> None:
    assert not is_image_name(name)


def test_endings_are_small_and_each_is_one_formats() -> None:
    endings = [ending for known in FORMATS for ending in known.endings]
    assert len(endings) == len(set(endings)) == len(EXTENSIONS)
    assert all(ending == ending.lower() for ending in endings)


def test_other_formats_of_pillow_reach_no_decoder() -> None:
    for kind in ("EPS", "ICNS", "DDS", "SGI", "PCX"):
        with pytest.raises(ImageError, match="not an image in a known format"):
            decode(encode(SMALL, kind))


class TestAlongside:
    """What several formats do alike."""

    def test_the_main_picture_is_taken(self) -> None:
        black = Image.new("RGB", (64, 64))
        mpo = encode(PICTURE, "MPO", save_all=True, append_images=[black], quality=95)
        assert np.array_equal(decode(mpo), decode(encode(PICTURE, quality=95)))
        from pillow_heif import from_pillow

        file = from_pillow(black)
        file.add_from_pillow(PICTURE)
        buffer = io.BytesIO()
        file.save(buffer, primary_index=1)
        assert decode(buffer.getvalue()).shape == (80, 96, 3)

    @pytest.mark.parametrize("bitmaps", [{}, {"bitmap_format": "bmp"}])
    def test_an_icons_largest_picture_is_taken(self, bitmaps: dict[str, str]) -> None:
        square = PICTURE.resize((64, 64))
        data = encode(square, "ICO", sizes=[(16, 16), (64, 64), (32, 32)], **bitmaps)
        assert np.array_equal(decode(data), np.asarray(square))

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
    def test_a_picture_is_upright_once(self, kind: str, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        smooth = PICTURE.resize((12, 10)).resize((96, 80), Image.Resampling.BICUBIC)
        if kind == "AVIF":
            data, plain = encode(smooth, kind, exif=exif, quality=100), encode(smooth, kind)
        else:
            data, plain = heic(smooth, exif=exif.tobytes(), quality=100), heic(smooth)
        stored = smooth.copy()
        stored.getexif()[0x0112] = orientation
        image = OpenImage(data)
        assert (image.height, image.width, 3) == image.decode().shape
        difference = image.decode().astype(int) - from_pil(stored)
        assert np.abs(difference).mean() < 8
        assert decode(plain).shape == (80, 96, 3)

    def test_ten_bits_become_eight(self) -> None:
        ramp = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
        colour = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=2)
        grey = decode(heic_of_ten_bits(ramp))
        assert np.abs(grey[..., 0].astype(int) - (ramp >> 8)).max() <= 1
        assert np.abs(decode(heic_of_ten_bits(colour)).astype(int) - (colour >> 8)).max() <= 2

    def test_files_that_state_their_bits_are_not_scaled_again(self) -> None:
        ramp = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
        twelve = b"P5 64 48 4095\n" + (ramp >> 4).astype(">u2").tobytes()
        deep = Image.fromarray(ramp)
        for data in (heic_of_ten_bits(ramp), twelve, encode(deep, "JPEG2000")):
            assert np.array_equal(decode(data, 12), decode(data))
            assert np.abs(decode(data)[..., 0].astype(int) - (ramp >> 8)).max() <= 1
            assert not OpenImage(data).unstated_depth

    @pytest.mark.parametrize("kind", ["JPEG2000", "TIFF", "TGA", "QOI", "AVIF"])
    def test_alpha_is_dropped(self, kind: str) -> None:
        clear = SMALL.copy()
        clear.putalpha(40)
        options = {"quality": 100} if kind == "AVIF" else {}
        pixels = decode(encode(clear, kind, **options))
        allowed = 40 if kind == "AVIF" else 0
        assert np.abs(pixels.astype(int) - np.asarray(SMALL)).mean() <= allowed


class TestWithoutADecoder:
    def test_heic_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(ImageError, match=r"HEIC needs pillow-heif: pip install 'fleetnet\[h"):
            decode(next(file.data for file in EVERY if file.name == "heic"))

    @pytest.mark.parametrize("name", ["avif", "webp", "jp2"])
    def test_a_codec_that_this_pillow_lacks_is_named(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setattr(formats, "_has", lambda _: False)
        with pytest.raises(ImageError, match=r"is not in this Pillow .*pip install --upgrade"):
            decode(next(file.data for file in EVERY if file.name == name))

    def test_pillow_heif_is_imported_when_there_is_such_a_file(self) -> None:
        code = (
            "import sys, fleetnet.images as images; images.decode(sys.stdin.buffer.read());"
            "print('pillow_heif' in sys.modules)"
        )
        for file in EVERY[:1] + [file for file in EVERY if file.name == "heic"]:
            done = subprocess.run(
                [sys.executable, "-c", code], input=file.data, capture_output=True, check=True
            )
            assert done.stdout.decode().strip() == str(file.name == "heic")

    def test_nothing_is_registered_with_pillow(self) -> None:
        decode(next(file.data for file in EVERY if file.name == "heic"))
        assert "HEIF" not in Image.OPEN


class TestHostile:
    def test_a_truncated_header_is_reported_in_its_own_format(self) -> None:
        with pytest.raises(ImageError, match=r"damaged image: .*JPEG"):
            decode(encode(SMALL)[:20])

    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    @pytest.mark.parametrize(
        ("name", "order"),
        [
            ("heic", ">II"),
            ("avif", ">II"),
            ("j2k", ">II"),
            ("qoi", ">II"),
            ("tga in runs", "<HH"),
            ("bmp", "<II"),
            ("ico of bitmaps", "<II"),
        ],
    )
    def test_too_many_pixels_are_refused_before_they_are_decoded(
        self, name: str, order: str
    ) -> None:
        data = next(file.data for file in EVERY if file.name == name)
        size = SMALL.size
        if name == "heic":  # which makes sides multiples of eight, and crops
            data, size = heic(PICTURE), PICTURE.size
        if name == "ico of bitmaps":  # which count the mask's rows too
            size = (size[0], 2 * size[1])
        claimed = data.replace(struct.pack(order, *size), struct.pack(order, 9_500, 20_000))
        assert claimed != data
        with pytest.raises(ImageError, match="million pixels"):
            decode(claimed)

    @pytest.mark.parametrize(
        "data",
        [
            b"qoif" + struct.pack(">IIBB", 4_000, 4_001, 3, 0) + bytes(100),
            b"P6 4000 4001 254\n" + bytes(100),
            b"P3 4000 4001 255\n" + b"1 " * 100,
        ],
    )
    def test_slow_decoders_get_fewer_pixels(self, data: bytes) -> None:
        with pytest.raises(ImageError, match="16 million pixels for a format that takes so long"):
            decode(data)

    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    def test_an_icon_may_not_hide_a_large_picture(self) -> None:
        inside = encode(Image.new("1", (12_000, 9_000)), "PNG")
        entry = struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inside), 22)
        with pytest.raises(ImageError, match="million pixels"):
            decode(struct.pack("<HHH", 0, 1, 1) + entry + inside)

    @pytest.mark.slow
    def test_a_heic_whose_stream_is_larger_than_it_says_is_refused(self) -> None:
        data = heic(Image.new("RGB", (2_000, 2_000)))
        data = data.replace(struct.pack(">II", 2_000, 2_000), struct.pack(">II", 64, 64))
        with pytest.raises(ImageError):
            decode(data)

    @pytest.mark.parametrize(
        "damage", [b"", b"\0", b"\0\0\x01\0", b"\0\0\x01\0\x01\0" + b"\0" * 16]
    )
    def test_an_icon_without_a_picture(self, damage: bytes) -> None:
        with pytest.raises(ImageError):
            decode(damage)

    @given(st.binary(max_size=400))
    def test_garbage_is_no_targa(self, data: bytes) -> None:
        """Pillow's own reader takes nearly anything for one."""
        with pytest.raises(ImageError):
            decode(b"\0" + data[:1] + data)

    @settings(max_examples=400, suppress_health_check=list(HealthCheck))
    @pytest.mark.slow
    @given(st.data())
    def test_damaged_files_decode_or_are_refused_in_one_line(self, data: st.DataObject) -> None:
        content = bytearray(data.draw(st.sampled_from(EVERY)).data)
        for _ in range(data.draw(st.integers(1, 6))):
            place = data.draw(st.integers(0, len(content) - 1))
            step = data.draw(st.sampled_from(["change", "remove", "cut"]))
            if step == "change":
                content[place] = data.draw(st.sampled_from([0, 1, 16, 127, 128, 255]))
            elif step == "remove":
                del content[place : place + data.draw(st.integers(1, 20))]
            else:
                del content[max(place, 1) :]
            if not content:
                return
        try:
            pixels = decode(bytes(content), data.draw(st.sampled_from([None, 12])))
        except ImageError as error:
            one_line(error)
        else:
            assert pixels.dtype == np.uint8
            assert pixels.shape[2:] == (3,)
            assert pixels.size <= 3 * MAX_PIXELS


@every
def test_the_header_is_read_without_decoding(file: Encoded) -> None:
    with opened(file.data) as image:
        assert image.size == SMALL.size


@pytest.mark.parametrize("mode", ["La", "PA", "RGBa", "LAB", "HSV", "YCbCr", "CMYK", "RGBX", "1"])
def test_every_mode_that_pillow_converts_is_read(mode: str) -> None:
    pixels: Pixels = from_pil(Image.new(mode, (4, 3)))
    assert pixels.shape == (3, 4, 3)
