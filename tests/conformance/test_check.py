"""Whatever differs from the set is found, and named."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fleetnet import native
from fleetnet.conformance.check import (
    CORE,
    PYTHON,
    Check,
    check_installation,
    check_logits,
    check_rejection,
    first_difference,
)
from fleetnet.conformance.description import DESCRIPTION
from fleetnet.conformance.files import ConformanceSet
from fleetnet.errors import FleetnetError
from fleetnet.inference.engines import Logits, Pixels

ROADS = [CORE, PYTHON] if native.COMPILED else [PYTHON]


class Copy:
    """A set of one's own to change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: Any = json.loads((path / DESCRIPTION).read_text("utf-8"))

    def picture(self, name: str) -> Any:
        return next(picture for picture in self.values["pictures"] if picture["name"] == name)

    def input(self, name: str, interpolation: str) -> Any:
        inputs = self.picture(name)["inputs"]
        return next(one for one in inputs if one["interpolation"] == interpolation)

    def loaded(self) -> ConformanceSet:
        (self.path / DESCRIPTION).write_text(json.dumps(self.values), "utf-8")
        return ConformanceSet.load(self.path)

    def checks(self) -> dict[str, Check]:
        return {check.name: check for check in check_installation(self.loaded(), [])}


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(Path(shutil.copytree(ConformanceSet.load().path, tmp_path / "set")))


def flip_a_pixel(copy: Copy, name: str, interpolation: str) -> None:
    """Change the expected crop in row 3, column 5."""
    one = copy.input(name, interpolation)
    file = copy.path / one["file"]
    pixels = np.frombuffer(file.read_bytes(), np.uint8).reshape(24, 24, 3).copy()
    pixels[3, 5] = 255 - pixels[3, 5]
    file.write_bytes(pixels.tobytes())
    one["sha256"] = hashlib.sha256(pixels.tobytes()).hexdigest()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "cv2-linear"])
def test_a_pixel_that_differs_is_named(copy: Copy, interpolation: str) -> None:
    flip_a_pixel(copy, "jpeg-grey", interpolation)
    checks = copy.checks()
    for road in ROADS:
        (difference,) = checks[f"inputs, {road}"].differences
        assert str(difference).startswith(
            f"jpeg-grey: {interpolation}, {road}: the pixel in row 3, column 5 is ("
        )
        assert str(difference).endswith("; 1 of 576 pixels differ")
    assert all(check.passed for name, check in checks.items() if not name.startswith("inputs"))


def test_a_pixel_that_differs_only_in_the_core_is_found(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    if native.core is None:
        pytest.skip("there was no compiler")
    core: ModuleType = native.core

    class Wrong:
        """The C core, a level off in one place."""

        geometry, shrink, extent = core.geometry, core.shrink, core.extent

        @staticmethod
        def resample(pixels: Pixels, out: Pixels, *rest: Any) -> None:
            core.resample(pixels, out, *rest)
            out[23, 22, 1] ^= 1

    monkeypatch.setattr(native, "core", Wrong)
    checks = copy.checks()
    found = checks[f"inputs, {CORE}"]
    assert len(found.differences) == found.answers
    assert "the pixel in row 23, column 22 is (" in found.differences[0].detail
    assert checks[f"inputs, {PYTHON}"].passed


def test_without_the_expected_pixels_only_the_hash_is_compared(copy: Copy) -> None:
    one = copy.input("jpeg-grey", "bicubic")
    del one["file"]
    one["sha256"] = "0" * 64
    (difference,) = copy.checks()[f"inputs, {PYTHON}"].differences
    assert str(difference) == (
        "jpeg-grey: bicubic, Python: other pixels, and the set has only their hash"
    )


def test_other_pixels_of_the_decoder_are_found(copy: Copy) -> None:
    copy.picture("webp")["decoded"]["sha256"] = "0" * 64
    copy.picture("jpeg-turned-6")["decoded"].update(width=51, height=37)
    webp, turned = sorted(map(str, copy.checks()["decoded pictures"].differences), reverse=True)
    assert webp.startswith("webp: decoded to other pixels")
    assert turned == "jpeg-turned-6: it is 37×51, not 51×37"


def test_refusals_have_to_be_the_right_ones(copy: Copy) -> None:
    copy.picture("wide-101")["error"]["kind"] = "too-large"
    whole = copy.picture("jpeg-444-odd")
    without_logits(copy)
    for name in ("decoded", "inputs"):
        del whole[name]
    whole["error"] = {"kind": "damaged"}
    first, second = map(str, copy.checks()["refusals"].differences)
    assert first == "jpeg-444-odd: decoded, and not refused as damaged"
    assert second.startswith("wide-101: refused as too-long, not as too-large: 101×1 is longer")


def test_a_picture_that_should_be_decoded_and_is_not(copy: Copy) -> None:
    refused, whole = copy.picture("bad-cut-jpeg"), copy.picture("jpeg-grey")
    for name in ("decoded", "inputs"):
        refused[name] = whole[name]
    del refused["error"]
    checks = copy.checks()
    assert "bad-cut-jpeg: refused: damaged image" in str(checks["decoded pictures"].differences[0])
    assert len(checks[f"inputs, {PYTHON}"].differences) == 3


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def change(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def link(file: Path) -> None:
    file.rename(file.with_suffix(".away"))
    file.symlink_to(file.with_suffix(".away"))


@pytest.mark.parametrize(
    "file", ["network.onnx", "pictures/jpeg-grey.jpg", "crops/jpeg-grey.bicubic.rgb"]
)
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (Path.unlink, "is missing: the conformance set is incomplete"),
        (cut, "is not the file that the set was written with: it has"),
        (change, "is not the file that the set was written with: its SHA-256 is"),
        (link, "is missing"),
    ],
)
def test_a_file_that_is_not_the_one_it_was_is_named(
    copy: Copy, file: str, damage: Callable[[Path], None], words: str
) -> None:
    damage(copy.path / file)
    with pytest.raises(FleetnetError, match=words) as raised:
        copy.checks()
    assert file in str(raised.value).replace("\\", "/")


