"""Targets that convert in an environment apart; where it was not made, nothing is fetched here."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from export.pages import check_program
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError, VerificationError
from fleetnet.export.converted import export_to
from fleetnet.export.converted_engine import ConvertedEngine
from fleetnet.export.targets import TARGETS
from fleetnet.inference.engines import open_engine
from users_environments import borrowed

pytestmark = pytest.mark.slow


def needs(name: str) -> None:
    """Have a target's environment in the cache of the tests; without it, skip the test."""
    environment = TARGETS[name].environment
    assert environment is not None
    if not borrowed(environment):
        pytest.skip(f"no environment '{name}': fleetnet export --to {name} makes it once")


@pytest.mark.parametrize("batch", [None, 2])
def test_executorch_answers_as_the_network(
    batch: int | None, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    needs("executorch")
    written = export_to(
        str(bundle.path), "executorch", tmp_path / "made", batch=batch, images=[str(shapes)],
        limit=5,
    )  # fmt: skip
    (artifact,) = written.artifacts
    (record,) = artifact.verification
    assert artifact.key == ("executorch", "fp32", batch or 1)
    assert (record.images, record.engine, record.top1_agreement) == (5, "executorch", 1.0)
    assert record.max_abs_diff <= 1e-4
    assert set(written.manifest.provenance["converters"]) == {"executorch", "torch"}
    (path,) = written.files_of(artifact)
    # Answers stay what they are when the next ones are computed.
    crop = bundle.manifest.preprocess.crop
    pixels = np.random.default_rng(0).integers(0, 256, (5, crop, crop, 3), np.uint8)
    files = {path.name: path.read_bytes()}
    with ConvertedEngine(TARGETS["executorch"], files, "fp32", batch or 1) as converted:
        found = [converted.run(pixels), converted.run(pixels[:1])]
    with open_engine("torch", bundle, 1) as reference:
        np.testing.assert_allclose(found[0], reference.run(pixels), atol=1e-3)
    np.testing.assert_array_equal(found[1], found[0][:1])
    page = (written.path / "README.md").read_text("utf-8")
    size = f"{batch or 1}, {crop}, {crop}, 3"
    assert f"Takes `uint8[{size}]`" in page
    if batch:
        picture = sorted(shapes.glob("*/*"))[0]
        check_program(written, bundle, picture, TARGETS["executorch"].environment)


def test_litert_runs_by_the_program_of_its_page(
    bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    needs("litert")
    written = export_to(str(bundle.path), "litert", tmp_path / "made", limit=2)
    picture = sorted(shapes.glob("*/*"))[0]
    check_program(written, bundle, picture, TARGETS["litert"].environment)


def test_what_is_no_program_is_a_line() -> None:
    needs("executorch")
    with pytest.raises(VerificationError, match=r"executorch cannot run [^\n]*$"):
        ConvertedEngine(TARGETS["executorch"], {"model.pte": b"no program"}, "fp32", 1)


def test_core_ml_gets_a_package_that_takes_an_image(bundle: Bundle, tmp_path: Path) -> None:
    needs("coreml")
    written = export_to(str(bundle.path), "coreml", tmp_path / "made")
    (artifact,) = written.artifacts
    assert artifact.key == ("coreml", "fp32", 1)
    assert not artifact.verification
    (path,) = written.files_of(artifact)
    crop = bundle.manifest.preprocess.crop
    with zipfile.ZipFile(path) as packed:
        assert packed.testzip() is None
        assert set(packed.namelist()) == {
            "model.mlpackage/Manifest.json",
            "model.mlpackage/Data/com.apple.CoreML/model.mlmodel",
            "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin",
        }
        packed.extractall(tmp_path)
    described = (
        "import coremltools, json, sys; "
        "spec = coremltools.models.MLModel(sys.argv[1], skip_model_load=True).get_spec(); "
        "(given,), (made,) = spec.description.input, spec.description.output; "
        "image, array = given.type.imageType, made.type.multiArrayType; "
        "print(json.dumps([given.name, image.width, image.height, image.colorSpace == image.RGB,"
        " made.name, list(array.shape), array.dataType == array.FLOAT32]))"
    )
    environment = TARGETS["coreml"].environment
    assert environment is not None
    command = [str(environment.program), "-c", described, str(tmp_path / "model.mlpackage")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    classes = bundle.manifest.model.num_classes
    assert json.loads(told.splitlines()[-1]) == [
        "pixels", crop, crop, True, "logits", [1, classes], True,
    ]  # fmt: skip
    page = (written.path / "README.md").read_text("utf-8")
    assert f"Takes an RGB image of {crop} by {crop}" in page
    assert "Not verified" in page


def test_core_ml_takes_one_image_at_a_time(bundle: Bundle, tmp_path: Path) -> None:
    needs("coreml")
    with pytest.raises(FleetnetError, match="one image at a time: leave out fixed_batch="):
        export_to(str(bundle.path), "coreml", tmp_path / "made", batch=2)
