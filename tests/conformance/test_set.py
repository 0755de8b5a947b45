"""The set in this repository is what the writer writes, and this installation answers so."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from fleetnet import native
from fleetnet.conformance.check import check_installation
from fleetnet.conformance.description import DESCRIPTION
from fleetnet.conformance.files import ConformanceSet, find_set
from fleetnet.conformance.pictures import all_pictures
from fleetnet.conformance.rejections import cases
from fleetnet.conformance.write import CROPS, PICTURES, Writer, versions, write_set
from fleetnet.errors import FleetnetError
from fleetnet.images import OpenImage
from fleetnet.inference.certainty import SCORES
from samples import ROOT

OURS = ConformanceSet.load()
DESCRIBED = {picture.name: picture for picture in OURS.description.pictures}
LOSSLESS = (".png", ".tif", ".bmp", ".gif")


def same_libraries() -> bool:
    """Tell whether what encodes here is what encoded the set."""
    return {**versions(), "fleetnet": ""} == {**OURS.description.written_by, "fleetnet": ""}


def files(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != DESCRIPTION
    }


def test_a_checkout_has_the_set() -> None:
    assert find_set() == ROOT / "conformance"


def test_this_installation_conforms() -> None:
    checks = list(check_installation(OURS, ["onnxruntime"]))
    assert [check.differences for check in checks] == [()] * len(checks)
    assert all(check.answers for check in checks)
    roads = ["inputs, C core"] if native.COMPILED else []
    names = [check.name for check in checks]
    assert names[:-1] == [
        "files of the set", "refusals", "decoded pictures", *roads, "inputs, Python", "rejection",
    ]  # fmt: skip
    assert names[-1].startswith("logits, onnxruntime")


def test_an_installation_without_a_compiler_conforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "core", None)
    checks = list(check_installation(OURS, []))
    assert all(check.passed for check in checks)
    assert [check.name for check in checks if check.name.startswith("inputs")] == ["inputs, Python"]


def test_the_pictures_are_those_that_are_drawn() -> None:
    pictures = all_pictures()
    assert [picture.name for picture in pictures] == list(DESCRIBED)
    for picture in pictures:
        described = DESCRIBED[picture.name]
        if same_libraries():
            assert hashlib.sha256(picture.data).hexdigest() == described.sha256, picture.name
        elif described.decoded and picture.ending in LOSSLESS:
            pixels = OpenImage(picture.data).decode()
            assert hashlib.sha256(pixels.tobytes()).hexdigest() == described.decoded.sha256


def test_what_is_said_of_each_is_what_the_reference_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expected pixels come from the stored pictures, whatever encodes here."""
    monkeypatch.setattr(native, "core", None)
    for name in (PICTURES, CROPS):
        (tmp_path / name).mkdir()
    writer = Writer(tmp_path)
    for picture in all_pictures():
        described = DESCRIBED[picture.name]
        stored = picture._replace(data=(OURS.path / described.file).read_bytes())
        found = writer.entry(stored, described.logits)
        if not same_libraries() and found.error and described.error:
            assert found.error.kind == described.error.kind
        else:
            assert found == described
    assert files(tmp_path / CROPS) == files(OURS.path / CROPS)


@pytest.mark.slow
def test_writing_it_gives_the_same_bytes(tmp_path: Path) -> None:
    written = write_set(tmp_path / "set")
    assert all(check.passed for check in check_installation(written, ["onnxruntime"]))
    if not same_libraries():
        pytest.skip("the set was encoded by other versions of the libraries")
    assert files(written.path) == files(OURS.path)
    ours = OURS.description.model_dump(exclude={"written_by"})
    assert written.description.model_dump(exclude={"written_by"}) == ours


def test_nothing_else_lies_in_its_folder() -> None:
    description = OURS.description
    described = {description.network.file}
    for picture in description.pictures:
        described |= {picture.file, *(one.file for one in picture.inputs if one.file)}
    assert set(files(OURS.path)) == described