def test_a_folder_that_leads_out_of_the_set_is_not_followed(copy: Copy, tmp_path: Path) -> None:
    (copy.path / "crops").rename(tmp_path / "elsewhere")
    (copy.path / "crops").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FleetnetError, match=r"crops/.* is missing: the conformance set"):
        copy.checks()


@pytest.mark.parametrize(
    ("key", "value"), [("classes", ["a", "b", "c", "d"]), ("crop", 20), ("resize", 40)]
)
def test_another_network_than_the_described_one_is_refused(
    copy: Copy, key: str, value: Any
) -> None:
    """Before an engine gets images that it cannot take."""
    copy.values["network"][key] = value
    without_logits(copy)
    with pytest.raises(FleetnetError, match="is not the network that"):
        copy.checks()


def without_logits(copy: Copy) -> None:
    """Leave the pictures' logits out, and the rejection that judges them."""
    for picture in copy.values["pictures"]:
        picture.pop("logits", None)
    rejection = copy.values["rejection"]
    rejection["cases"] = [case for case in rejection["cases"] if "logits" in case]


def case_of(copy: Copy, name: str) -> Any:
    return next(case for case in copy.values["rejection"]["cases"] if case["name"] == name)


def test_another_score_or_decision_of_rejection_is_found(copy: Copy) -> None:
    case = case_of(copy, "probability-temperature")
    name = next(one["name"] for one in copy.values["pictures"] if "logits" in one)
    case["scores"][0] *= 1 + 1e-6
    odd = case_of(copy, "energy-odd")
    odd["rejected"][0] = False
    odd["scores"][1] = 0.0
    odd["scores"][3] = "-Infinity"
    check = check_rejection(copy.loaded())
    assert check.answers > 250
    first, *others = map(str, check.differences)
    assert first.startswith(f"{name}: probability, temperature 4 below 0.")
    assert others == [
        "energy-odd, row 0: energy below 0.5: it is rejected, and should not be",
        "energy-odd, row 1: energy below 0.5: the score is nan, not 0",
        "energy-odd, row 3: energy below 0.5: the score is inf, not -inf",
    ]


def test_a_host_that_rejects_what_is_equal_to_the_threshold_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "fleetnet.inference.certainty.is_rejected", lambda score, threshold: score <= threshold
    )
    told = [difference.picture for difference in check_rejection(ConformanceSet.load()).differences]
    assert "max-logit-equal, row 0" in told
    assert "probability-equal, row 0" in told
    assert "energy-odd, row 0" in told  # which is no number


class Fake:
    """An engine that gives the set's answers, but for one number."""

    name, version, precision, threads = "fake", "1", "fp32", 1

    def __init__(self, found: ConformanceSet, number: float) -> None:
        pictures = found.description.pictures
        self.answers = np.array([one.logits for one in pictures if one.logits], np.float32)
        self.answers[7, 2] += np.float32(number)

    def run(self, pixels: Pixels) -> Logits:
        answers, self.answers = np.split(self.answers, [len(pixels)])
        return answers


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0.0, None),
        (0.0005, None),
        (0.01, "fake's logits differ by up to 0.01 (allowed: 0.001)"),
        (float("nan"), "fake's logits differ by up to nan"),
    ],
)
def test_wrong_logits_are_found(number: float, words: str | None) -> None:
    found = ConformanceSet.load()
    check = check_logits(found, Fake(found, number))  # type: ignore[arg-type]
    assert check.name == "logits, fake 1"
    if words is None:
        assert check.passed
    else:
        (difference,) = check.differences
        assert difference.picture == found.description.pictures[7].name
        assert words in difference.detail


def test_crops_are_compared_to_the_pixel() -> None:
    one, other = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)
    assert first_difference(one, other) is None
    other[2, 3, 1] = 9
    other[3, 0] = 1
    assert first_difference(one, other) == (
        "the pixel in row 2, column 3 is (0, 0, 0), not (0, 9, 0); 2 of 20 pixels differ"
    )
    assert first_difference(one, other[:, :4]) == "it is 5×4, not 4×4"
