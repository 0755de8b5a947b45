"""What four bits save is measured with real files, and what they cost with real answers."""

import numpy as np
import pytest

from benchmarks.pipeline.four_bits import LEVELS, measured, round_to_four, table
from fleetnet.bundle import Bundle


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_take_fifteen_values_a_channel(axis: int) -> None:
    weights = np.random.default_rng(0).normal(size=(6, 5, 3, 3)).astype(np.float32)
    weights[0] = 0
    rounded = round_to_four(weights, axis)
    assert rounded.dtype == np.float32
    for one, other in zip(
        np.moveaxis(weights, axis, 0), np.moveaxis(rounded, axis, 0), strict=True
    ):
        step = np.abs(one).max() / LEVELS
        assert len(np.unique(other)) <= 2 * LEVELS + 1
        assert np.abs(one - other).max() <= step / 2 * 1.0001


def test_every_form_of_a_bundle_is_measured(bundle: Bundle) -> None:
    pytest.importorskip("nncf")
    crop = bundle.manifest.preprocess.crop
    pixels = np.random.default_rng(0).integers(0, 256, (4, crop, crop, 3), np.uint8)
    rows = measured(bundle.content(format="onnx").data, pixels, rounds=2)
    whole, eight, four, simulated = rows
    assert whole["same"] == 1
    assert whole["rms"] == 0
    # The classifier is so small here that four bits save less than their scales take.
    assert whole["bytes"] > max(eight["bytes"], four["bytes"])
    assert simulated["rms"] > eight["rms"] > 0
    assert "bytes" not in simulated
    assert all(len(row["ms"]) == 2 for row in (whole, eight, four))
    assert table(rows, len(pixels)).count("\n") == 5
