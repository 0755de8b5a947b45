"""Writing weights to a file in another project's format."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save as save_safetensors
from torch import Tensor

from fleetnet.errors import CheckpointError
from fleetnet.files import atomic_file

FORMATS = (".safetensors", ".pdparams")


def write_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write tensors by name, in the format of the file's extension.

    ``.safetensors`` is read by PyTorch and many others. ``.pdparams`` is read by ``paddle.load``:
    a pickle of NumPy arrays, without anything that could run code.

    Raises:
        CheckpointError: the extension is neither.
        FleetnetError: the disk is full, or the place cannot be written to.
    """
    check_writable(path)
    plain = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    content = save_safetensors(plain) if path.suffix == ".safetensors" else _pdparams(plain)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def check_writable(path: Path) -> None:
    """Refuse a file whose extension is not a format that can be written.

    Raises:
        CheckpointError: the message names the formats that can.
    """
    if path.suffix not in FORMATS:
        raise CheckpointError(
            f"cannot write {path}: the extension says the format, one of {', '.join(FORMATS)}, or "
            ".ckpt without to=",
            file=str(path),
            known=list(FORMATS),
            arguments=["to"],
        )


def _pdparams(state: Mapping[str, Tensor]) -> bytes:
    """Pickle NumPy arrays under the module name that every NumPy release knows.

    NumPy 2 moved ``numpy.core`` and pickles the new name, which releases before 1.26, and with
    them most installations of PaddleClas, cannot import. Protocol 3 names modules in plain text.
    """
    arrays = {key: value.numpy() for key, value in state.items()}
    content = pickle.dumps(arrays, protocol=3)
    return content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)
