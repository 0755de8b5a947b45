"""A bundle's threshold below which an answer does not count, and who honours it."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from conftest import Run
from fleetnet import Classifier
from fleetnet.bundle import (
    MANIFEST,
    ONNX_METADATA_KEY,
    Bundle,
    Rejection,
    onnx_metadata,
    with_onnx_metadata,
    write_rejection,
)
from fleetnet.bundle.manifest import Manifest
from fleetnet.errors import BundleError, FleetnetError
from fleetnet.inference.certainty import SCORES, certainty, is_rejected


def rejection(threshold: float, score: str = "max-logit") -> Rejection:
    return Rejection.model_validate(
        {
            "score": score,
            "threshold": threshold,
            "coverage": 0.9,
            "risk": 0.05,
            "images": 40,
            "source": "held-out images of shapes",
        }
    )


@pytest.fixture
def pictures(shapes: Path) -> list[Path]:
    return sorted(shapes.rglob("*.png"))[:12]


def halfway(scores: list[float]) -> float:
    """Return a threshold between two images' scores, away from both."""
    ordered = sorted(scores)
    gap = int(np.argmax(np.diff(ordered)))
    return (ordered[gap] + ordered[gap + 1]) / 2


@pytest.fixture
def rejecting(bundle: Bundle, tmp_path: Path, pictures: list[Path]) -> Bundle:
    """The bundle with a threshold that some of the pictures are below."""
    with Classifier(bundle) as classifier:
        largest = [float(one.logits.max()) for one in classifier.predict(pictures)]  # type: ignore[union-attr]
    return write_rejection(bundle, rejection(halfway(largest)), tmp_path / "rejecting.bundle")


LOGITS = np.array([[1.0, 3.0, -2.0], [0.0, 0.0, 0.0], [1000.0, -1000.0, 5.0]], np.float32)


def test_scores_are_what_they_are_called() -> None:
    powers = np.exp(LOGITS[:2].astype(np.float64))
    assert certainty(LOGITS[:2], "energy") == pytest.approx(np.log(powers.sum(1)), rel=1e-6)
    assert certainty(LOGITS, "energy")[2] == 1000
    assert certainty(LOGITS, "max-logit").tolist() == [3, 0, 1000]
    cooled = np.exp(LOGITS[:2].astype(np.float64) / 2)
    expected = (cooled / cooled.sum(1, keepdims=True)).max(1)
    assert certainty(LOGITS[:2], "probability", 2.0) == pytest.approx(expected, rel=1e-6)
    assert certainty(LOGITS, "energy", 2.0).tolist() == certainty(LOGITS, "energy").tolist()


@pytest.mark.parametrize("score", SCORES)
def test_what_is_no_number_is_rejected(score: str) -> None:
    logits = np.array([np.nan, 1.0, 2.0], np.float32)
    assert is_rejected(float(certainty(logits, score)), -1e30)  # type: ignore[arg-type]
    assert not is_rejected(1.0, 1.0)
    assert is_rejected(float(np.nextafter(1.0, 0.0)), 1.0)


def test_infinite_logits_have_an_energy() -> None:
    assert certainty(np.array([np.inf, 1.0], np.float32), "energy") == np.inf
    assert certainty(np.array([-np.inf, -np.inf], np.float32), "energy") == -np.inf


def test_the_threshold_is_honoured_unless_it_is_refused(
    rejecting: Bundle, bundle: Bundle, pictures: list[Path]
) -> None:
    assert rejecting.manifest.rejection is not None
    threshold = rejecting.manifest.rejection.threshold
    with Classifier(bundle) as plain:
        answers = list(plain.predict(pictures))
        assert {(one.rejected, one.score) for one in answers} == {(False, None)}
    with Classifier(rejecting) as classifier:
        for one, other in zip(classifier.predict(pictures), answers, strict=True):
            assert one.top == other.top
            assert one.logits is not None
            assert one.score == one.logits.max()
            assert one.rejected == bool(one.logits.max() < threshold)
    with Classifier(rejecting, reject=False) as classifier:
        assert list(classifier.predict(pictures)) == answers
    with Classifier(rejecting, reject=1e6) as classifier:
        assert all(one.rejected for one in classifier.predict(pictures))
    with Classifier(rejecting) as classifier:
        (damaged,) = classifier.predict(b"no image")
        assert (damaged.ok, damaged.rejected, damaged.score) == (False, False, None)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "torch"])
