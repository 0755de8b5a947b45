"""What callers bring to predict: the same picture in every form, and what is none."""

import array
import contextlib
import io
import mmap
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from fleetnet.errors import FleetnetError, ImageError
from fleetnet.images import decode
from fleetnet.inference import inputs
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.engines import Engine, Logits, Pixels, Precision, Setup
from fleetnet.inference.prediction import Prediction
from fleetnet.preprocess import Preprocess
from samples import draw, encode

SIDE = 8


class Seeing(Engine):
    """Gives the pixels it gets as the logits."""

    name, threads, version = "seeing", 1, "1"
    precision: Precision = "fp32"

    def run(self, pixels: Pixels) -> Logits:
        return pixels.reshape(len(pixels), -1).astype(np.float32)

    def run_all(self, batches: Any) -> Iterator[Logits]:
        yield from map(self.run, batches)

    def close(self) -> None:
        """Nothing was opened."""


def classifier(workers: int = 0) -> Classifier:
    classes = tuple(map(str, range(SIDE * SIDE * 3)))
    made = Classifier.from_engine(Seeing(), Preprocess(SIDE, SIDE), classes, batch_size=2)
    made._workers = workers
    return made


def seen(prediction: Prediction) -> Pixels:
    """Return the pixels that the network got."""
    assert prediction.logits is not None, prediction.error
    return prediction.logits.astype(np.uint8).reshape(SIDE, SIDE, 3)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("inputs") / "picture.png"
    picture = draw("circle", np.random.default_rng(0)).resize((20, 12))
    file.write_bytes(encode(picture, "PNG"))
    return file


@pytest.fixture(scope="module")
def expected(path: Path) -> Pixels:
    return Preprocess(SIDE, SIDE)(decode(path.read_bytes()))


def mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def spooled(path: Path) -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(path.read_bytes())
    file.seek(0)
    return file


def packed(path: Path) -> Any:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as pack:
        pack.write(path, "inside.png")
    return zipfile.ZipFile(path.with_suffix(".zip")).open("inside.png")


class Trickle:
    """A connection that gives a byte at a time."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def read(self, size: int) -> bytes:
        assert size >= 1
        first, self._rest = self._rest[:1], self._rest[1:]
        return first


class OfAnotherLibrary:
    """An array that is not NumPy's."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels, self.ndim = pixels, pixels.ndim

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self._pixels


def pixels_of(path: Path) -> np.ndarray:
    return decode(path.read_bytes())


FORMS: dict[str, Callable[[Path], Any]] = {
    "str": str,
    "path": lambda path: path,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "every other byte": lambda path: memoryview(bytes(np.repeat(encoded(path), 2)))[::2],
    "array": lambda path: array.array("B", path.read_bytes()),
    "mmap": mapped,
    "encoded array": lambda path: encoded(path),
    "encoded tensor": lambda path: torch.from_numpy(encoded(path).copy()),
    "file": lambda path: path.open("rb"),
    "unbuffered file": lambda path: path.open("rb", buffering=0),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "temporary file": spooled,
    "packed file": packed,
    "connection": lambda path: Trickle(path.read_bytes()),
    "Pillow": lambda path: Image.fromarray(pixels_of(path)),
    "NumPy": pixels_of,
    "memoryview of pixels": lambda path: memoryview(cast("Any", pixels_of(path))),
    "tensor, channels first": lambda path: torch.tensor(pixels_of(path)).permute(2, 0, 1),
    "tensor, channels last": lambda path: torch.tensor(pixels_of(path)),
    "of another library": lambda path: OfAnotherLibrary(pixels_of(path)),
}


def encoded(path: Path) -> np.ndarray:
    return np.frombuffer(path.read_bytes(), np.uint8)


def closing(image: Any) -> Any:
    return image if hasattr(image, "close") and not isinstance(image, str) else None


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_picture(form: str, path: Path, expected: Pixels) -> None:
    named = {"str", "path", "file", "unbuffered file"}
    with contextlib.ExitStack() as stack:

        def make() -> Any:
            image = FORMS[form](path)
            if closing(image) is not None:
                stack.callback(image.close)
            return image

        (alone,) = classifier().predict(make())
        answers = [alone, *classifier().predict([make()]), *classifier(2).predict([make()])]
    for answer in answers:
        assert np.array_equal(seen(answer), expected)
        if form in named:
            assert answer.source == str(path)
        elif form == "packed file":
            assert answer.source == "inside.png"
        else:
            assert answer.source == "image 0"


