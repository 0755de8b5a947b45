"""How a message is written in a frame: its format, its compression, and its checksum."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from types import ModuleType

import google_crc32c
import numpy as np
from google.protobuf import json_format, text_format
from google.protobuf.message import Message

from fleetnet.serving.errors import RequestError, TooLargeError, UnsupportedError

Bytes = bytes | memoryview
PLAIN, SNAPPY, GZIP, ZLIB, LZ4 = range(5)
PROTOBUF, JSON, PROTO_JSON, PROTO_TEXT = range(4)
CRC32C = 1
MAX_TEXT = 4 * 2**20
"""Bytes of JSON or text: in memory they take many times what they take on the wire."""
_NAMES = {SNAPPY: "snappy", GZIP: "gzip", ZLIB: "zlib", LZ4: "lz4"}
_WBITS = {GZIP: 31, ZLIB: 15}
_VALUE = struct.Struct("!I")


def checksum_of(*pieces: Bytes) -> bytes:
    """Return the masked CRC-32C of bytes, as a frame has it."""
    crc = 0
    for piece in pieces:
        # Of what it takes without a copy, NumPy's arrays are the only that can be made of a view.
        crc = google_crc32c.extend(crc, np.frombuffer(piece, np.uint8)) if len(piece) else crc
    turned = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    return _VALUE.pack((turned + 0xA282EAD8) & 0xFFFFFFFF)


def check(kind: int, value: bytes, *pieces: Bytes) -> None:
    """Compare bytes with their checksum, unless there is none.

    Raises:
        RequestError: they are not the same that were sent.
        UnsupportedError: the kind of checksum is not known.
    """
    if not kind:
        return
    if kind != CRC32C:
        raise UnsupportedError(f"the checksum type {kind} is not known: use 1, crc32c")
    if value != checksum_of(*pieces):
        raise RequestError("the checksum is wrong: the request was damaged on its way")


def known(compression: int, content: int) -> None:
    """Refuse what cannot be read before it is received.

    Raises:
        UnsupportedError: the compression or the format is not known here.
    """
    if compression == SNAPPY:
        _cramjam()
    elif compression != PLAIN and compression not in _WBITS:
        name = _NAMES.get(compression, "not known")
        raise UnsupportedError(f"the compress type {compression} ({name}) is not taken")
    if not PROTOBUF <= content <= PROTO_TEXT:
        raise UnsupportedError(f"the content type {content} is not known")


def decompressed(kind: int, data: Bytes, limit: int) -> bytes:
    """Return what was compressed.

    Raises:
        RequestError: it is damaged.
        TooLargeError: it is larger than the limit.
    """
    if kind == PLAIN:
        return bytes(data)
    try:
        plain = _unsnapped(data, limit) if kind == SNAPPY else _inflated(kind, data, limit)
    except ValueError:
        raise RequestError(f"the message is not valid {_NAMES[kind]}") from None
    if plain is None:
        raise TooLargeError(f"the message is larger than {limit:,} bytes", limit=limit)
    return plain


def _inflated(kind: int, data: Bytes, limit: int) -> bytes | None:
    unpacker = zlib.decompressobj(_WBITS[kind])
    try:
        plain = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError from error
    if len(plain) > limit:
        return None
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError
    return plain


def _unsnapped(data: Bytes, limit: int) -> bytes | None:
    snappy = _cramjam().snappy
    try:
        if snappy.decompress_raw_len(data) > limit:
            return None
        return bytes(snappy.decompress_raw(data))
    except _cramjam().DecompressionError as error:
        raise ValueError from error


def compressed(kind: int, data: bytes) -> bytes:
    """Return bytes compressed in a way that :func:`known` knows."""
    if kind == PLAIN:
        return data
    if kind == SNAPPY:
        return bytes(_cramjam().snappy.compress_raw(data))
    return zlib.compress(data, 1, _WBITS[kind])


def _cramjam() -> ModuleType:
    try:
        import cramjam
    except ImportError:
        raise UnsupportedError(
            "snappy is not installed on this server: use gzip or zlib, or install 'cramjam' there"
        ) from None
    module: ModuleType = cramjam
    return module


def to_protobuf(content: int, kind: type[Message], data: bytes) -> bytes:
    """Return a message that came in any of the formats in that of protobuf.

    Raises:
        RequestError: it is no such message.
        TooLargeError: it is too large to be read as text.
    """
    if content == PROTOBUF:
        return data
    if len(data) > MAX_TEXT:
        raise TooLargeError(
            f"JSON and text may have {MAX_TEXT:,} bytes: use protobuf", limit=MAX_TEXT
        )
    message = kind()
    try:
        text = data.decode("utf-8")
        if content == PROTO_TEXT:
            text_format.Parse(text, message, allow_unknown_field=True)
        else:
            json_format.Parse(text, message, ignore_unknown_fields=True)
    except (ValueError, RecursionError, json_format.Error, text_format.Error):
        raise RequestError(f"the message is no {kind.DESCRIPTOR.name}") from None
    return message.SerializeToString()


def from_message(content: int, message: Message) -> bytes:
    """Return a message in one of the formats."""
    writers: dict[int, Callable[[], str]] = {
        JSON: lambda: json_format.MessageToJson(
            message, preserving_proto_field_name=True, indent=None
        ),
        PROTO_JSON: lambda: json_format.MessageToJson(message, indent=None),
        PROTO_TEXT: lambda: text_format.MessageToString(message),
    }
    writer = writers.get(content)
    return message.SerializeToString() if writer is None else writer().encode()
