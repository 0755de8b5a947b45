"""The page beside converted files says from which certainty on an answer counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Run
from fleetnet.bundle import (
    Artifact,
    Bundle,
    Calibration,
    Manifest,
    Rejection,
    write_rejection,
)
from fleetnet.conformance.files import find_set
from fleetnet.export.description import description
from fleetnet.export.targets import TARGETS


def manifest_of(precision: str = "fp32", score: str | None = "energy") -> Manifest:
    manifest = Bundle.load(find_set() / "network.onnx").manifest
    calibration = Calibration(
        temperature=1.25, images=9, ece_before=0.1, ece_after=0.1, source="made up"
    )
    manifest = manifest.model_copy(update={"calibration": calibration})
    if score is not None:
        told = {"score": score, "threshold": 1.625, "coverage": 0.951, "risk": 0.042}
        rejection = Rejection.model_validate({**told, "images": 656, "source": "cells"})
        manifest = manifest.with_rejection(rejection)
    artifact = Artifact.of("odd", {"model.odd": b"content"}, precision=precision)
    return manifest.with_artifacts([artifact], "here")


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_target_says_the_threshold_and_who_compares(name: str) -> None:
    target = TARGETS[name]
    page = description(target, manifest_of())
    assert "below\n1.625, or is not a number" in page
    assert "logarithm of the sum" in page
    assert "95.1% of 656 images in fp32, 4.2% of those wrong" in page
    assert ("compares by itself" in page) == (name in ("cpp", "web"))
    assert ("reject nothing by themselves" in page) == (name not in ("cpp", "web"))
    assert "Not every answer counts" not in description(target, manifest_of(score=None))


@pytest.mark.parametrize(("to", "warned"), [("onnx", True), ("cpp", False)])
def test_the_command_warns_that_the_program_has_to_compare(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path, to: str, warned: bool
) -> None:
    rejection = Rejection(
        score="energy", threshold=1.625, coverage=0.9, risk=0.1, images=36, source="cells"
    )
    given = write_rejection(bundle, rejection, tmp_path / "given.bundle").path
    command = ("export", given, "--to", to, "-o", tmp_path / "made", "--images", shapes)
    result = fleetnet(*command, "--limit", "2")
    assert result.code == 0, result
    warning = (
        f"warning: {to} gives logits and rejects nothing by itself: your program has to compare "
        "energy with 1.625, as the page says"
    )
    assert (warning in result.err.splitlines()) == warned
    assert ("rejects" in result.err) == warned
    unrejecting = fleetnet("export", bundle.path, *command[2:], "--limit", "2")
    assert unrejecting.code == 0, unrejecting
    assert "rejects" not in unrejecting.err


def test_a_page_says_what_a_temperature_and_fewer_bits_do() -> None:
    target = TARGETS["ncnn"]
    assert "softmax of the logits / 1.25" in description(target, manifest_of(score="probability"))
    assert "/ 1.25" not in description(target, manifest_of())
    assert "In int8, scores are not quite those of fp32" in description(target, manifest_of("int8"))
