"""Grad-CAM against the analytic map, and against where a thing is."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fleetnet.evaluation.explain import GradCam
from fleetnet.evaluation.heatmap import colours, overlay
from fleetnet.models import build_model
from fleetnet.models.base import Network
from fleetnet.preprocess import Preprocess

PREPROCESS = Preprocess(resize=64, crop=64)
FAMILIES = (
    "MobileNetV2_x0_25",
    "mobilenetv2_035",
    "ReXNet_1_0",
    "ReXNet_lite_1_0",
    "PPLCNet_x0_25",
    "MobileNetV4_conv_small",
    "MobileNetV1_x0_25",
    "MobileNetV3_small_x0_35",
    "ShuffleNetV2_x0_25",
    "GhostNet_x0_5",
)


def network_of(name: str, classes: int = 4) -> Network:
    torch.manual_seed(0)
    network = build_model(name, classes)
    assert isinstance(network, Network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            assert module.running_var is not None
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight)
    return network.eval()


def images(count: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def normalised(pixels: np.ndarray) -> torch.Tensor:
    scale, shift = PREPROCESS.normalisation()
    return torch.from_numpy(pixels * scale + shift).float().permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", ["MobileNetV2_x0_25", "ReXNet_1_0"])
def test_after_pooling_and_a_linear_layer_grad_cam_is_the_class_activation_map(name: str) -> None:
    """Zhou et al. 2016: there the map is the classifier's weights times the features."""
    network = network_of(name)
    pixels, classes = images(3), [1, 0, 3]
    heat = GradCam(network, PREPROCESS)(pixels, classes)
    with torch.no_grad():
        features = network.forward_features(normalised(pixels))
        weights = network.get_parameter("classifier.weight")[classes]
        expected = functional.relu(torch.einsum("nf,nfhw->nhw", weights, features))
        expected = functional.interpolate(expected[:, None], (64, 64), mode="bilinear")[:, 0]
        expected = torch.nan_to_num(expected / expected.amax((1, 2), keepdim=True))
    assert expected.any()
    assert np.allclose(heat, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_heat_from_0_to_1(name: str) -> None:
    network = network_of(name).train()
    pixels = images(10)
    cam = GradCam(network, PREPROCESS)
    heat = cam(pixels, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1])
    assert heat.shape == (10, 64, 64)
    assert heat.dtype == np.float32
    highest = heat.max(axis=(1, 2))
    assert heat.min() >= 0
    assert np.all((highest == 0) | (np.abs(highest - 1) < 1e-6))
    assert highest.any()
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert np.allclose(cam(pixels[8:], [0, 1]), heat[8:], atol=1e-3)
    assert cam(pixels[:0], []).shape == (0, 0, 0)


def test_the_head_that_is_explained_is_the_networks_own() -> None:
    """The neck of a lite network is a layer more: its gradient has to be in the weights."""
    network = network_of("ReXNet_lite_1_0")
    pixels = images(1)
    features = network.forward_features(normalised(pixels)).detach().requires_grad_()
    logits = network.classify(features)
    assert torch.allclose(logits, network(normalised(pixels)), atol=1e-4)


def test_the_heat_moves_with_what_is_seen() -> None:
    network = network_of("MobileNetV2_x0_25")
    pixels = np.full((2, 192, 192, 3), 127, np.uint8)
    patch = np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    pixels[0, 8:56, 8:56] = patch
    pixels[1, 136:184, 136:184] = patch
    preprocess = Preprocess(resize=192, crop=192)
    scale, shift = preprocess.normalisation()
    inputs = torch.from_numpy(pixels * scale + shift).float().permute(0, 3, 1, 2)
    with torch.no_grad():
        features = network.forward_features(inputs)
        first, last = (features[:, :, k, k].mean((2, 3)) for k in (slice(2), slice(-2, None)))
        # A class that is whatever the patch changes where it is.
        network.get_parameter("classifier.weight")[2] = first[0] - first[1] + last[1] - last[0]
    one, other = GradCam(network, preprocess)(pixels, [2, 2])
    assert one[:64, :64].mean() > 1.5 * other[:64, :64].mean()
    assert other[128:, 128:].mean() > 1.5 * one[128:, 128:].mean()


def test_without_evidence_for_a_class_there_is_no_heat() -> None:
    network = network_of("MobileNetV2_x0_25")
    with torch.no_grad():
        network.get_parameter("classifier.weight").zero_()
    assert not GradCam(network, PREPROCESS)(images(1), [0]).any()


def test_colours_grow_lighter() -> None:
    lightness = colours(np.linspace(0, 1, 50)).astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()


def test_an_overlay_leaves_cold_pixels_as_they_were() -> None:
    pixels = images(1)[0]
    heat = np.zeros((64, 64), np.float32)
    heat[:10] = 1
    over = overlay(pixels, heat)
    assert over.dtype == np.uint8
    assert np.array_equal(over[10:], pixels[10:])
    assert not np.array_equal(over[:10], pixels[:10])
