import itertools
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from fleetnet.bundle import Bundle, Calibration
from fleetnet.errors import BundleError, FleetnetError, ImageError
from fleetnet.images import decode
from fleetnet.inference.classifier import Classifier, ImageLike
from fleetnet.inference.engines import Engine, Mode, Precision, precisions
from fleetnet.inference.probabilities import sigmoid, softmax
from fleetnet.preprocess import Preprocess

ENGINES = ("openvino", "onnxruntime", "torch")


@pytest.fixture(scope="module")
def classifier(bundle: Bundle) -> Classifier:
    return Classifier(bundle.path)


def test_paths_bytes_pictures_and_arrays_get_the_same_answer(
    classifier: Classifier, shapes: Path
) -> None:
    path = shapes / "circle" / "003.png"
    with Image.open(path) as picture:
        forms: list[ImageLike] = [
            str(path),
            path,
            path.read_bytes(),
            picture,
            decode(path.read_bytes()),
        ]
        answers = list(classifier.predict(forms))
    assert len({answer.top for answer in answers}) == 1
    assert [answer.source for answer in answers] == [
        str(path),
        str(path),
        "image 2",
        "image 3",
        "image 4",
    ]


def test_one_image_need_not_be_in_a_list(classifier: Classifier, shapes: Path) -> None:
    path = shapes / "circle" / "003.png"
    for form in (path, str(path), path.read_bytes(), decode(path.read_bytes())):
        (answer,) = classifier.predict(form)
        assert answer.ok


def test_top_is_sorted_and_complete(classifier: Classifier, shapes: Path) -> None:
    (answer,) = classifier.predict(shapes / "square" / "000.jpg", top_k=5)
    probabilities = [score.probability for score in answer.top]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1.0)
    assert {score.label for score in answer.top} == {"circle", "square", "stripes"}
    assert all(classifier.classes[score.index] == score.label for score in answer.top)
    assert (answer.label, answer.probability) == (answer.top[0].label, answer.top[0].probability)
    (best,) = classifier.predict(shapes / "square" / "000.jpg", top_k=1)
    assert best.top == answer.top[:1]


def test_a_bad_image_gets_an_error_and_the_others_their_answers(
    bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"bad")
    good = sorted((shapes / "circle").iterdir())[:4]
    mixed: list[ImageLike] = [
        good[0],
        tmp_path / "bad.jpg",
        good[1],
        tmp_path / "none.jpg",
        b"",
        *good[2:],
    ]
    answers = list(Classifier(bundle, batch_size=3).predict(mixed))
    assert [answer.ok for answer in answers] == [True, False, True, False, False, True, True]
    alone = list(Classifier(bundle).predict(good))
    assert [answer.label for answer in answers if answer.ok] == [a.label for a in alone]
    assert answers[3].error == "No such file or directory"
    with pytest.raises(ImageError, match=r"bad\.jpg: not an image"):
        _ = answers[1].label


def test_prediction_is_lazy_and_in_order(bundle: Bundle, shapes: Path) -> None:
    taken: list[int] = []
    path = shapes / "circle" / "000.jpg"

    def endless() -> Iterator[bytes]:
        for number in itertools.count():
            taken.append(number)
            yield path.read_bytes()

    answers = Classifier(bundle, batch_size=2).predict(endless())
    first = [next(answers) for _ in range(5)]
    assert [answer.source for answer in first] == [f"image {number}" for number in range(5)]
    assert len(taken) <= 6


@pytest.mark.parametrize(
    "batch_size",
    [pytest.param(2, marks=pytest.mark.slow), 5, pytest.param(64, marks=pytest.mark.slow)],
)
def test_the_batch_size_changes_no_answer(bundle: Bundle, shapes: Path, batch_size: int) -> None:
    paths = sorted(shapes.glob("*/*"))
    expected = Classifier(bundle).predict(paths)
    answers = Classifier(bundle, batch_size=batch_size).predict(paths)
    for one, other in zip(expected, answers, strict=True):
        assert one.logits is not None
        assert other.logits is not None
        assert np.allclose(one.logits, other.logits, atol=1e-4)


