"""Reading a pickle of NumPy arrays without running anything that it holds.

PaddlePaddle writes a state dict as a pickle of a dict of arrays. A pickle is a program: it can name
any function and call it. Here it is scanned first, instruction by instruction, and refused unless
it names nothing but an array and its type; then it is run with stand-ins of our own in place of
even those, which take what they are given as data and check it.
"""

from __future__ import annotations

import io
import itertools
import math
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.errors import CheckpointError

_NUMPY_CORES = ("numpy.core.multiarray", "numpy._core.multiarray")
_CODES = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"))
_REFUSED_OPS = frozenset(
    ("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER")
)
_MEMO_OPS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
MAX_INSTRUCTIONS = 1_000_000
"""A state dict of a network here takes some thirty thousand."""
_DATA_OPS = frozenset(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"))


class _Type:
    """Stands for ``numpy.dtype``: a code from a short list, and a byte order."""

    def __init__(self, code: str, align: object = False, copy: object = False) -> None:  # noqa: ARG002
        if code not in _CODES:
            raise pickle.UnpicklingError(f"an array of type {str(code)[:20]!r}")
        self.code = code
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("an array of an unknown byte order")
        self.order = order


class _Array:
    """Stands for ``numpy.ndarray``: a shape, a type and bytes that must fit them."""

    value: npt.NDArray[Any]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, data = state
        if not isinstance(kind, _Type) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("an array of objects")
        if not all(isinstance(side, int) and side >= 0 for side in shape) or len(shape) > 8:
            raise pickle.UnpicklingError("an array of an impossible shape")
        dtype = np.dtype(kind.order + kind.code)
        if math.prod(shape) * dtype.itemsize != len(data):
            raise pickle.UnpicklingError("an array whose bytes do not fit its shape")
        flat = np.frombuffer(data, dtype)
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def _reconstruct(_: object, shape: object, __: object) -> _Array:
    if shape != (0,):
        raise pickle.UnpicklingError("an array with a shape before its content")
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """Stand for ``_codecs.encode``, by which old protocols write bytes."""
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError("bytes in an unexpected encoding")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Stand for ``bytes``, which protocol 2 calls for an empty array's content."""
    return b""


_ALLOWED: dict[tuple[str, str], Callable[..., Any] | type] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
    **{(core, "_reconstruct"): _reconstruct for core in _NUMPY_CORES},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"'{module}.{name}', which could run code") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError(f"a reference to something outside of it ({pid!r:.40})")


def read_pickle(content: bytes, where: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a pickled dict by name; entries that are no arrays are left out.

    Raises:
        CheckpointError: it names anything else than arrays, and so could run code, or it is
            damaged or not a dict.
    """
    _scan(content, where)
    try:
        value = _Unpickler(io.BytesIO(content)).load()
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{where} holds {error}: refused") from None
    except Exception:
        # On hostile instructions the unpickler raises nearly anything: IndexError, TypeError, …
        raise CheckpointError(f"{where} is damaged: its pickle does not read") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} holds a {type(value).__name__}, not named arrays")
    return {
        str(key): entry.value
        for key, entry in value.items()
        if isinstance(entry, _Array) and hasattr(entry, "value")
    }


def _scan(content: bytes, where: Path) -> None:
    """Refuse what no state dict needs, before anything is built.

    Protocols before 4 name what they call in the instruction itself; later ones take names from
    the stack, and there ``find_class`` refuses.
    """
    try:
        instructions = [
            (operation.name, argument if operation.name not in _DATA_OPS else None)
            for operation, argument, _ in itertools.islice(
                pickletools.genops(content), MAX_INSTRUCTIONS
            )
        ]
    except Exception:
        raise CheckpointError(f"{where} is damaged: its pickle does not read") from None
    if not instructions or instructions[-1][0] != "STOP":
        raise CheckpointError(f"{where} has over {MAX_INSTRUCTIONS:,} pickle instructions: refused")
    for count, (operation, argument) in enumerate(instructions, start=1):
        if operation in _REFUSED_OPS:
            raise CheckpointError(f"{where} uses the pickle instruction {operation}: refused")
        if operation in _MEMO_OPS and isinstance(argument, int) and argument > count:
            # The unpickler would make room for as many entries as the number says.
            raise CheckpointError(f"{where} is damaged: its pickle numbers entries wildly")
        if operation in ("GLOBAL", "INST"):
            _check_name(*str(argument).split(" ", 1), where=where)


def _check_name(module: str, name: str = "", *, where: Path) -> None:
    if (module, name) not in _ALLOWED:
        raise CheckpointError(f"{where} holds '{module}.{name}', which could run code: refused")