def test_the_set_is_small() -> None:
    assert sum(map(len, files(OURS.path).values())) < 1.6e6


def test_the_set_has_the_cases_that_hosts_get_wrong() -> None:
    kinds = {picture.error.kind for picture in DESCRIBED.values() if picture.error}
    assert kinds == {
        "empty", "not-an-image", "too-long", "too-large", "unsupported", "truncated", "damaged",
    }  # fmt: skip
    endings = {Path(picture.file).suffix for picture in DESCRIBED.values() if picture.decoded}
    assert endings == {".jpg", ".png", ".gif", ".webp", ".tif", ".bmp"}
    modes = set()
    turns = set()
    for picture in DESCRIBED.values():
        if picture.decoded:
            image = OpenImage((OURS.path / picture.file).read_bytes())
            modes.add(image.mode)
            turns.add((image.format, image.orientation))
    assert modes >= {"RGB", "grey", "palette", "alpha", "CMYK", "16-bit"}
    assert turns >= {("JPEG", turn) for turn in range(1, 9)} | {("PNG", 6), ("TIFF", 6)}


def test_ways_of_preprocessing_differ_where_they_should() -> None:
    for picture in DESCRIBED.values():
        of = {(one.interpolation, one.exact, one.sample_bits): one.sha256 for one in picture.inputs}
        if picture.name.startswith("jpeg-scaled"):
            assert of["bilinear", True, None] != of["bilinear", False, None]
            assert of["bicubic", True, None] != of["bicubic", False, None]
            # It takes single pixels, and so is never decoded smaller.
            assert of["cv2-linear", True, None] == of["cv2-linear", False, None]
        for kind, exact, bits in of:
            if bits is not None and bits < 16:
                assert of[kind, exact, bits] != of[kind, exact, None]
    baseline = {one.sha256 for one in DESCRIBED["jpeg-baseline"].inputs}
    assert len(baseline) == 3


def test_the_answers_tell_pictures_apart() -> None:
    answers = np.array([picture.logits for picture in DESCRIBED.values() if picture.logits])
    assert len(answers) == sum(picture.decoded is not None for picture in DESCRIBED.values())
    assert answers.std(axis=0).min() > 1000 * OURS.description.network.tolerance


def test_what_is_rejected_is_what_is_computed_with_many_digits() -> None:
    logits = [picture.logits for picture in DESCRIBED.values() if picture.logits]
    assert cases(logits) == OURS.description.rejection


def test_no_rounding_decides_what_is_rejected_of_the_pictures() -> None:
    found = OURS.description.rejection
    of_pictures = [case for case in found.cases if not case.logits]
    assert {(case.score, case.temperature != 1) for case in of_pictures} == {
        ("energy", False), ("max-logit", False), ("probability", False), ("probability", True),
    }  # fmt: skip
    for case in of_pictures:
        scores = np.array(case.scores, np.float64)
        apart = np.abs(scores / case.threshold - 1).min()
        assert apart > 1000 * found.tolerance
        assert len(scores) / 4 < sum(case.rejected) < 3 * len(scores) / 4


def test_odd_answers_are_rejected_under_every_score() -> None:
    odd = [case for case in OURS.description.rejection.cases if case.name.endswith("-odd")]
    assert [case.score for case in odd] == list(SCORES)
    for case in odd:
        assert set(case.rejected) == {True, False}
        for row, rejected in zip(case.logits, case.rejected, strict=True):
            assert rejected or "NaN" not in row


def test_it_replaces_a_set_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(FleetnetError, match="is not a conformance set: choose another place"):
        write_set(tmp_path)
    assert (tmp_path / "precious").read_text() == "mine"


def test_an_installation_without_the_set_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "a" / "b" / "c" / "description.py"
    monkeypatch.setattr("fleetnet.conformance.files.__file__", str(module))
    with pytest.raises(FleetnetError, match="give its folder, set_folder="):
        find_set()
    installed = module.parent / "set"
    shutil.copytree(OURS.path, installed)
    assert find_set() == installed
