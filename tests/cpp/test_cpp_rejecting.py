"""C++ rejects what Python rejects, by the C interface and by the command."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from conftest import Run
from cpp.library import Library, LibraryError
from fleetnet.bundle import ONNX_METADATA_KEY, Certainty, onnx_metadata, with_onnx_metadata
from fleetnet.inference.certainty import SCORES, certainty
from fleetnet.inference.classifier import Classifier

CONFORMANCE = Path(__file__).parents[2] / "conformance"
NETWORK = CONFORMANCE / "network.onnx"


@pytest.fixture(scope="module")
def pictures() -> list[Path]:
    found = sorted((CONFORMANCE / "pictures").glob("jpeg-*.jpg"))[:16]
    assert len(found) > 4
    return found


def rejecting(place: Path, score: Certainty, pictures: list[Path]) -> Path:
    """Write the network with a threshold in the largest gap between the pictures' scores."""
    with Classifier(NETWORK) as classifier:
        logits = [one.logits for one in classifier.predict(pictures) if one.logits is not None]
    scores = np.sort(certainty(np.stack(logits), score).astype(np.float64))
    gap = int(np.diff(scores).argmax())
    assert scores[gap + 1] - scores[gap] > 1e-3
    data = NETWORK.read_bytes()
    values = json.loads(onnx_metadata(data)[ONNX_METADATA_KEY])
    told: dict[str, object] = {"score": score, "threshold": float(scores[gap : gap + 2].mean())}
    told |= {"coverage": 0.5, "risk": 0.1, "images": 9, "source": "made up"}
    values |= {"format_version": "3.0", "rejection": told}
    path = place / "net.onnx"
    path.write_bytes(with_onnx_metadata(data, ONNX_METADATA_KEY, json.dumps(values)))
    return path


@pytest.mark.parametrize("score", SCORES)
def test_the_library_decides_as_python_does(
    library: Library, tmp_path: Path, pictures: list[Path], score: Certainty
) -> None:
    path = rejecting(tmp_path, score, pictures)
    with Classifier(path, exact=True) as classifier:
        expected = list(classifier.predict(pictures))
    assert {one.rejected for one in expected} == {True, False}
    contents = [picture.read_bytes() for picture in pictures]
    with library.open(path, exact=1, reject=1) as opened:
        _, judged = opened.judged(contents, 4)
    assert [rejected for rejected, _ in judged] == [one.rejected for one in expected]
    assert [value for _, value in judged] == pytest.approx(
        [one.score for one in expected], abs=1e-5
    )
    with library.open(path, exact=1, reject=2) as opened:
        assert opened.judged(contents, 4)[1] == [(False, None)] * len(contents)


def test_a_program_that_knows_nothing_of_it_is_refused(
    library: Library, tmp_path: Path, pictures: list[Path]
) -> None:
    path = rejecting(tmp_path, "energy", pictures)
    with pytest.raises(LibraryError, match=r"options\.reject"), library.open(path):
        pass
    with pytest.raises(LibraryError, match="it must be 0, 1 or 2"), library.open(path, reject=3):
        pass


@pytest.mark.parametrize("threshold", ["off", "1.5", " +1_0e-1 ", "-1000", "1e300"])
def test_the_command_takes_another_threshold_or_none(
    predictor: list[str], fleetnet: Run, tmp_path: Path, pictures: list[Path], threshold: str
) -> None:
    path = rejecting(tmp_path, "energy", pictures)
    words = [str(path), *map(str, pictures), "--json", "--reject", threshold]
    ours = subprocess.run([*predictor, *words], capture_output=True, timeout=60)
    python = fleetnet("predict", *words)
    assert ours.returncode == python.code == 0
    rows, same = (
        [json.loads(row) for row in text.splitlines()] for text in (ours.stdout, python.out)
    )
    assert [row.get("rejected") for row in rows] == [row.get("rejected") for row in same]
    assert [list(row) for row in rows] == [list(row) for row in same]


def test_the_command_says_what_python_says(
    predictor: list[str], fleetnet: Run, tmp_path: Path, pictures: list[Path]
) -> None:
    path = rejecting(tmp_path, "energy", pictures)
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    words = [str(path), *map(str, pictures), str(bad), "-k", "2"]
    for options in ((), ("--json",), ("--csv",)):
        environment = {"COLUMNS": "100", "PATH": "/usr/bin:/bin"}
        ours = subprocess.run(
            [*predictor, *words, *options], capture_output=True, env=environment, timeout=60
        )
        python = fleetnet("predict", *words, *options)
        assert ours.returncode == python.code == 1
        out = ours.stdout.decode()
        if options == ("--json",):
            rows, same = (
                [json.loads(row) for row in text.splitlines()] for text in (out, python.out)
            )
            assert [list(row) for row in rows] == [list(row) for row in same]
            key = "score"
        elif options == ("--csv",):
            rows, same = (list(csv.DictReader(io.StringIO(text))) for text in (out, python.out))
            assert [list(row) for row in rows] == [list(row) for row in same]
            key = "score"
        else:
            assert ["rejected: " in line for line in out.splitlines()] == [
                "rejected: " in line for line in python.out.splitlines()
            ]
            assert [len(line) for line in out.splitlines()] == [
                len(line) for line in python.out.splitlines()
            ]
            continue
        assert [row.get("rejected") for row in rows] == [row.get("rejected") for row in same]
        ours_scores, scores = ([row.get(key) or 0 for row in table] for table in (rows, same))
        assert [float(one) for one in ours_scores] == pytest.approx(
            [float(one) for one in scores], abs=2e-5
        )
