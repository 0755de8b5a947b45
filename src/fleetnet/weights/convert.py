"""Weights in the layout and the format of another project."""

from __future__ import annotations

from pathlib import Path

from fleetnet.errors import CheckpointError, unknown
from fleetnet.weights.adapter import Adapter, adapters
from fleetnet.weights.identify import from_ours, to_ours
from fleetnet.weights.read import WeightsFile
from fleetnet.weights.write import check_writable, write_weights

_USUAL = {".pdparams": "paddle"}
"""Layouts that a format's readers expect; of any other it is ours."""


def convert_weights(read: WeightsFile, output: Path, layout: str | None = None) -> Adapter:
    """Write weights to a file, with the names and shapes of a source.

    Args:
        read: the weights.
        output: where to write; the extension says the format.
        layout: word of the source, see :func:`fleetnet.weights.adapter.adapters`; None for
            PaddlePaddle's in a ``.pdparams`` file, and for ours in any other.

    Returns:
        The source whose layout was written.

    Raises:
        CheckpointError: ``output`` is the file that was read, or of no format that can be written,
            or the source does not have the network.
        FleetnetError: no such layout, the disk is full, or the place cannot be written to.
    """
    check_other_file(read.path, output)
    check_writable(output)
    known = adapters()
    target = layout or _USUAL.get(output.suffix, "fleetnet")
    if target not in known:
        raise unknown("layout", target, known)
    identity = read.identity
    state = from_ours(to_ours(read.state, identity), identity.entry, known[target])
    write_weights(output, state)
    return known[target]


def check_other_file(file: Path, output: Path) -> None:
    """Refuse to write over what is converted.

    Raises:
        CheckpointError: both are one file.
    """
    if output.exists() and file.exists() and output.samefile(file):
        raise CheckpointError(f"{output} is the file to convert: choose another place")
