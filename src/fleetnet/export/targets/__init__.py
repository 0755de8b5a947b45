"""Formats that other runtimes take, one file each."""

from __future__ import annotations

from fleetnet.errors import unknown
from fleetnet.export.targets.registry import TARGETS
from fleetnet.export.targets.target import Files, Run, Target

__all__ = ["TARGETS", "Files", "Run", "Target", "find_target"]


def find_target(word: str) -> tuple[Target, str]:
    """Return the target and the precision that ``openvino:fp16`` names.

    Without a precision it is the target's first.

    Raises:
        FleetnetError: there is no such target, it cannot be loaded, or it does not offer the
            precision.
    """
    name, colon, precision = word.partition(":")
    target = TARGETS.find(name)
    if colon and precision not in target.precisions:
        raise unknown("precision", precision, target.precisions)
    return target, precision or target.precisions[0]
