"""Checking that a graph is the one that the manifest describes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError


def check_graph(
    bundle: Bundle, path: Path, shape: Sequence[object], outputs: Collection[str]
) -> None:
    """Refuse a graph that does not take the images that the manifest describes.

    Args:
        bundle: its manifest describes the images.
        path: of the graph, for the message.
        shape: of its input, without the batch dimension.
        outputs: the names of its outputs.

    Raises:
        BundleError: it takes another size of image, or gives no logits.
    """
    side = bundle.manifest.preprocess.crop
    if list(shape) != [side, side, 3]:
        raise BundleError(
            f"{path} takes images of {'×'.join(map(str, shape))}, the manifest says "
            f"{side}×{side}×3: export the bundle anew"
        )
    if "logits" not in outputs:
        raise BundleError(f"{path} gives no logits: export the bundle anew")