def test_every_engine_decides_alike(rejecting: Bundle, pictures: list[Path], engine: str) -> None:
    with Classifier(rejecting) as reference, Classifier(rejecting, engine=engine) as other:
        expected = list(reference.predict(pictures))
        assert {one.rejected for one in expected} == {True, False}
        for one, same in zip(other.predict(pictures), expected, strict=True):
            assert one.score == pytest.approx(same.score, abs=1e-4)
            assert one.rejected == same.rejected


@pytest.mark.parametrize("reject", ["high", float("nan"), None])
def test_a_threshold_that_is_none_is_refused(rejecting: Bundle, reject: object) -> None:
    with pytest.raises(FleetnetError, match="must be True, False or a threshold"):
        Classifier(rejecting, reject=reject)  # type: ignore[arg-type]


def test_a_threshold_of_nothing_is_refused(bundle: Bundle) -> None:
    with pytest.raises(FleetnetError, match="has no rejection"):
        Classifier(bundle, reject=0.5)


def test_a_lone_onnx_file_rejects_too(rejecting: Bundle, pictures: list[Path]) -> None:
    lone = Bundle.load(rejecting.path / "model.onnx")
    assert lone.manifest.rejection == rejecting.manifest.rejection
    with Classifier(rejecting) as whole, Classifier(lone) as classifier:
        pairs = zip(whole.predict(pictures), classifier.predict(pictures), strict=True)
        assert all((a.rejected, a.score) == (b.rejected, b.score) for a, b in pairs)


def test_the_graph_is_the_same_but_for_its_manifest(rejecting: Bundle, bundle: Bundle) -> None:
    import onnx

    before, after = (
        onnx.load_from_string(one.content(format="onnx").data) for one in (bundle, rejecting)
    )
    for model in (before, after):
        del model.metadata_props[:]
    assert before == after
    data = bundle.content(format="onnx").data
    text = onnx_metadata(data)[ONNX_METADATA_KEY]
    assert onnx_metadata(with_onnx_metadata(data, ONNX_METADATA_KEY, text)) == onnx_metadata(data)


def test_taking_it_away_gives_the_bundle_of_before(
    rejecting: Bundle, bundle: Bundle, tmp_path: Path
) -> None:
    plain = write_rejection(rejecting, None, tmp_path / "plain.bundle")
    before, after = (json.loads((one.path / MANIFEST).read_text()) for one in (bundle, plain))
    assert after["format_version"] == before["format_version"] == "2.1"
    assert "rejection" not in after
    assert Bundle.load(plain.path / "model.onnx").manifest.rejection is None


def test_an_older_reader_refuses_it_and_no_older_version_holds_it(rejecting: Bundle) -> None:
    path = rejecting.path / MANIFEST
    values = json.loads(path.read_text())
    assert values["format_version"] == "3.0"
    for version in ("2.1", "2.7", 1):
        path.write_text(json.dumps({**values, "format_version": version}))
        with pytest.raises(BundleError, match=r"a rejection is of version 3\.0"):
            Bundle.load(rejecting.path)
    path.write_text(json.dumps({**values, "format_version": "3.4", "news": 1}))
    assert Bundle.load(rejecting.path).manifest.passed_over == ("news",)
    with pytest.raises(BundleError, match="newer version"):
        write_rejection(Bundle.load(rejecting.path), None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("score", "beauty"),
        ("threshold", "high"),
        ("threshold", None),
        ("coverage", 1.5),
        ("risk", -0.1),
        ("images", 0),
        ("surprise", 1),
    ],
)
def test_a_rejection_that_cannot_be_is_refused(
    rejecting: Bundle, field: str, value: object
) -> None:
    values = json.loads((rejecting.path / MANIFEST).read_text())
    values["rejection"][field] = value
    with pytest.raises(BundleError, match=f"rejection.{field}"):
        Manifest.from_json(json.dumps(values), "fleetnet.json")


def test_a_network_of_any_number_of_classes_rejects_nothing(rejecting: Bundle) -> None:
    values = json.loads((rejecting.path / MANIFEST).read_text())
    values["model"]["activation"] = "sigmoid"
    with pytest.raises(BundleError, match="give an image one class"):
        Manifest.from_json(json.dumps(values), "fleetnet.json")


