"""A network's published figures beside the computed ones."""

import pytest

from fleetnet.errors import ModelError
from fleetnet.models.figures import figures_of
from fleetnet.models.registry import NAMES, published


def test_every_network_has_computed_figures() -> None:
    for name in NAMES:
        row = figures_of(name)
        assert row["name"] == name
        assert 0 < row["computed"]["params"] < row["computed"]["params_with_statistics"]
        assert (row["published"] is None) == (name not in published()["models"])


def test_a_published_figure_that_counts_two_operations_is_halved() -> None:
    figures = figures_of("MobileNetV2")["published"]
    assert figures["operations_per_multiply_add"] == 2
    assert figures["gmacs"] == round(figures["gflops_as_printed"] / 2, 4)
    assert figures["source"]


def test_figures_that_a_document_does_not_give_are_left_out() -> None:
    """PaddleClas states accuracy and storage of its int8 weights, and nothing else."""
    row = figures_of("MobileNetV3_large_x1_0_ssld_int8")
    assert row["computed"] == figures_of("MobileNetV3_large_x1_0")["computed"]
    assert (row["published"]["top1"], row["published"]["storage_mb"]) == (0.761, 10.0)
    assert "gmacs" not in row["published"]
    assert "mparams" not in row["published"]


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ModelError, match="unknown model 'MobileNetV9'"):
        figures_of("MobileNetV9")