@pytest.mark.parametrize("workers", [0, 3])
def test_an_image_may_change_when_the_next_is_asked_for(
    workers: int, path: Path, expected: Pixels
) -> None:
    def reused() -> Iterator[Any]:
        buffer = bytearray(path.read_bytes())
        for form in (bytearray, memoryview, encoded_view):
            yield buffer if form is bytearray else form(buffer)
            buffer[:] = bytes(len(buffer))
            buffer[:] = path.read_bytes()
        with path.open("rb") as file:
            yield file
        with mapped(path) as mapping:
            yield mapping
        tensor = torch.tensor(pixels_of(path))
        yield tensor
        tensor.zero_()
        yield path.read_bytes()

    def encoded_view(buffer: bytearray) -> np.ndarray:
        return np.frombuffer(buffer, np.uint8)

    answers = list(classifier(workers).predict(reused()))
    assert len(answers) == 7
    for answer in answers:
        assert np.array_equal(seen(answer), expected)


@given(
    arrays(
        np.uint8,
        st.one_of(
            st.tuples(st.just(3), st.integers(1, 12), st.integers(1, 12)),
            st.tuples(st.just(1), st.integers(1, 12), st.integers(1, 12)),
            st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3)),
            st.tuples(st.integers(1, 12), st.integers(1, 12)),
            st.tuples(st.integers(1, 5), st.integers(1, 12), st.integers(1, 5)),
        ),
    )
)
@settings(max_examples=150)
def test_a_tensor_is_a_picture_one_way_or_is_refused(values: np.ndarray) -> None:
    """Shapes that can be read two ways are not guessed at."""
    shape = values.shape
    first = len(shape) == 3 and shape[0] in (1, 3)
    last = len(shape) == 3 and shape[2] == 3
    (answer,) = classifier().predict(torch.from_numpy(values))
    if first and last:
        assert "may have its channels first or last" in str(answer.error)
    elif len(shape) == 3 and not first and not last:
        assert "must be 3×height×width or height×width×3" in str(answer.error)
    else:
        whole = values.transpose(1, 2, 0) if first else values
        if whole.ndim == 2 or whole.shape[2] == 1:
            whole = np.repeat(whole.reshape(*whole.shape[:2], 1), 3, axis=2)
        assert np.array_equal(seen(answer), Preprocess(SIDE, SIDE)(whole))


def test_a_batch_is_many_images(path: Path, expected: Pixels) -> None:
    pixels = pixels_of(path)
    first = torch.tensor(pixels).permute(2, 0, 1)
    for batch in (np.stack([pixels] * 3), torch.stack([first] * 3), torch.tensor(pixels)[None]):
        answers = list(classifier().predict(batch))
        assert len(answers) == len(batch)
        assert all(np.array_equal(seen(answer), expected) for answer in answers)
    names = np.array([str(path)] * 2)
    for many in (names, names.astype(object), {str(path)}, iter([path]), (path,)):
        assert all(answer.source == str(path) for answer in classifier().predict(many))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.zeros(3, 9, 9), "must be uint8, from 0 to 255, this one is float32"),
        (torch.zeros(4, 9, 9, dtype=torch.uint8), "this one is 4×9×9"),
        (torch.zeros(2, 3, 9, 9, dtype=torch.uint8, device="meta")[0], "meta"),
        (np.zeros((9, 9, 3), np.float32), "must be uint8 or uint16, this one is float32"),
        (np.zeros(9, np.int64), "must be uint8 or uint16, this one is int64"),
        (memoryview(array.array("i", [1, 2])), "must be uint8 or uint16, this one is int32"),
        (io.BytesIO(), "the file is empty, or was read to its end before"),
        (bytearray(b"no image"), "not an image in a known format"),
        ("no\0name", "embedded null byte"),
        ("nowhere.jpg", "No such file or directory"),
    ],
)
def test_an_image_that_cannot_be_read_gets_its_error(image: Any, words: str, path: Path) -> None:
    first, second, third = classifier().predict([path, image, path])
    assert (first.ok, second.ok, third.ok) == (True, False, True)
    assert second.error is not None
    assert words in second.error
    assert "\n" not in second.error
    with pytest.raises(ImageError):
        _ = second.label


def test_a_closed_image_gets_its_error(path: Path) -> None:
    file, view, mapping = path.open("rb"), memoryview(b"abc"), mapped(path)
    file.close()
    view.release()
    mapping.close()
    errors = [answer.error for answer in classifier().predict([file, view, mapping])]
    assert all(error and "\n" not in error for error in errors), errors
    for one in (file, view, mapping):
        (answer,) = classifier().predict(one)
        assert not answer.ok


class Endless:
    """A file without end, which counts what is read of it."""

    def __init__(self) -> None:
        self.read_so_far = 0

    def read(self, size: int) -> bytes:
        self.read_so_far += size
        return bytes(size)


