"""Checking that a graph is the one that the manifest describes, and that it can be computed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError, FleetnetError, one_line
from fleetnet.inference.engines.engine import Engine

_NUMBERED = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
"""What ONNX Runtime puts before its reasons only in Python."""


def check_graph(
    bundle: Bundle, path: Path, inputs: int, shape: Sequence[object], outputs: Collection[str]
) -> None:
    """Refuse a graph that does not take the images that the manifest describes.

    Args:
        bundle: its manifest describes the images.
        path: of the graph, for the message.
        inputs: how many it takes.
        shape: of its first input, without the batch dimension.
        outputs: the names of its outputs.

    Raises:
        BundleError: it takes another size of image or something else, or gives no logits.
    """
    if inputs != 1:
        raise BundleError(f"{path} takes {inputs} inputs instead of one: export the bundle anew")
    side = bundle.manifest.preprocess.crop
    if list(shape) != [side, side, 3]:
        raise BundleError(
            f"{path} takes images of {'×'.join(map(str, shape))}, the manifest says "
            f"{side}×{side}×3: export the bundle anew"
        )
    if "logits" not in outputs:
        raise BundleError(f"{path} gives no logits: export the bundle anew")


@contextlib.contextmanager
def said_in_one_line(engine: Engine) -> Iterator[None]:
    """Say in one line what a runtime says in the block, where it computes.

    Raises:
        FleetnetError: it cannot compute this network.
    """
    try:
        yield
    except (FleetnetError, MemoryError):
        raise
    except Exception as error:
        # The runtimes' exceptions share no public base class.
        reason = _NUMBERED.sub("", one_line(error))
        raise FleetnetError(
            f"{engine.name} cannot compute this network in {engine.precision} on the device "
            f"{engine.device}: {reason}"
        ) from error
