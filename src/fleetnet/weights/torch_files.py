"""Files that ``torch.save`` wrote: their pickle, and the numbers beside it."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fleetnet.weights.arrays import PLAIN
from fleetnet.weights.pickles import Makers, Name, Pickled, PickleDamaged, Unfit, load_pickle

LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The pickled number at the beginning of files of PyTorch before 1.6."""
_DTYPES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
    # Types of quantised tensors, which are refused when a tensor is made.
    "QInt8": torch.int8,
    "QUInt8": torch.uint8,
    "QInt32": torch.int32,
    "QUInt4x2": torch.uint8,
    "QUInt2x4": torch.uint8,
}
_VALUES: dict[str, Any] = {
    **{
        f"{module}.{name}Storage": dtype
        for module in ("torch", "torch.cuda")
        for name, dtype in _DTYPES.items()
    },
    # An untyped storage: the tensor has the type.
    "torch.storage.UntypedStorage": torch.uint8,
    "torch.UntypedStorage": torch.uint8,
    **{
        f"torch.{name}": value
        for name, value in vars(torch).items()
        if isinstance(value, torch.dtype)
    },
}
_MAX_DIMENSIONS = 16


@dataclass(frozen=True)
class _Storage:
    """Numbers in a row, of which tensors are views."""

    dtype: torch.dtype
    content: torch.UntypedStorage


def read_archive(content: bytes) -> Pickled:
    """Read a file of PyTorch 1.6 or newer: a zip archive that is never compressed.

    Raises:
        PickleDamaged: it is damaged, hostile or of another kind; the message is the rest of 'FILE
            …'.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _read_members(archive, len(content))
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError):
        raise PickleDamaged("is not a checkpoint, or it is damaged") from None


def _read_members(archive: zipfile.ZipFile, size: int) -> Pickled:
    entries = {entry.filename: entry for entry in archive.infolist()}
    root = _root(entries)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise PickleDamaged("is a compressed archive, as PyTorch never writes: refused")
    if sum(entry.file_size for entry in entries.values()) > size:
        raise PickleDamaged("claims to hold more than it does: refused")
    if not any(entry.CRC for entry in entries.values()):
        for entry in entries.values():
            entry.CRC = None  # type: ignore[assignment]  # written without a checksum, an option of PyTorch
    order = f"{root}byteorder"
    if order in entries and archive.read(order).strip() != b"little":
        raise PickleDamaged("has its numbers in big-endian order, which is not read here")
    storages: dict[str, _Storage] = {}

    def persistent(reference: Any) -> _Storage:
        kind, dtype, key, _, count = reference
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ValueError
        key = str(key)
        if key not in storages:
            numbers = archive.read(entries[f"{root}data/{key}"])
            if _bytes_of(dtype, count) > len(numbers):
                raise PickleDamaged("claims to hold more than it does: refused")
            storages[key] = _Storage(dtype, _untyped(numbers))
        return _Storage(dtype, storages[key].content)

    pickled = archive.read(f"{root}data.pkl")
    return load_pickle(io.BytesIO(pickled), _MAKERS, _VALUES, persistent)


def _root(entries: dict[str, zipfile.ZipInfo]) -> str:
    """Return the archive's folder with the pickle; the error says what else the archive is."""
    found = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if any(name.endswith(("constants.pkl", "/code")) or "/code/" in name for name in entries):
        raise PickleDamaged(
            "is a TorchScript archive, a program with its weights in it: save only the weights, "
            "torch.save(torch.jit.load(FILE).state_dict(), OTHER)"
        )
    if len(found) == 1:
        return found[0].removesuffix("data.pkl")
    if any("exported_program" in name or name.endswith("archive_format") for name in entries):
        raise PickleDamaged(
            "is an exported program of torch.export, not weights: save the state_dict of the "
            "network that it was made from"
        )
    raise PickleDamaged("is a zip archive, but not one that torch.save wrote")


def read_legacy(content: bytes) -> Pickled:
    """Read a file of PyTorch before 1.6: five pickles in a row, then the numbers.

    Raises:
        PickleDamaged: it is damaged or hostile; the message is the rest of 'FILE …'.
    """
    storages = _LegacyStorages(len(content))
    stream = io.BytesIO(content)
    for _ in range(2):
        load_pickle(stream, PLAIN)
    system = load_pickle(stream, PLAIN).value
    if not (isinstance(system, dict) and system.get("little_endian") is True):
        raise PickleDamaged("has its numbers in big-endian order, which is not read here")
    pickled = load_pickle(stream, _MAKERS, _VALUES, storages.persistent)
    keys = load_pickle(stream, PLAIN).value
    storages.fill(stream, keys)
    return pickled


