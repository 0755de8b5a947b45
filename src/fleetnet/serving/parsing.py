"""Messages of protobuf out of bytes that anybody may have sent."""

from __future__ import annotations

from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from fleetnet.serving.errors import RequestError

Kind = TypeVar("Kind", bound=Message)
MAX_FIELDS = 4096
_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5
_BYTES = (FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING)
_MANY = "uint_contents"
"""The one list of numbers that may be long, because pixels are in it."""


def parsed(kind: type[Kind], data: bytes, more: int = 0) -> Kind:
    """Read a message.

    In memory a field takes many times the two bytes that an empty one takes on the wire, so their
    number is bounded before they are read.

    Args:
        kind: of the message.
        data: its bytes.
        more: fields that it may have over the usual number.

    Raises:
        RequestError: it is none, or has too many fields.
    """
    try:
        _count(cast("Descriptor", kind.DESCRIPTOR), memoryview(data), MAX_FIELDS + more)
        message = kind()
        message.ParseFromString(data)
    except (DecodeError, IndexError):
        raise RequestError(f"the message is no {kind.DESCRIPTOR.name}") from None
    return message


def _count(kind: Descriptor, data: memoryview, left: int) -> int:
    """Return how many fields may follow.

    Raises:
        RequestError: there are too many.
        IndexError: the data end within a field.
        DecodeError: they are damaged in another way.
    """
    fields = kind.fields_by_number
    place, end = 0, len(data)
    while place < end:
        tag, place = _varint(data, place)
        wire, size = tag & 7, 0
        if wire == _VARINT:
            _, place = _varint(data, place)
        elif wire == _LENGTH:
            size, place = _varint(data, place)
        elif wire in (_EIGHT, _FOUR):
            place += 8 if wire == _EIGHT else 4
        else:
            raise DecodeError
        if place + size > end:
            raise IndexError
        left -= 1
        if size and (field := fields.get(tag >> 3)) is not None:
            if field.message_type is not None:
                left = _count(field.message_type, data[place : place + size], left)
            elif field.type not in _BYTES and field.name != _MANY:
                left -= size
        if left < 0:
            raise RequestError("the message has too many fields")
        place += size
    return left


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """Return a number of up to 64 bits, and the place after it."""
    value = shift = 0
    while shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise DecodeError
