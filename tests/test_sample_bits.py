"""Samples of 16 bits that use fewer are scaled on every road to pixels."""

import io
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.data.augment import Augment
from fleetnet.data.facts import examine
from fleetnet.data.loader import Loader
from fleetnet.data.preview import preview
from fleetnet.data.sources import open_source
from fleetnet.errors import FleetnetError, ImageError
from fleetnet.evaluation.thumbnails import data_uri, thumbnails
from fleetnet.export.bundle import export_bundle
from fleetnet.export.quantize.samples import draw_samples
from fleetnet.images import OpenImage, decode, from_array, from_pil
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.inputs import ImageLike
from fleetnet.inference.prefetch import Ready, make_ready
from fleetnet.inference.verify import prepare
from fleetnet.preprocess import Preprocess
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.recipe import Recipe
from fleetnet.training.trainer import Trainer, train
from samples import CLASSES, TINY, draw, encode

Samples = npt.NDArray[np.uint16]
BITS = 12
PLAIN = Preprocess(72, 64)
SCALED = Preprocess(72, 64, sample_bits=BITS)


def twelve_bits(shape: tuple[int, ...], seed: int = 0) -> Samples:
    samples = np.random.default_rng(seed).integers(0, 4096, shape).astype(np.uint16)
    samples.flat[0] = 4095
    return samples


def grey(samples: Samples, kind: str = "PNG") -> bytes:
    return encode(Image.fromarray(samples), kind)


def upper(samples: Samples) -> npt.NDArray[np.uint8]:
    return (samples >> 4).astype(np.uint8)


@given(st.integers(8, 16), st.integers(0, 65535))
def test_the_upper_eight_of_the_bits_are_kept_and_more_is_the_brightest(
    bits: int, value: int
) -> None:
    array = np.full((2, 2), value, np.uint16)
    expected = min(value // 2 ** (bits - 8), 255)
    assert (from_array(array, bits) == expected).all()
    assert (from_array(array) == value >> 8).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey(kind: str) -> None:
    samples = twelve_bits((40, 50))
    data = grey(samples, kind)
    assert OpenImage(data).unstated_depth
    assert np.array_equal(decode(data, BITS)[..., 2], upper(samples))
    assert np.array_equal(decode(data)[..., 2], samples >> 8)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(from_pil(image, BITS)[..., 2], upper(samples))


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    ("ending", "options"),
    [
        (".png", ()),
        (".tiff", (cv2.IMWRITE_TIFF_COMPRESSION, 1)),
        (".tiff", (cv2.IMWRITE_TIFF_COMPRESSION, 1, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 7)),
        (".tiff", (cv2.IMWRITE_TIFF_COMPRESSION, 5)),
        (".tiff", (cv2.IMWRITE_TIFF_COMPRESSION, 8)),
    ],
)
def test_colour(ending: str, options: tuple[int, ...], channels: int) -> None:
    samples = twelve_bits((40, 50, channels))
    data = bytes(cv2.imencode(ending, samples, options)[1])
    assert np.array_equal(decode(data, BITS), upper(samples[..., 2::-1]))
    assert np.array_equal(decode(data), samples[..., 2::-1] >> 8)
    with Image.open(io.BytesIO(data)) as image, pytest.raises(ImageError, match="give its file"):
        from_pil(image, BITS)


def test_colour_is_turned_upright() -> None:
    samples = twelve_bits((40, 50, 3))
    data = bytes(cv2.imencode(".png", samples)[1])
    exif = Image.Exif()
    exif[0x0112] = 6
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = b"eXIf" + block
    eight = struct.pack(">I", len(block)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    turned = data[:33] + eight + data[33:]
    expected = np.rot90(upper(samples[..., ::-1]), -1)
    assert np.array_equal(decode(turned, BITS), expected)


def test_grey_with_alpha() -> None:
    samples = twelve_bits((40, 50))
    rows = np.stack([samples, np.full_like(samples, 9)], axis=2).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    data = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", 50, 40, 16, 4, 0, 0, 0)
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")):
        data += struct.pack(">I", len(content)) + name + content
        data += struct.pack(">I", zlib.crc32(name + content))
    assert np.array_equal(decode(data, BITS)[..., 0], upper(samples))
    assert np.array_equal(decode(data)[..., 0], samples >> 8)


def test_a_tiff_that_says_twelve_bits_is_scaled_by_itself() -> None:
    samples = twelve_bits((4, 6))
    first, second = samples[:, ::2].astype(int), samples[:, 1::2].astype(int)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=2)
    strip = packed.astype(np.uint8).tobytes()
    tags = [(256, 6), (257, 4), (258, BITS), (259, 1), (262, 1), (273, 8), (277, 1), (278, 4)]
    tags.append((279, len(strip)))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    data = struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip
    data += struct.pack("<H", len(tags)) + entries + bytes(4)
    for bits in (None, 10, BITS):
        assert np.array_equal(decode(data, bits)[..., 0], upper(samples))
    assert not OpenImage(data).unstated_depth


