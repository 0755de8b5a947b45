"""What four bits save is measured with real files, and what they cost with real answers."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.pipeline.four_bits import LEVELS, main, round_to_four
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


def test_every_form_of_a_bundle_is_measured(
    bundle: Bundle, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nncf")
    file = tmp_path / "found.json"
    images = [str(path) for path in sorted((shapes / "circle").iterdir())[:4]]
    main([str(bundle.path), *images, "--rounds", "2", "--json", str(file)])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 6
    assert "same top-1 of 4" in lines[0]
    rows = json.loads(file.read_text("utf-8"))
    whole, eight, four, simulated = rows
    assert whole["same"] == 1
    assert whole["rms"] == 0
    # The classifier is so small here that four bits save less than their scales take.
    assert whole["bytes"] > max(eight["bytes"], four["bytes"])
    assert simulated["rms"] > eight["rms"] > 0
    assert "bytes" not in simulated
    assert all(len(row["ms"]) == 2 for row in (whole, eight, four))
    for row, line in zip(rows, lines[2:], strict=True):
        assert line.startswith(f"| {row['weights']} |")
