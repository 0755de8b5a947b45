"""A bundle of format 2.1, which records what fewer bits were allowed to lose, is read for ever."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.errors import BundleError
from test_bundle_version2_0 import KEYS, assert_answers_as_recorded

ARCHIVE = Path(__file__).parent / "bundles" / "version2_1.tar.xz"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "version2_1.bundle"


def changed(path: Path, **fields: Any) -> Bundle:
    """Write fields into the first judgement, and read the bundle."""
    values = json.loads((path / MANIFEST).read_text("utf-8"))
    (record,) = next(a for a in values["artifacts"] if a["precision"] == "int8")["verification"]
    record["judgement"] |= fields
    (path / MANIFEST).write_text(json.dumps(values), "utf-8")
    return Bundle.load(path)


def test_it_holds_what_2_0_did_and_what_int8_lost(kept: Path) -> None:
    assert json.loads((kept / MANIFEST).read_text("utf-8"))["format_version"] == "2.1"
    bundle = Bundle.load(kept)
    assert {artifact.key for artifact in bundle.artifacts} == set(KEYS)
    for artifact in bundle.artifacts:
        bundle.files_of(artifact)
        for record in artifact.verification:
            assert (record.judgement is None) == (artifact.precision == "fp32")
    artifact = next(one for one in bundle.artifacts if one.key == ("onnx", "int8", None))
    judgement = artifact.verification[0].judgement
    assert judgement is not None
    assert (judgement.metric, judgement.judged_by, judgement.images) == ("top1", "labels", 52)
    assert judgement.low < judgement.loss < judgement.high < judgement.allowed == 0.5
    assert judgement.fp32 is not None
    assert judgement.found is not None
    assert judgement.fp32 - judgement.found == pytest.approx(judgement.loss)
    assert_answers_as_recorded(bundle)


def test_how_it_was_judged_may_be_a_word_of_a_later_version(kept: Path) -> None:
    bundle = changed(kept, judged_by="an oracle", metric="beauty")
    assert bundle.manifest.passed_over == ()


@pytest.mark.parametrize(
    ("field", "value"), [("images", 0), ("allowed", 1.5), ("metric", ""), ("surprise", 1)]
)
def test_a_judgement_that_cannot_be_is_refused(kept: Path, field: str, value: Any) -> None:
    with pytest.raises(BundleError, match=f"judgement.{field}"):
        changed(kept, **{field: value})
