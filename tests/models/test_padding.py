"""Folding and padding change no answer."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fleetnet.models import build_model
from fleetnet.models.folding import fold_batch_norm, fold_input_scale
from fleetnet.models.layers import InvertedResidual
from fleetnet.models.network import BlockSetting, MobileNetwork, NetworkSetting
from fleetnet.models.padding import MULTIPLE, pad_channels, padded_width

widths = st.integers(1, 41)


@st.composite
def network_settings(draw: st.DrawFn) -> NetworkSetting:
    """Any chain of blocks of the kinds that the families have, at any widths."""
    act = draw(st.sampled_from([nn.SiLU, nn.ReLU6, nn.Hardswish]))
    stem = channels = draw(widths)
    blocks: list[BlockSetting] = []
    for _ in range(draw(st.integers(1, 3))):
        out, stride, expand = draw(widths), draw(st.integers(1, 2)), draw(st.booleans())
        blocks.append(
            BlockSetting(
                in_channels=channels,
                out_channels=out,
                hidden=draw(widths) if expand else channels,
                stride=stride,
                expand=expand,
                squeezed=draw(st.integers(0, 9)),
                shortcut=stride == 1 and channels <= out and draw(st.booleans()),
                kernel_size=draw(st.sampled_from([3, 5])),
                act=draw(st.sampled_from([None, nn.ReLU, nn.Hardswish])),
                gate_slope=draw(st.sampled_from([0.0, 1 / 6, 1 / 5])),
            )
        )
        channels = out
    return NetworkSetting(
        stem,
        tuple(blocks),
        draw(widths),
        draw(st.integers(0, 9)),
        act,
        padding=draw(st.sampled_from(["symmetric", "same"])),
        norm_eps=draw(st.sampled_from([1e-5, 1e-3])),
        neck_form=draw(st.sampled_from(["linear-norm", "linear", "conv"])),
        neck_act=draw(st.sampled_from([nn.ReLU6, nn.Hardswish])),
        neck_bias=draw(st.booleans()),
        kept=draw(st.sampled_from([1.0, 0.8])),
    )


def randomise(network: nn.Module, seed: int) -> None:
    """Give everything random content, biases among it: zeros would hide mistakes."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0, 1 / math.sqrt(max(parameter[0].numel(), 4)))
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.3)
        elif name.endswith("running_var"):
            buffer.uniform_(0.3, 3)


def largest_difference(found: Tensor, expected: Tensor) -> float:
    """Relative to the largest value: random networks have logits of any size."""
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-3))


@given(
    network_settings(), st.sampled_from([1, 2, 4, 8, 16]), st.integers(1, 4), st.integers(0, 2**31)
)
@settings(max_examples=60)
@pytest.mark.slow
def test_padding_changes_no_answer(
    setting: NetworkSetting, multiple: int, in_channels: int, seed: int
) -> None:
    network = MobileNetwork(setting, 5, in_channels=in_channels)
    randomise(network, seed)
    folded = fold_batch_norm(network.eval())
    scale = torch.rand(in_channels) + 0.01
    padded = pad_channels(fold_input_scale(folded, scale), multiple)
    images = torch.randn(2, in_channels, 33, 32) * 100
    with torch.inference_mode():
        expected = network(images * scale[:, None, None])
        assert largest_difference(folded(images * scale[:, None, None]), expected) < 1e-4
        assert largest_difference(padded(images), expected) < 1e-4
    for name, module in padded.named_modules():
        # The neck may be a convolution, whose width stays as that of a linear layer does.
        if isinstance(module, nn.Conv2d) and not name.startswith("neck"):
            assert module.out_channels == padded_width(module.out_channels, multiple)
            assert module.weight.shape[0] == module.out_channels
            assert module.weight.shape[1] * module.groups == module.in_channels


@given(st.integers(1, 5000), st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_widths_grow_by_less_than_a_multiple(channels: int, multiple: int) -> None:
    width = padded_width(channels, multiple)
    assert channels <= width < channels + multiple
    assert width % multiple == 0 or (width <= 2 * multiple and width % max(multiple // 2, 1) == 0)
    assert padded_width(width, multiple) == width


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "growth"),
    [
        ("ReXNet_1_0", 0.04),
        pytest.param("ReXNet_3_0", 0.02, marks=pytest.mark.slow),
        ("MobileNetV2_x0_25", 0.01),
        ("MobileNetV2", 0),
    ],
)
def test_weights_grow_by_little(name: str, growth: float) -> None:
    folded = fold_batch_norm(build_model(name))
    before, after = (
        sum(parameter.numel() for parameter in network.parameters())
        for network in (folded, pad_channels(folded))
    )
    assert before <= after <= before * (1 + growth)


def test_the_new_channels_are_zero_in_every_layer() -> None:
    network = build_model("ReXNet_1_0", 3)
    randomise(network, 1)
    folded = fold_batch_norm(network)
    padded = pad_channels(folded)
    assert isinstance(folded, MobileNetwork)
    assert isinstance(padded, MobileNetwork)
    images = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        outputs = zip(
            [folded.stem(images), *_block_outputs(folded, images)],
            [padded.stem(images), *_block_outputs(padded, images)],
            strict=True,
        )
        widened = 0
        for expected, found in outputs:
            channels = expected.shape[1]
            assert found.shape[1] % (MULTIPLE // 2) == 0
            assert largest_difference(found[:, :channels], expected) < 1e-4
            assert not found[:, channels:].any()
            widened += found.shape[1] > channels
    assert widened > 8


def _block_outputs(network: MobileNetwork, images: Tensor) -> list[Tensor]:
    outputs = [network.stem(images)]
    for block in network.blocks:
        outputs.append(block(outputs[-1]))
    return outputs[1:]


def test_the_network_itself_stays_as_it_was() -> None:
    network = fold_batch_norm(build_model("ReXNet_lite_1_0", 3))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    pad_channels(fold_input_scale(network, torch.full((3,), 0.5)))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_batch_norm_has_to_be_folded_first() -> None:
    with pytest.raises(ValueError, match="fold them first"):
        pad_channels(build_model("MobileNetV2_x0_25"))


@given(st.integers(1, 9), st.integers(0, 9))
@settings(max_examples=15)
def test_the_shortcut_reaches_the_first_channels(channels: int, more: int) -> None:
    """The shortcut is the input padded with zeros: the paper's slice, addition and join."""
    block = InvertedResidual(
        channels,
        channels + more,
        hidden=channels,
        stride=1,
        expand=False,
        squeezed=0,
        shortcut=True,
        expand_act=nn.SiLU,
    ).eval()
    x = torch.randn(2, channels, 4, 4)
    with torch.inference_mode():
        found = block(x)
        block.shortcut = False
        y = block(x)
    assert torch.equal(found[:, :channels], y[:, :channels] + x)
    assert torch.equal(found[:, channels:], y[:, channels:])
