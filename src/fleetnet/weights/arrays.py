"""NumPy's arrays and Python's own containers, as a pickle makes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.weights.pickles import Buildable, Makers, Unfit, key_of, shown

_CODES = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"))
_CORES = ("numpy.core", "numpy._core")


class ArrayType(Buildable):
    """Stands for ``numpy.dtype``: a code from a short list, and a byte order."""

    def __init__(self, code: Any, *_: object) -> None:
        self.code = code if isinstance(code, str) else "an unknown one"
        self.order = "<"

    def build(self, state: Any) -> None:
        """Take the byte order from NumPy's pickled state of a type."""
        order = state[1]
        self.order = order if order in ("<", ">", "|", "=") else "an unknown one"

    def numpy(self) -> np.dtype[Any]:
        """Return NumPy's type.

        Raises:
            Unfit: it is not a type of plain numbers.
        """
        if self.code not in _CODES:
            raise Unfit(f"is an array of type {shown(self.code)!r}")
        if len(self.order) != 1:
            raise Unfit("is an array of an unknown byte order")
        return np.dtype(self.order + self.code)


class Array(Buildable):
    """Stands for ``numpy.ndarray``: a shape, a type and bytes that must fit them."""

    def __init__(self) -> None:
        self._state: Any = None

    def build(self, state: Any) -> None:
        """Take NumPy's pickled state of an array."""
        self._state = state

    def numpy(self) -> npt.NDArray[Any]:
        """Return NumPy's array.

        Raises:
            Unfit: it is of objects, or its bytes do not fit its shape.
        """
        if not isinstance(self._state, tuple) or len(self._state) != 5:
            raise Unfit("is an array without content")
        _, shape, kind, fortran, data = self._state
        return _array(data, kind, shape, "F" if fortran else "C")


def _array(data: Any, kind: Any, shape: Any, order: Any) -> npt.NDArray[Any]:
    # Python 2 wrote bytes as text.
    data = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(kind, ArrayType) or not isinstance(data, bytes | bytearray):
        raise Unfit("is an array of objects")
    sides = (shape,) if isinstance(shape, int) else shape
    if not isinstance(sides, tuple) or len(sides) > 8 or not all(map(_is_size, sides)):
        raise Unfit("is an array of an impossible shape")
    dtype = kind.numpy()
    if math.prod(sides) * dtype.itemsize != len(data):
        raise Unfit("is an array whose bytes do not fit its shape")
    return np.frombuffer(data, dtype).reshape(sides, order="F" if order == "F" else "C")


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> Array:
    array = Array()
    array.build((1, shape, kind, order == "F", data))
    return array


def _encode(text: Any, encoding: Any) -> bytes:
    """Stand for ``_codecs.encode``, with which old protocols write bytes."""
    if encoding != "latin1" or not isinstance(text, str):
        raise Unfit("is bytes in an unexpected encoding")
    return text.encode("latin1")


def _bytes(content: Any = b"", *_: object) -> bytes:
    """Stand for ``bytes``, which protocol 2 calls for an empty array's content."""
    return bytes(content) if isinstance(content, bytes) else b""


def _pairs(*arguments: Any) -> dict[Any, Any]:
    """Stand for a kind of dict: only those of its arguments count that are entries."""
    made: dict[Any, Any] = {}
    for argument in arguments:
        if isinstance(argument, dict):
            made |= argument
        elif isinstance(argument, list | tuple):
            for pair in argument:
                if isinstance(pair, list | tuple) and len(pair) == 2:
                    made[key_of(pair[0])] = pair[1]
    return made


def _items(*arguments: Any) -> list[Any]:
    return list(arguments[0]) if arguments and isinstance(arguments[0], list | tuple) else []


def _tuple_of(*arguments: Any) -> tuple[Any, ...]:
    return tuple(_items(*arguments))


def _builtins() -> dict[str, Callable[..., Any]]:
    makers: dict[str, Callable[..., Any]] = {
        "bytes": _bytes,
        "dict": _pairs,
        "list": _items,
        "set": _items,
        "frozenset": _items,
        "tuple": _tuple_of,
    }
    return {
        f"{module}.{name}": maker
        for module in ("builtins", "__builtin__")
        for name, maker in makers.items()
    }


PLAIN: Makers = {
    **_builtins(),
    "collections.OrderedDict": _pairs,
    "collections.defaultdict": _pairs,
    "collections.Counter": _pairs,
    "numpy.dtype": ArrayType,
    "numpy.ndarray": lambda *_: Array(),
    "_codecs.encode": _encode,
    **{f"{core}.multiarray._reconstruct": lambda *_: Array() for core in _CORES},
    **{f"{core}.numeric._frombuffer": _from_buffer for core in _CORES},
}
"""Python's own containers and NumPy's arrays."""
