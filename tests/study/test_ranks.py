import pytest
import torch

from fleetnet.errors import FleetnetError
from fleetnet.study.nonlinearities import NONLINEARITIES
from fleetnet.study.random_blocks import BLOCKS, EXPANSION, SIDE, Draw
from fleetnet.study.ranks import LEAST_THRESHOLD, check_thresholds, numerical_ranks


def matrix(singular: list[float], columns: int = 40) -> torch.Tensor:
    """Return a matrix with given singular values."""
    generator = torch.Generator().manual_seed(1)
    rows = len(singular)
    left = torch.linalg.qr(torch.randn(rows, rows, dtype=torch.float64, generator=generator))[0]
    wide = torch.randn(columns, rows, dtype=torch.float64, generator=generator)
    right = torch.linalg.qr(wide)[0]
    product: torch.Tensor = left @ torch.diag(torch.tensor(singular).double()) @ right.mT
    return product


def test_ranks_count_singular_values_above_a_share_of_the_largest() -> None:
    batch = torch.stack([matrix([10, 5, 1, 0.05, 1e-4]), matrix([1, 1, 1, 1, 1]) * 1e-9])
    ranks = numerical_ranks(batch, [0.3, 0.01, 1e-3, 2e-6])
    assert ranks.tolist() == [[2, 3, 4, 5], [5, 5, 5, 5]]
    assert numerical_ranks(torch.zeros(1, 3, 9), [0.1]).tolist() == [[0]]


def test_down_to_the_least_threshold_they_are_those_of_a_singular_value_decomposition() -> None:
    values = [1.0, 1e-2, 3e-6, 2 * LEAST_THRESHOLD, LEAST_THRESHOLD / 2, 1e-9, 0.0]
    features = matrix(values)
    exact = torch.linalg.svdvals(features)
    expected = int((exact > LEAST_THRESHOLD * exact[0]).sum())
    assert numerical_ranks(features[None], [LEAST_THRESHOLD]).item() == expected == 4


@pytest.mark.parametrize("wrong", [[0.0], [1e-9], [0.9], [-1.0], [float("nan")], [], [0.1, 0.1]])
def test_other_thresholds_are_refused(wrong: list[float]) -> None:
    with pytest.raises(FleetnetError, match="threshold="):
        check_thresholds(wrong)


def ranks_of(block: str, inputs: int, outputs: int, name: str, threshold: float) -> list[int]:
    draw = Draw(3, torch.Generator().manual_seed(5))
    features = BLOCKS[block](draw, inputs, outputs)(NONLINEARITIES[name])
    assert features.shape == (3, outputs, SIDE * SIDE)
    ranks: list[int] = numerical_ranks(features, [threshold])[:, 0].tolist()
    return ranks


def test_without_a_nonlinearity_a_layer_has_the_rank_of_its_input() -> None:
    for block in ("layer 1×1", "layer depthwise", "bottleneck 1×1"):
        assert ranks_of(block, 5, 24, "none", 1e-6) == [5, 5, 5]


def test_a_nonlinearity_gives_features_more_rank() -> None:
    for name in NONLINEARITIES:
        if name != "none":
            assert min(ranks_of("layer 1×1", 8, 24, name, 1e-3)) > 8


def test_a_bottleneck_has_no_more_rank_than_its_expansion_is_wide() -> None:
    for block in ("bottleneck 1×1", "bottleneck 3×3", "bottleneck depthwise"):
        assert max(ranks_of(block, 2, 24, "ReLU", 1e-6)) <= 2 * EXPANSION


def test_every_network_of_a_batch_has_weights_of_its_own() -> None:
    for block, build in BLOCKS.items():
        both = build(Draw(2, torch.Generator().manual_seed(5)), 4, 6)(NONLINEARITIES["SiLU"])
        assert not torch.allclose(both[0], both[1]), block
        again = build(Draw(2, torch.Generator().manual_seed(5)), 4, 6)(NONLINEARITIES["SiLU"])
        assert torch.equal(both, again)


def test_a_convolution_of_a_batch_is_each_network_s_own() -> None:
    draw = Draw(2, torch.Generator().manual_seed(5))
    images, weight = draw.images(3), draw.weight(4, 3, 3)
    from fleetnet.study.random_blocks import _convolved, _depthwise

    single = [torch.conv2d(images[n : n + 1], weight[n], padding=1)[0] for n in range(2)]
    assert torch.allclose(_convolved(images, weight), torch.stack(single))
    filters = draw.weight(3, 1, 3)
    alone = [torch.conv2d(images[n : n + 1], filters[n], padding=1, groups=3)[0] for n in range(2)]
    assert torch.allclose(_depthwise(images, filters), torch.stack(alone))
