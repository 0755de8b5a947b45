"""The metadata of an ONNX file, read and changed without a library for ONNX."""

from __future__ import annotations

from collections.abc import Iterator

ONNX_METADATA_KEY = "fleetnet"
"""The key of the manifest, which is stored there without its artifacts."""
_METADATA_FIELD = 14
"""Number of ``metadata_props`` in ONNX's ``ModelProto``."""


def onnx_metadata(data: bytes) -> dict[str, str]:
    """Return the metadata of an ONNX model.

    This reads only the outermost level of the protobuf encoding: the base install has no ONNX
    library, not every engine reads metadata, and parsing the whole graph would be slow.

    Raises:
        ValueError: ``data`` is not a protobuf message.
    """
    found: dict[str, str] = {}
    for number, value in _protobuf_fields(memoryview(data)):
        if number == _METADATA_FIELD and isinstance(value, memoryview):
            entry = dict(_protobuf_fields(value))
            key, text = entry.get(1), entry.get(2)
            if isinstance(key, memoryview) and isinstance(text, memoryview):
                found[str(key, "utf-8")] = str(text, "utf-8")
    return found


def with_onnx_metadata(data: bytes, key: str, text: str) -> bytes:
    """Return an ONNX model with another text for a key of its metadata; all else is as it was.

    Raises:
        ValueError: ``data`` is not a protobuf message.
    """
    kept, begin = bytearray(), 0
    for number, value, end in _spans(memoryview(data)):
        if number != _METADATA_FIELD or not _is_entry(value, key):
            kept += data[begin:end]
        begin = end
    entry = _field(1, key.encode()) + _field(2, text.encode())
    return bytes(kept + _field(_METADATA_FIELD, entry))


def _is_entry(value: int | memoryview, key: str) -> bool:
    found = dict(_protobuf_fields(value)).get(1) if isinstance(value, memoryview) else None
    return isinstance(found, memoryview) and bytes(found) == key.encode()


def _field(number: int, content: bytes) -> bytes:
    return _as_varint(number << 3 | 2) + _as_varint(len(content)) + content


def _as_varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _protobuf_fields(data: memoryview) -> list[tuple[int, int | memoryview]]:
    return [(number, value) for number, value, _ in _spans(data)]


def _spans(data: memoryview) -> Iterator[tuple[int, int | memoryview, int]]:
    """Yield the number and the value of each field, and where it ends."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield number, value, position
            continue
        if kind == 2:
            length, position = _varint(data, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError("not an ONNX file")
        if position + length > len(data):
            raise ValueError("the ONNX file is truncated")
        position += length
        yield number, data[position - length : position], position


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(data):
            raise ValueError("the ONNX file is truncated")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("not an ONNX file")
