"""Targets that convert in an environment apart; where it was not made, nothing is fetched here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fleetnet.bundle import Bundle
from fleetnet.cache import cache_folder
from fleetnet.errors import VerificationError
from fleetnet.export.converted import export_to
from fleetnet.export.converted_engine import ConvertedEngine
from fleetnet.export.targets import TARGETS
from fleetnet.inference.engines import open_engine

pytestmark = pytest.mark.slow


USERS_CACHE = cache_folder() / "environments"
"""Of this user, not of the tests: what was made there once is used again."""


def needs(name: str) -> None:
    """Have a target's environment in the cache of the tests; without it, skip the test."""
    environment = TARGETS[name].environment
    assert environment is not None
    if environment.made:
        return
    kept = USERS_CACHE / environment.folder.name
    if not (kept / "made").is_file():
        pytest.skip(f"no environment '{name}': fleetnet export --to {name} makes it once")
    environment.folder.parent.mkdir(parents=True, exist_ok=True)
    environment.folder.symlink_to(kept, target_is_directory=True)


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
    assert f"{{ {size} }}" in page


def test_what_is_no_program_is_a_line() -> None:
    needs("executorch")
    with pytest.raises(VerificationError, match=r"executorch cannot run [^\n]*$"):
        ConvertedEngine(TARGETS["executorch"], {"model.pte": b"no program"}, "fp32", 1)