def test_files_that_the_manifest_does_not_list_are_not_lost(rejecting: Bundle) -> None:
    (rejecting.path / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"notes\.txt"):
        write_rejection(Bundle.load(rejecting.path), None)
    assert (rejecting.path / "notes.txt").read_text() == "mine"


def test_predict_says_what_is_rejected(
    rejecting: Bundle, pictures: list[Path], fleetnet: Run, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"nothing")
    names = [*pictures, damaged]
    with Classifier(rejecting) as classifier:
        expected = [one.rejected for one in classifier.predict(pictures)]

    def said(*options: str) -> str:
        done = fleetnet("predict", rejecting.path, *names, *options)
        assert done.code == 1
        return done.out

    rows = [json.loads(line) for line in said("--json").splitlines()]
    assert [row["rejected"] for row in rows[:-1]] == expected
    assert all(isinstance(row["score"], float) for row in rows[:-1])
    assert "rejected" not in rows[-1]
    table = list(csv.DictReader(io.StringIO(said("--csv", "-k", "1"))))
    assert list(table[0]) == ["image", "class_1", "probability_1", "rejected", "score", "error"]
    assert [row["rejected"] for row in table[:-1]] == [str(one).lower() for one in expected]
    assert (table[-1]["rejected"], table[-1]["score"]) == ("", "")
    assert ["rejected: " in line for line in said().splitlines()[:-1]] == expected


def test_predict_takes_another_threshold_or_none(
    rejecting: Bundle, pictures: list[Path], fleetnet: Run
) -> None:
    def rows(*options: str) -> list[dict[str, object]]:
        done = fleetnet("predict", rejecting.path, *pictures, "--json", *options)
        assert done.code == 0, done
        return [json.loads(line) for line in done.out.splitlines()]

    scores = [float(str(row["score"])) for row in rows()]
    threshold = halfway([score for score in scores if score < max(scores)])
    asked = rows("--reject", repr(threshold))
    assert [row["rejected"] for row in asked] == [score < threshold for score in scores]
    assert {row["rejected"] for row in asked} == {True, False}
    assert {row["rejected"] for row in rows("--reject", "-1e9")} == {False}
    for row, other in zip(rows("--reject", "off"), asked, strict=True):
        assert row == {name: other[name] for name in other if name not in ("rejected", "score")}


@pytest.mark.parametrize("threshold", ["high", "nan", "inf", "-Infinity", "1e999", "", "OFF"])
def test_predict_refuses_what_is_no_threshold(
    rejecting: Bundle, pictures: list[Path], fleetnet: Run, threshold: str
) -> None:
    for model in (rejecting.path, "http://127.0.0.1:1/x"):
        fleetnet("predict", model, *pictures, "--reject", threshold).assert_one_line(
            f"--reject is {threshold!r}; it must be a threshold or 'off'"
        )


def test_predict_refuses_a_threshold_of_nothing(
    bundle: Bundle, pictures: list[Path], fleetnet: Run, tmp_path: Path
) -> None:
    fleetnet("predict", bundle.path, *pictures, "--reject", "0.5").assert_one_line(
        "has no rejection, so that nothing says what 0.5 is a threshold of"
    )
    assert fleetnet("predict", bundle.path, pictures[0], "--reject", "off").code == 0
    several = shutil.copytree(bundle.path, tmp_path / "several.bundle")
    values = json.loads((several / MANIFEST).read_text())
    values["model"]["activation"] = "sigmoid"
    (several / MANIFEST).write_text(json.dumps(values))
    fleetnet("predict", several, *pictures, "--reject", "0.5").assert_one_line(
        "gives an image any number of classes, none included: no threshold rejects its answers"
    )
    assert fleetnet("predict", several, pictures[0], "--reject", "off").code == 0


def test_predict_says_nothing_of_it_where_nothing_is_rejected(
    bundle: Bundle, pictures: list[Path], fleetnet: Run
) -> None:
    for option in ("--json", "--csv"):
        out = fleetnet("predict", bundle.path, *pictures, option).out
        assert "rejected" not in out
        assert "score" not in out