def test_layouts_that_cannot_be_scaled_are_refused() -> None:
    values = [struct.pack("<HHII", 258, 3, 4, 200)]
    tags = {256: 5, 257: 4, 259: 1, 262: 5, 273: 300, 277: 4, 278: 4, 279: 160}
    values += [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    values.sort(key=lambda entry: int.from_bytes(entry[:2], "little"))
    data = struct.pack("<2sHIH", b"II", 42, 8, len(values)) + b"".join(values) + bytes(4)
    data = data.ljust(200, b"\0") + struct.pack("<4H", 16, 16, 16, 16)
    data = data.ljust(300, b"\0") + bytes(160)
    assert decode(data).shape == (4, 5, 3)
    with pytest.raises(ImageError, match="does not work for samples stored as CMYK;16L"):
        decode(data, BITS)


def test_sixteen_bits_for_all_three_colours_are_left_alone() -> None:
    """As some BMP files have them: five for red, six for green and five for blue."""
    header = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    header += struct.pack("<3I", 0xF800, 0x07E0, 0x001F)
    data = struct.pack("<2sIHHI", b"BM", 70, 0, 0, 66) + header + struct.pack("<2H", 0xF800, 0x07E0)
    assert decode(data, BITS).tolist() == [[[255, 0, 0], [0, 255, 0]]]


def test_eight_bits_are_left_alone() -> None:
    picture = draw("circle", np.random.default_rng(0))
    for kind in ("PNG", "JPEG", "TIFF"):
        data = encode(picture, kind)
        assert np.array_equal(decode(data, BITS), decode(data))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shapes of 12 bits in PNG files, some of them in colour."""
    root = tmp_path_factory.mktemp("deep") / "shapes"
    rng = np.random.default_rng(7)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for number in range(20):
            pixels = np.asarray(draw(name, rng)).astype(np.uint16) * np.uint16(16)
            if number % 4:
                data = grey(pixels[..., 1])
            else:
                data = bytes(cv2.imencode(".png", pixels[..., ::-1])[1])
            (root / name / f"{number:03d}.png").write_bytes(data)
    return root


def pixels_of(images: Iterable[Ready]) -> npt.NDArray[np.uint8]:
    return np.stack([image.pixels for image in images if image.pixels is not None])


def test_every_way_of_reading_scales(folder: Path) -> None:
    files = sorted(folder.glob("*/*.png"))
    source = open_source(str(folder))
    wanted = np.stack([SCALED(decode(file.read_bytes(), BITS)) for file in files])
    dark = np.stack([PLAIN(decode(file.read_bytes())) for file in files])
    assert wanted.mean() > 10 * dark.mean()
    for preprocess, expected in ((SCALED, wanted), (PLAIN, dark)):
        loader = Loader(source, np.arange(len(files)), preprocess, batch_size=60, workers=0)
        assert np.array_equal(next(iter(loader.batches(1))).pixels.numpy(), expected)
        assert np.array_equal(prepare(files, preprocess), expected)
        drawn = draw_samples(map(str, files), preprocess, 20, 40)
        seen = np.concatenate([drawn.calibration, drawn.validation])
        assert {row.tobytes() for row in seen} == {row.tobytes() for row in expected}
        ready = make_ready(files, preprocess, exact=False, workers=2, ahead=4)
        assert np.array_equal(pixels_of(ready), expected)
        (thumbnail,) = thumbnails(source, preprocess, [(5, 0)])
        assert thumbnail.image == data_uri(expected[5])
    bits = np.stack([np.asarray(Image.open(file)) for file in files if "001" in file.name])
    arrays = make_ready(bits, SCALED, exact=False, workers=0, ahead=0)
    assert np.array_equal(pixels_of(arrays), wanted[1::20])


def test_augmentation_and_its_preview_scale(folder: Path) -> None:
    data = (folder / "circle" / "001.png").read_bytes()
    bright, dark = (
        Augment(preprocess, min_scale=1).from_bytes(data, np.random.default_rng(0))
        for preprocess in (SCALED, PLAIN)
    )
    assert np.array_equal(
        bright, Augment(SCALED, min_scale=1)(decode(data, BITS), np.random.default_rng(0))
    )
    assert bright.mean() > 10 * dark.mean()
    source = open_source(str(folder))
    shown = [np.asarray(preview(source, [1], Augment(p), variants=1)) for p in (SCALED, PLAIN)]
    assert shown[0][:, :590].mean() > shown[1][:, :590].mean()


def test_the_check_of_data_scales(folder: Path) -> None:
    data = (folder / "circle" / "001.png").read_bytes()
    facts = examine(data, thumbnail=True)
    told = examine(data, thumbnail=True, sample_bits=BITS)
    assert (facts.used_bits, told.used_bits) == (12, None)
    assert facts.thumbnail is not None
    assert told.thumbnail is not None
    assert decode(told.thumbnail).mean() > 10 * decode(facts.thumbnail).mean()


@pytest.mark.slow
def test_sample_bits_go_from_training_to_prediction(folder: Path, tmp_path: Path) -> None:
    recipe = Recipe.load(overrides=[*TINY, "epochs=1", f"input.sample_bits={BITS}"])
    assert Recipe.from_values(recipe.model_dump(), "itself") == recipe
    train(open_source(str(folder)), "mobilenetv2_x0_25", recipe, tmp_path / "run")
    checkpoint = Checkpoint.load(tmp_path / "run" / "last.ckpt")
    assert checkpoint.preprocess == SCALED
    plain = Recipe.load(overrides=[*TINY, "epochs=1"])
    weights = tmp_path / "run" / "last.ckpt"
    source = open_source(str(folder))
    other = Trainer(source, "mobilenetv2_x0_25", plain, tmp_path / "other", weights=weights)
    assert any("set input.sample_bits=12" in note for note in other.notes)
    same = Trainer(source, "mobilenetv2_x0_25", recipe, tmp_path / "other", weights=weights)
    assert not any("set input.sample_bits" in note for note in same.notes)
    bundle = export_bundle(tmp_path / "run" / "last.ckpt", tmp_path / "deep.bundle")
    assert Bundle.load(bundle.path).manifest.preprocess == SCALED
    assert Bundle.load(bundle.path / "model.onnx").manifest.preprocess == SCALED
    file = folder / "circle" / "001.png"
    classifier = Classifier(bundle.path)
    with Image.open(file) as image:
        samples = np.asarray(image)
        forms: list[ImageLike] = [file, file.read_bytes(), image, samples, upper(samples)]
        answers = list(classifier.predict(forms))
    assert len({answer.top for answer in answers}) == 1
    pixels = SCALED(decode(file.read_bytes(), BITS))
    assert answers[0].logits is not None
    assert np.array_equal(answers[0].logits, classifier.engine.run(pixels[None])[0])


def test_the_command_line(fleetnet: Run, folder: Path, tmp_path: Path) -> None:
    told = fleetnet("data", "check", folder, "--no-sheets")
    assert told.code == 1
    assert "60 images of 16 bits use 12 bits only (no sample above 4095)" in told.out
    assert "--set input.sample_bits=12" in " ".join(told.out.split())
    assert fleetnet("data", "check", folder, "--no-sheets", "--sample-bits", "12").code == 0
    output = ("--output", tmp_path / "preview.png")
    done = fleetnet("data", "preview", folder, "--set", "input.sample_bits=12", *output)
    assert done.code == 0
    wrong = fleetnet("data", "preview", folder, "--set", "input.sample_bits=4", *output)
    wrong.assert_one_line("input.sample_bits is 4", "8 to 16")


def test_an_older_host_refuses_the_bundle() -> None:
    values = SCALED.to_json()
    values["another_field"] = values.pop("sample_bits")
    with pytest.raises(FleetnetError, match="unknown preprocess field"):
        Preprocess.from_json(values)