def test_no_more_is_read_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_BYTES", 3 * inputs.PIECE + 7)
    file = Endless()
    for image in (file, bytearray(3 * inputs.PIECE + 8), np.zeros(3 * inputs.PIECE + 8, np.uint8)):
        (answer,) = classifier().predict(image)
        assert answer.error == "the file is larger than 3 MiB"
    assert file.read_so_far == 3 * inputs.PIECE + 8


class Nothing:
    """No image."""


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (None, "None"),
        (3, "'int'"),
        (2.5, "'float'"),
        (np.int64(3), "'numpy.int64'"),
        (np.array(3), "'numpy.ndarray'"),
        (torch.tensor(3), "'torch.Tensor'"),
        ({"image": b""}, "'dict'"),
        (Nothing(), "Nothing'"),
        (Nothing, "'type'"),
    ],
)
def test_an_object_that_is_no_image_is_named(
    thing: Any, name: str, workers: int, path: Path
) -> None:
    with pytest.raises(FleetnetError, match="is no image: predict takes a path") as alone:
        next(classifier(workers).predict(thing))
    answers = classifier(workers).predict(each for each in (path, path, path, thing, path))
    assert [next(answers).ok for _ in range(3)] == [True] * 3
    with pytest.raises(FleetnetError) as among:
        next(answers)
    for error in (alone, among):
        assert name in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("thing", [[], [b""], (1, 2), iter([]), range(3)])
def test_iterables_within_iterables_are_no_images(thing: Any) -> None:
    with pytest.raises(FleetnetError, match=f"'{type(thing).__name__}' is no image"):
        next(classifier().predict([thing]))


def test_text_is_no_image(path: Path) -> None:
    class Named(io.StringIO):
        def read(self, size: int | None = -1, /) -> str:
            raise AssertionError

    class Given:
        def read(self, size: int) -> str:
            return "text"

    for text in (Named("text"), io.TextIOWrapper(io.BytesIO(path.read_bytes()), "latin-1")):
        with pytest.raises(FleetnetError, match=r"is open as text: open it in binary mode, 'rb'"):
            next(classifier().predict(text))
    with (
        path.open(encoding="latin-1") as file,
        pytest.raises(FleetnetError, match=r"picture\.png is open as text"),
    ):
        next(classifier().predict(file))
    with pytest.raises(FleetnetError, match="gives no bytes but 'str'"):
        next(classifier().predict(cast("Any", [Given()])))

    class Later:
        async def read(self, size: int) -> bytes:
            return b""

    with pytest.raises(FleetnetError, match="gives no bytes but 'coroutine'"):
        next(classifier().predict(cast("Any", [Later()])))


def test_pytorch_is_not_loaded_to_know_a_tensor(path: Path) -> None:
    code = f"""
import sys
from fleetnet.inference.inputs import is_one, take
for image in ({str(path)!r}, b"a", bytearray(b"a"), open({str(path)!r}, "rb")):
    assert is_one(image)
    take(image)
assert not is_one([b"a"])
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("kind", [np.str_, np.bytes_])
def test_a_numpy_text_is_one_image(kind: Any, path: Path, expected: Pixels) -> None:
    """It has dimensions and can be gone through, a letter at a time."""
    (answer,) = classifier().predict(kind(path.read_bytes() if kind is np.bytes_ else str(path)))
    assert np.array_equal(seen(answer), expected)


def test_an_empty_name_is_no_folder() -> None:
    with classifier() as made:
        (prediction,) = made.predict("")
    assert prediction.error is not None
    assert "an empty name" in prediction.error


@pytest.mark.parametrize("order", "<>=")
def test_16_bits_in_either_order(order: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**16, (SIDE, SIDE, 3)).astype(np.uint16)
    with classifier() as made:
        (expected,), (found,) = made.predict(pixels), made.predict(pixels.astype(f"{order}u2"))
    assert found.error is None
    assert found.top == expected.top


def test_numbers_must_be_whole() -> None:
    engine = Seeing()
    with pytest.raises(FleetnetError, match=r"batch size is 2\.5; it must be a whole number"):
        Classifier.from_engine(engine, Preprocess(8, 8), ("a",), batch_size=cast("int", 2.5))
    with pytest.raises(FleetnetError, match=r"top_k is 1\.5; it must be a whole number"):
        next(classifier().predict("a.jpg", top_k=cast("int", 1.5)))
    with pytest.raises(FleetnetError, match=r"threads is 1\.5; it must be a whole number"):
        Setup(threads=cast("int", 1.5))