@dataclass
class _LegacyStorages:
    """Storages: made when the pickle mentions them, filled after its end."""

    left: int
    """How many bytes the file may still claim."""
    made: dict[str, _Storage] = field(default_factory=dict)

    def persistent(self, reference: Any) -> _Storage | Name:
        kind, *rest = reference
        if kind == "module":
            name: Name = rest[0]  # with the source of the class beside it
            return name
        dtype, key, _, count, view = rest
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ValueError
        key = str(key)
        if key not in self.made:
            size = _bytes_of(dtype, count)
            self.left -= size
            if self.left < 0:
                raise PickleDamaged("claims to hold more than it does: refused")
            self.made[key] = _Storage(dtype, _empty(size))
        storage = self.made[key]
        if view is None:
            return storage
        _, start, length = view
        begin, end = _bytes_of(dtype, start), _bytes_of(dtype, start + length)
        return _Storage(dtype, storage.content[begin:end])

    def fill(self, stream: io.BytesIO, keys: Any) -> None:
        if not isinstance(keys, list) or set(map(str, keys)) != set(self.made):
            raise PickleDamaged("is damaged: it lists other storages than it has")
        for key in map(str, keys):
            storage = self.made[key]
            size = storage.content.nbytes()
            head = stream.read(8)
            numbers = stream.read(size)
            if len(head) < 8 or len(numbers) < size:
                raise PickleDamaged("is damaged: it ends too early")
            if _bytes_of(storage.dtype, struct.unpack("<q", head)[0]) != size:
                raise PickleDamaged("is damaged: a storage has another length than it was given")
            storage.content.copy_(_untyped(numbers))


def _bytes_of(dtype: torch.dtype, count: Any) -> int:
    if type(count) is not int or not 0 <= count < 2**60:
        raise ValueError
    return count * dtype.itemsize


def _empty(size: int) -> torch.UntypedStorage:
    return torch.empty(size, dtype=torch.uint8).untyped_storage()


def _untyped(numbers: bytes) -> torch.UntypedStorage:
    if not numbers:
        return _empty(0)
    return torch.frombuffer(bytearray(numbers), dtype=torch.uint8).untyped_storage()


# Tensors, as the functions of torch._utils would make them.


def _tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any = False,  # noqa: ARG001 - not needed to read weights
    hooks: Any = None,  # noqa: ARG001
    metadata: Any = None,
) -> Tensor:
    return _view(storage, storage.dtype, offset, size, stride, metadata)


def _typed_tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,  # noqa: ARG001
    hooks: Any,  # noqa: ARG001
    dtype: Any,
    metadata: Any = None,
) -> Tensor:
    return _view(storage, dtype, offset, size, stride, metadata)


def _view(storage: Any, dtype: Any, offset: Any, size: Any, stride: Any, metadata: Any) -> Tensor:
    if not isinstance(storage, _Storage) or not isinstance(dtype, torch.dtype):
        raise Unfit("is not a plain tensor")
    numbers = (offset, *size, *stride)
    if any(type(number) is not int or not 0 <= number < 2**60 for number in numbers):
        raise Unfit("has an impossible shape")
    if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
        raise Unfit("has an impossible shape")
    if metadata:
        raise Unfit("is conjugated or negated lazily, not a plain tensor")
    held = storage.content.nbytes()
    elements = math.prod(size)
    reach = offset
    if elements:
        reach += 1 + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    # With strides, a tensor can claim more elements than there are.
    if max(elements, reach) * dtype.itemsize > held:
        raise Unfit("claims more than the file holds")
    return torch.empty(0, dtype=dtype).set_(storage.content, offset, tuple(size), tuple(stride))


def _parameter(data: Any, *_: object) -> Tensor:
    if not isinstance(data, Tensor):
        raise Unfit("is not a plain tensor")
    return data


def _from_type(function: Any, _: object, arguments: Any, *__: object) -> Any:
    """Stand for a function that wraps a tensor in another class: the tensor is used."""
    maker = _TENSORS.get(function.text) if isinstance(function, Name) else None
    if maker is None or maker is _from_type:
        raise Unfit("is not a plain tensor")
    return maker(*arguments)


def _refused(kind: str) -> Callable[..., Any]:
    def refuse(*_: object) -> Any:
        raise Unfit(f"is {kind}, not a plain tensor")

    return refuse


_TENSORS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch._utils._rebuild_qtensor": _refused("quantised"),
    "torch._utils._rebuild_sparse_tensor": _refused("sparse"),
    "torch._utils._rebuild_sparse_csr_tensor": _refused("sparse"),
    "torch._utils._rebuild_nested_tensor": _refused("nested"),
    "torch._utils._rebuild_meta_tensor_no_storage": _refused("of the meta device, without numbers"),
    "torch._utils._rebuild_wrapper_subclass": _refused("of a subclass of tensor"),
    "torch._utils._rebuild_device_tensor_from_numpy": _refused("of another device"),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _refused("of another device"),
}
_MAKERS: Makers = {**PLAIN, **_TENSORS, "torch.Size": PLAIN["builtins.tuple"]}
