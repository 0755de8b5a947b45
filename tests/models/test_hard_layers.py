"""The layers of straight lines that MobileNetV3 and the networks after it share."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from fleetnet.models.folding import fold_batch_norm
from fleetnet.models.layers import (
    ConvAct,
    DepthwiseSeparable,
    HardSigmoid,
    HardSqueezeExcite,
)


def test_a_hard_sigmoid_of_a_sixth_is_that_of_pytorch() -> None:
    x = torch.linspace(-5, 5, 1001)
    assert torch.allclose(HardSigmoid()(x), functional.hardsigmoid(x), atol=1e-6)


def test_a_hard_sigmoid_of_a_fifth_is_full_at_two_and_a_half() -> None:
    x = torch.tensor([-3.0, -2.5, -1.0, 0.0, 1.0, 2.5, 3.0])
    expected = torch.tensor([0.0, 0.0, 0.3, 0.5, 0.7, 1.0, 1.0])
    assert torch.allclose(HardSigmoid(0.2)(x), expected)


@pytest.mark.parametrize("slope", [1 / 6, 0.2])
def test_its_slope_and_offset_become_part_of_the_convolution(slope: float) -> None:
    torch.manual_seed(0)
    for layer in (nn.Conv2d(5, 7, 1), nn.Conv2d(5, 7, 1, bias=False)):
        sequence = nn.Sequential(layer, HardSigmoid(slope))
        folded = fold_batch_norm(sequence)
        assert not any(isinstance(module, HardSigmoid) for module in folded.modules())
        x = torch.randn(3, 5, 4, 4) * 3
        with torch.no_grad():
            assert torch.allclose(folded(x), sequence(x), atol=1e-6)
            assert 0 < float((sequence(x) == 1).float().mean()) < 1
    assert isinstance(sequence[1], HardSigmoid)


def test_a_convolution_that_is_used_twice_keeps_its_weights() -> None:
    conv = nn.Conv2d(3, 3, 1)
    folded = fold_batch_norm(nn.Sequential(conv, HardSigmoid(), conv))
    assert torch.equal(folded.get_parameter("0.weight"), conv.weight)


@pytest.mark.parametrize("gate", [HardSigmoid(), nn.Hardtanh(0.0, 1.0)])
def test_wider_squeeze_and_excitation_gives_the_same(gate: nn.Module) -> None:
    torch.manual_seed(0)
    excite = fold_batch_norm(HardSqueezeExcite(6, 3, gate))
    x = torch.randn(2, 6, 5, 5) * 2
    with torch.no_grad():
        expected = excite(x)
        assert excite.widen(8, lambda width: width + 5) == 8
        found = excite(functional.pad(x, (0, 0, 0, 0, 0, 2)))
    assert excite.reduce.conv.out_channels == 8
    assert torch.allclose(found[:, :6], expected, atol=1e-6)
    assert not found[:, 6:].any()


def test_a_wider_depthwise_separable_gives_the_same() -> None:
    torch.manual_seed(0)
    excite = HardSqueezeExcite(5, 3, HardSigmoid())
    block = DepthwiseSeparable(5, 7, stride=2, act=nn.Hardswish, kernel_size=5, excite=excite)
    block = fold_batch_norm(block.eval())
    x = torch.randn(2, 5, 9, 9)
    with torch.no_grad():
        expected = block(x)
        assert block.widen(8, lambda width: -(-width // 8) * 8) == 8
        found = block(functional.pad(x, (0, 0, 0, 0, 0, 3)))
    assert expected.shape == (2, 7, 5, 5)
    assert torch.allclose(found[:, :7], expected, atol=1e-6)
    assert not found[:, 7:].any()


def test_its_activation_comes_after_its_bias() -> None:
    layer = ConvAct(2, 3, nn.ReLU())
    assert [name for name, _ in layer.named_parameters()] == ["conv.weight", "conv.bias"]
    assert (layer(torch.randn(4, 2, 3, 3)) >= 0).all()
