"""Images computed by a formula, and the trained network's answers to them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fleetnet.bundle.strict import Strict


class SelfTest(Strict):
    """The trained network's answers to made-up images, by which any host can check itself.

    Pixel ``k`` of image ``n``, counted along height, width and channel, is the top byte of the
    32-bit product ``(k + 1 + n * 1000003) * 2654435761``, which is one line in any language.
    """

    logits: tuple[tuple[float, ...], ...]

    def pixels(self, crop: int) -> npt.NDArray[np.uint8]:
        """Return the made-up images, ``uint8[N, crop, crop, 3]``."""
        return self_test_pixels(len(self.logits), crop)


def self_test_pixels(count: int, crop: int) -> npt.NDArray[np.uint8]:
    """Return the first ``count`` made-up images of :class:`SelfTest`."""
    k = np.arange(crop * crop * 3, dtype=np.uint64)
    n = np.arange(count, dtype=np.uint64)[:, None]
    product = (k + np.uint64(1) + n * np.uint64(1000003)) * np.uint64(2654435761)
    top = (product & np.uint64(0xFFFFFFFF)) >> np.uint64(24)
    return top.astype(np.uint8).reshape(count, crop, crop, 3)
