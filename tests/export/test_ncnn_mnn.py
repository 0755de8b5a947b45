"""ncnn and MNN: what they are given, and, where their environments are made, what they answer."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from importlib.resources import files as resources
from pathlib import Path

import numpy as np
import pytest
import torch

from export.pages import check_program
from fleetnet.bundle import Bundle, Calibration
from fleetnet.cache import cache_folder
from fleetnet.errors import FleetnetError
from fleetnet.export.converted import export_to
from fleetnet.export.description import description
from fleetnet.export.program import traced_network
from fleetnet.export.targets import TARGETS, find_target
from fleetnet.inference.engines import open_engine

pytestmark = pytest.mark.slow

CACHE = cache_folder()
"""Outside of the tests, where an environment may have been made: nothing is fetched here."""


@pytest.mark.filterwarnings("ignore:.*torch.jit.load.*is deprecated")
def test_a_traced_network_takes_planes_of_pixels(bundle: Bundle) -> None:
    crop = bundle.manifest.preprocess.crop
    pixels = np.random.default_rng(0).integers(0, 256, (1, crop, crop, 3), np.uint8)
    traced = torch.jit.load(io.BytesIO(traced_network(bundle)))  # type: ignore[no-untyped-call]
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    with open_engine("torch", bundle, 1) as reference, torch.no_grad():
        np.testing.assert_allclose(traced(planes).numpy(), reference.run(pixels), atol=1e-3)


def test_ncnn_takes_one_image(bundle: Bundle) -> None:
    with pytest.raises(FleetnetError, match="one image at a time: leave out fixed_batch="):
        TARGETS["ncnn"].convert(bundle, "fp32", 2)


def test_the_page_says_what_the_files_take(bundle: Bundle) -> None:
    artifact = bundle.artifacts[0].model_copy(update={"verification": ()})
    manifest = bundle.manifest.with_artifacts([artifact], "here")
    crop = manifest.preprocess.crop
    page = description(TARGETS["ncnn"], manifest)
    assert f"`float32[1, 3, {crop}, {crop}]`, which is NCHW, from 0 to 255" in page
    assert "Takes `uint8[" not in page
    assert f"`uint8[N, {crop}, {crop}, 3]`, RGB" in description(TARGETS["mnn"], manifest)
    odd = replace(TARGETS["mnn"], takes="`odd[{crop}]`")
    page = description(odd, manifest)
    assert f"Takes `odd[{crop}]`. An upright picture" in page
    # All that a host has to do is in numbers, those of this bundle.
    words, preprocess = " ".join(page.split()), manifest.preprocess
    assert f"resized to {preprocess.resize} ({preprocess.interpolation}), and a square" in words
    assert f"mean {' '.join(f'{one:.4g}' for one in preprocess.mean)}," in words
    assert f"`float32[N, {len(manifest.classes)}]`, which become probabilities by softmax" in words
    calibration = Calibration(temperature=0.37, images=1, ece_before=0, ece_after=0, source="odd")
    divided = description(odd, manifest.model_copy(update={"calibration": calibration}))
    assert "which, divided by 0.37, become" in " ".join(divided.split())


def test_every_program_for_ncnn_asks_for_32_bits_in_the_same_words() -> None:
    sources = [
        TARGETS["ncnn"].how,
        (resources("fleetnet.export") / "native_program" / "ncnn.cpp").read_text("utf-8"),
        (resources("fleetnet.export.separate") / "scripts" / "ncnn_network.py").read_text("utf-8"),
    ]
    options = [set(re.findall(r"\buse_[bf]+p?16\w+", source)) for source in sources]
    assert len(options[0]) == 4
    assert options[1:] == options[:1] * 2


@pytest.mark.parametrize("to", ["ncnn", "ncnn:fp16", "mnn", "mnn:fp16"])
def test_converted_and_verified(
    to: str, bundle: Bundle, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(CACHE))
    target, precision = find_target(to)
    assert target.environment is not None
    if not target.environment.made:
        pytest.skip(f"the environment '{target.environment.name}' is made by 'fleetnet export'")
    written = export_to(bundle.path, to, tmp_path / "made", images=[str(shapes)], limit=20)
    (artifact,) = written.artifacts
    written.files_of(artifact)
    (record,) = artifact.verification
    assert (record.engine, record.images) == (target.package, 20)
    assert record.max_abs_diff <= (1e-3 if precision == "fp32" else 0.05)
    assert record.top1_agreement == 1.0
    if precision == "fp32":
        check_program(written, bundle, sorted(shapes.glob("*/*"))[0], target.environment)
