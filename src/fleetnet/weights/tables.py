"""Finding the tables of tensors in a file's content, at any depth and in any container."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fleetnet.weights.arrays import Array
from fleetnet.weights.pickles import PickleDamaged, Standin, Unfit, Unusable, shown

Entry = Tensor | Unusable
MAX_DEPTH = 48
MAX_VALUES = 200_000
"""Limit of tensors and containers. A million instructions make far fewer, but they may be referred
to again and again."""
MAX_LETTERS = 100_000_000
"""Limit of characters of all names together."""
_MAX_NAME = 1024


@dataclass(frozen=True)
class Table:
    """A dict of tensors by name.

    Attributes:
        path: the keys under which it is, from the outermost.
        entries: tensors by name, or why they cannot be used.
    """

    path: tuple[str, ...]
    entries: dict[str, Entry]


def find_tables(value: Any, size: int) -> list[Table]:
    """Return every dict of tensors in ``value``, in the order of the file.

    A stand-in's state counts as a dict; that of a whole ``torch.nn.Module`` gives its state dict.

    Args:
        value: plain values, tensors, arrays and stand-ins.
        size: of the file, which arrays together may not exceed.

    Raises:
        PickleDamaged: it has more content than a file of this size can have without repetition.
    """
    walk = _Walk(size)
    walk.into(value, (), 0)
    return [Table(path, entries) for path, entries in walk.found.items()]


_HOLDERS = (Standin, dict, list, tuple)


class _Walk:
    def __init__(self, size: int) -> None:
        self.found: dict[tuple[str, ...], dict[str, Entry]] = {}
        self._values, self._letters, self._bytes = MAX_VALUES, MAX_LETTERS, 2 * size
        self._arrays: dict[int, Entry] = {}
        self._inside: set[int] = set()

    def into(self, value: Any, path: tuple[str, ...], depth: int) -> None:
        self._charge(1, 0)
        if depth > MAX_DEPTH or id(value) in self._inside:
            return
        self._inside.add(id(value))
        self._parts(value, path, depth)
        self._inside.discard(id(value))

    def _parts(self, value: Any, path: tuple[str, ...], depth: int) -> None:
        if isinstance(value, Standin):
            for part in (value.state, value.entries, value.elements, *value.arguments):
                if isinstance(part, _HOLDERS):
                    self.into(part, path, depth + 1)
        elif isinstance(value, Mapping):
            if _is_module(value):
                self._module(value, path, "", depth)
            else:
                self._items(value.items(), path, depth)
        elif isinstance(value, list | tuple):
            self._items(enumerate(value), path, depth)

    def _items(self, items: Any, path: tuple[str, ...], depth: int) -> None:
        for count, (key, value) in enumerate(items):
            if count % 8 == 7:
                self._charge(1, 0)
            if not isinstance(value, (*_HOLDERS, Tensor, Unusable, Array)):
                continue
            name = self._name(key)
            entry = self._entry(value)
            if name is None:
                continue
            if entry is not None:
                self.found.setdefault(path, {}).setdefault(name, entry)
            elif isinstance(value, _HOLDERS):
                self.into(value, (*path, name), depth + 1)

    def _module(
        self, state: Mapping[Any, Any], path: tuple[str, ...], prefix: str, depth: int
    ) -> None:
        """Collect what ``state_dict()`` of a module with ``state`` as ``__dict__`` returns."""
        if depth > MAX_DEPTH:
            return
        passing = state.get("_non_persistent_buffers_set")
        for kind in ("_parameters", "_buffers"):
            for key, value in _pairs(state.get(kind)):
                name, entry = self._name(prefix, key), self._entry(value)
                if name is None or entry is None:
                    continue
                if isinstance(passing, list) and kind == "_buffers" and key in passing:
                    continue
                self.found.setdefault(path, {}).setdefault(name, entry)
        for key, child in _pairs(state.get("_modules")):
            name = self._name(prefix, key)
            inner = _state_of(child)
            if name is not None and inner is not None:
                self._module(inner, path, f"{name}.", depth + 1)

    def _name(self, *parts: Any) -> str | None:
        text = "".join(
            part.decode("latin1") if isinstance(part, bytes) else str(part)
            for part in parts
            if isinstance(part, str | bytes | int)
        )
        self._charge(1, len(text))
        return text if 0 < len(text) <= _MAX_NAME else None

    def _charge(self, values: int, letters: int) -> None:
        """Count the objects visited, because containers may contain themselves."""
        self._values -= values
        self._letters -= letters
        if self._values < 0 or self._letters < 0:
            raise PickleDamaged("would unpack to far more than it is: refused")

    def _entry(self, value: Any) -> Entry | None:
        if isinstance(value, Tensor | Unusable):
            return value
        if isinstance(value, Array):
            if id(value) not in self._arrays:
                self._arrays[id(value)] = self._of_array(value)
            return self._arrays[id(value)]
        # PaddlePaddle writes a tensor outside of a plain state dict as a pair with its name.
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
            return self._entry(value[1]) if isinstance(value[1], Array | Tensor) else None
        return None

    def _of_array(self, value: Array) -> Entry:
        try:
            array = value.numpy()
        except Unfit as error:
            return Unusable(str(error))
        self._bytes -= array.nbytes
        if self._bytes < 0:
            raise PickleDamaged("claims to hold more than it does: refused")
        return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))


def _pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()


def _is_module(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(value.get(key), Mapping) for key in ("_parameters", "_modules"))


def _state_of(value: Any) -> Mapping[Any, Any] | None:
    state = value.state if isinstance(value, Standin) else None
    return state if isinstance(state, Mapping) and _is_module(state) else None


def grouped(names: list[str], groups: Mapping[str, str]) -> list[str]:
    """Return a few words for many names: those of one group are counted.

    Args:
        names: the names to summarise.
        groups: returns the group of a name.
    """
    counted: dict[str, list[str]] = {}
    for name in names:
        counted.setdefault(groups[name], []).append(name)
    return [
        shown(members[0]) if len(members) == 1 else f"{shown(group)} ({len(members)} tensors)"
        for group, members in counted.items()
    ]