class Sizes(Engine):
    """An engine that notes how many images it got at once."""

    name, threads, version = "sizes", 1, "1"
    precision: Precision = "fp32"

    def __init__(self) -> None:
        self.seen: list[int] = []

    def run(self, pixels: np.ndarray) -> np.ndarray:
        self.seen.append(len(pixels))
        return np.stack([pixels[:, 0, 0, 0], pixels[:, 0, 0, 1]], axis=1).astype(np.float32)

    def run_all(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        yield from map(self.run, batches)

    def close(self) -> None:
        """Nothing was opened."""


@pytest.mark.parametrize(("count", "sizes"), [(2, [2]), (4, [4]), (6, [4, 4]), (9, [4, 4, 4])])
def test_no_size_of_a_batch_is_compiled_for_the_rest(count: int, sizes: list[int]) -> None:
    engine = Sizes()
    made = Classifier.from_engine(engine, Preprocess(8, 8), ("a", "b"), batch_size=4)
    images = [np.full((8, 8, 3), (number, 255, 0), np.uint8) for number in range(count)]
    answers = list(made.predict(images))
    assert [answer.logits[0] for answer in answers if answer.logits is not None] == [*range(count)]
    assert [answer.source for answer in answers] == [f"image {number}" for number in range(count)]
    assert engine.seen == sizes


@pytest.mark.parametrize(
    ("engine", "mode", "batch"),
    [
        ("openvino", "latency", 1),
        ("openvino", "throughput", 1),
        ("torch", "latency", 1),
        ("torch", "throughput", 8),
    ],
)
def test_the_usual_batch(bundle: Bundle, engine: str, mode: Mode, batch: int) -> None:
    assert Classifier(bundle, engine=engine, mode=mode).batch_size == batch
    assert Classifier(bundle, engine=engine, mode=mode, batch_size=3).batch_size == 3


@pytest.mark.slow
def test_fewer_bits_than_fp32_have_several_images_a_batch(bundle: Bundle) -> None:
    for engine in ("openvino", "torch"):
        for precision in precisions(engine, bundle)[1:]:
            made = Classifier(bundle, engine=engine, precision=precision, mode="throughput")
            assert made.batch_size > 1
            assert Classifier(bundle, engine=engine, precision=precision).batch_size == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree_on_files(bundle: Bundle, shapes: Path, engine: str) -> None:
    paths = sorted(shapes.glob("*/*"))
    expected = list(Classifier(bundle, engine="torch").predict(paths))
    answers = list(Classifier(bundle, engine=engine, threads=1).predict(paths))
    for one, other in zip(expected, answers, strict=True):
        assert one.label == other.label
        assert one.probability == pytest.approx(other.probability, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree_on_photographs(bundle: Bundle, photos: list[Path], engine: str) -> None:
    expected = Classifier(bundle, engine="torch").predict(photos)
    answers = Classifier(bundle, engine=engine).predict(photos)
    for one, other in zip(expected, answers, strict=True):
        assert one.label == other.label
        assert one.probability == pytest.approx(other.probability, abs=1e-4)


def test_the_onnx_file_alone_predicts(bundle: Bundle, shapes: Path) -> None:
    path = shapes / "circle" / "000.jpg"
    (alone,) = Classifier(bundle.file(format="onnx")).predict(path)
    (whole,) = Classifier(bundle).predict(path)
    assert alone == whole


def test_the_self_test_answers_are_those_of_the_network(bundle: Bundle) -> None:
    recorded = bundle.manifest.self_test
    assert recorded is not None
    logits = Classifier(bundle, engine="torch").engine.run(recorded.pixels(64))
    assert np.allclose(logits, np.array(recorded.logits), atol=1e-4)


def test_wrong_arguments_are_named(bundle: Bundle, classifier: Classifier) -> None:
    with pytest.raises(FleetnetError, match="did you mean 'openvino'"):
        Classifier(bundle, engine="openvno")
    with pytest.raises(FleetnetError, match="threads"):
        Classifier(bundle, threads=0)
    with pytest.raises(FleetnetError, match="batch size"):
        Classifier(bundle, batch_size=0)
    with pytest.raises(FleetnetError, match="top_k"):
        next(classifier.predict(b"", top_k=0))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_graph_that_is_none_is_refused(
    bundle: Bundle, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = bundle.content(format="onnx")._replace(data=b"not a graph")
    monkeypatch.setattr(Bundle, "contents_of", lambda *_: (broken,))
    with pytest.raises(BundleError, match="cannot read") as error:
        Classifier(bundle, engine=engine)
    assert "\n" not in str(error.value)


@given(arrays(np.float32, (3, 4), elements=st.floats(-1e4, 1e4, width=32)))
def test_softmax_is_a_distribution_in_the_order_of_the_logits(
    logits: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    probabilities = softmax(logits)
    assert np.all(probabilities >= 0)
    assert np.allclose(probabilities.sum(1), 1, atol=1e-6)
    assert np.all(
        probabilities.max(1)
        == np.take_along_axis(probabilities, logits.argmax(1)[:, None], 1)[:, 0]
    )


@pytest.mark.slow
def test_a_process_outlives_its_classifiers(bundle: Bundle) -> None:
    """A child's end interrupts the process with a signal, for which its stack must be sound."""
    code = f"""
import faulthandler, gc, signal, subprocess
import numpy as np
from fleetnet import Classifier
faulthandler.enable()
signal.signal(signal.SIGCHLD, lambda *_: None)
classifiers = []
for _ in range(2):
    classifiers.append(Classifier({str(bundle.path)!r}))
    classifiers[-1].engine.run(np.zeros((1, 64, 64, 3), np.uint8))
while classifiers:
    del classifiers[0]
    gc.collect()
    subprocess.run(["true"], check=True)
"""
    finished = subprocess.run([sys.executable, "-c", code], check=False)
    assert finished.returncode == 0


class Fixed(Engine):
    """An engine that always gives the same logits."""

    name, threads, version = "fixed", 1, "1"
    precision: Precision = "fp32"

    def run(self, pixels: np.ndarray) -> np.ndarray:
        return np.tile(np.array([2.0, -1.0, 0.5], np.float32), (len(pixels), 1))

    def run_all(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        yield from map(self.run, batches)

    def close(self) -> None:
        """Nothing was opened."""


def test_sigmoids_give_each_class_a_probability_of_its_own() -> None:
    preprocess = Preprocess(resize=8, crop=8)
    classifier = Classifier.from_engine(Fixed(), preprocess, ("a", "b", "c"), activation="sigmoid")
    (answer,) = classifier.predict(np.zeros((8, 8, 3), np.uint8))
    assert [score.label for score in answer.top] == ["a", "c", "b"]
    expected = [1 / (1 + np.exp(-logit)) for logit in (2.0, 0.5, -1.0)]
    assert [score.probability for score in answer.top] == pytest.approx(expected)
    huge = sigmoid(np.array([-1e4, 0.0, 1e4]))
    assert huge.tolist() == [0.0, 0.5, 1.0]


def test_a_temperature_changes_probabilities_but_not_logits(bundle: Bundle, shapes: Path) -> None:
    calibration = Calibration(
        temperature=4.0, images=9, ece_before=0.2, ece_after=0.1, source="held-out images"
    )
    manifest = bundle.manifest.model_copy(update={"calibration": calibration})
    (raw,) = Classifier(bundle).predict(shapes / "circle" / "000.jpg")
    (scaled,) = Classifier(Bundle(bundle.path, manifest)).predict(shapes / "circle" / "000.jpg")
    assert raw.logits is not None
    assert scaled.logits is not None
    assert np.array_equal(raw.logits, scaled.logits)
    expected = softmax(raw.logits / 4)
    assert [s.probability for s in scaled.top] == pytest.approx(sorted(expected, reverse=True))
