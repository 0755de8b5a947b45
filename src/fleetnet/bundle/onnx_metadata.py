"""The metadata of an ONNX file, read without a library for ONNX."""

from __future__ import annotations

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


def _protobuf_fields(data: memoryview) -> list[tuple[int, int | memoryview]]:
    fields: list[tuple[int, int | memoryview]] = []
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = _varint(data, position)
            fields.append((number, value))
            continue
        if kind == 2:
            length, position = _varint(data, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError("not an ONNX file")
        if position + length > len(data):
            raise ValueError("the ONNX file is truncated")
        fields.append((number, data[position : position + length]))
        position += length
    return fields


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
