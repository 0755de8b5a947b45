"""IREE; where its environment was not made, nothing is fetched here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.pages import check_program
from export.test_mobile_targets import needs
from fleetnet.bundle import Bundle
from fleetnet.errors import VerificationError
from fleetnet.export.converted import export_to
from fleetnet.export.converted_engine import ConvertedEngine
from fleetnet.export.targets import TARGETS
from fleetnet.inference.engines import open_engine

pytestmark = pytest.mark.slow


def test_iree_answers_as_the_network(bundle: Bundle, shapes: Path, tmp_path: Path) -> None:
    needs("iree")
    written = export_to(bundle.path, "iree", tmp_path / "made", images=[str(shapes)], limit=5)
    (artifact,) = written.artifacts
    (record,) = artifact.verification
    assert artifact.key == ("iree", "fp32", 1)
    assert (record.engine, record.images, record.top1_agreement) == ("iree-base-runtime", 5, 1.0)
    assert record.max_abs_diff <= 1e-4
    assert set(written.manifest.provenance["converters"]) == {"iree-base-compiler"}
    picture = sorted(shapes.glob("*/*"))[0]
    check_program(written, bundle, picture, TARGETS["iree"].environment)
    page = (written.path / "README.md").read_text("utf-8")
    crop = bundle.manifest.preprocess.crop
    assert f"Takes `uint8[1, {crop}, {crop}, 3]`" in page


def test_answers_stay_when_the_next_are_computed(bundle: Bundle) -> None:
    needs("iree")
    target = TARGETS["iree"]
    crop = bundle.manifest.preprocess.crop
    pixels = np.random.default_rng(0).integers(0, 256, (3, crop, crop, 3), np.uint8)
    files = target.convert(bundle, "fp32", 2)
    with ConvertedEngine(target, files, "fp32", 2) as converted:
        found = [converted.run(pixels), converted.run(pixels[::-1])]
    with open_engine("torch", bundle, 1) as reference:
        expected = reference.run(pixels)
    np.testing.assert_allclose(found[0], expected, atol=1e-3)
    np.testing.assert_allclose(found[1], expected[::-1], atol=1e-3)


def test_what_is_no_module_is_a_line() -> None:
    needs("iree")
    with pytest.raises(VerificationError, match=r"iree-base-runtime cannot run [^\n]*$"):
        ConvertedEngine(TARGETS["iree"], {"model.vmfb": b"no module"}, "fp32", 1)
