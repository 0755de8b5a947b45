"""Where in an image the network finds a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from fleetnet.images import Pixels
from fleetnet.models.base import Network
from fleetnet.models.normalisation import Normalisation
from fleetnet.preprocess import Preprocess

BATCH = 8


class GradCam:
    """Gradient-weighted class activation maps on the last feature map (Selvaraju et al. 2017).

    Each channel of the map is weighted by the mean gradient of the class's logit with respect to
    it, the weighted channels are summed, and what speaks against the class is cut off (section 3,
    equations 1 and 2). The map is a small one (1/32 of the input's side in a
    MobileNetV2), so it shows a region, not an outline.

    Args:
        network: of any of our families; used in evaluation mode, on the device it is on.
        preprocess: how its input is normalised.
    """

    def __init__(self, network: Network, preprocess: Preprocess) -> None:
        self._network = network
        self._device = next(network.parameters()).device
        self._normalise = Normalisation(*preprocess.normalisation(), self._device)

    def __call__(
        self, pixels: npt.NDArray[np.uint8], classes: Sequence[int]
    ) -> npt.NDArray[np.float32]:
        """Return how much each place speaks for a class, from 0 to 1 at the image's strongest.

        Args:
            pixels: preprocessed RGB images, ``uint8[N, H, W, 3]``.
            classes: index of the class to look for in each.

        Returns:
            ``float32[N, H, W]``; all 0 where nothing speaks for the class.
        """
        was_training = self._network.training
        self._network.eval()
        try:
            parts = [
                self._heat(pixels[start : start + BATCH], classes[start : start + BATCH])
                for start in range(0, len(pixels), BATCH)
            ]
        finally:
            self._network.train(was_training)
        return np.concatenate(parts) if parts else np.empty((0, 0, 0), np.float32)

    def _heat(self, pixels: Pixels, classes: Sequence[int]) -> npt.NDArray[np.float32]:
        batch = torch.tensor(pixels, device=self._device)
        with torch.no_grad():
            features = self._network.forward_features(self._normalise(batch))
        features.requires_grad_()
        with torch.enable_grad():
            logits = self._network.classify(features)
            chosen = logits[torch.arange(len(classes)), list(classes)].sum()
            (gradient,) = torch.autograd.grad(chosen, features)
        with torch.no_grad():
            weights = gradient.mean((2, 3), keepdim=True)
            heat = functional.relu((weights * features).sum(1, keepdim=True))
            heat = functional.interpolate(heat, pixels.shape[1:3], mode="bilinear")
            highest = heat.amax((2, 3), keepdim=True)
            heat = torch.where(highest > 0, heat / highest, 0.0)
        return np.asarray(heat[:, 0].cpu().numpy(), np.float32)
