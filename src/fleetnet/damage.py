"""Finding damage in image files, where decoders check too little or too strictly."""

from __future__ import annotations

import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator

import simplejpeg
from PIL import ImageFile

from fleetnet.errors import ImageError

_END = b"\xff\xd9"
"""End marker of a JPEG, and of a JPEG 2000 codestream."""
_CODESTREAM = b"\xff\x4f\xff\x51"
_TILE_PART = b"\xff\x90"
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
"""Any marker except restart markers, which are part of the pixels' data."""
_SCAN = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_WITHOUT_LENGTH = frozenset((0x01, 0xD8, 0xD9))
_COEFFICIENTS = 64


def check_png(data: bytes) -> None:
    """Check the checksum of every chunk of a PNG file.

    Pillow checks the chunks before the pixels' data, and the checksum inside that data, but not the
    chunks that hold it nor those after it. Only the chunk that ends a file may be missing, because
    it holds nothing of the picture.

    Raises:
        ImageError: a checksum is wrong, or a chunk is cut off.
    """
    view = memoryview(data)
    place = 8
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 8 + length
        if end + 4 > len(data):
            if name == b"IEND" and not length:
                return
            raise ImageError(
                f"damaged image: cut off in its chunk {_named(name)}", code="truncated"
            )
        if zlib.crc32(view[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ImageError(
                f"damaged image: wrong checksum of its chunk {_named(name)}", code="damaged"
            )
        if name == b"IEND":
            return
        place = end + 4


def check_tiff(image: ImageFile.ImageFile) -> None:
    """Check that an opened TIFF file has a strip or tile for every part of its picture.

    Pillow leaves parts without one black.

    Raises:
        ImageError: some are missing.
    """
    covered = 0
    for tile in image.tile:
        left, top, right, bottom = tile.extents or (0, 0, *image.size)
        covered += (right - left) * (bottom - top)
    if covered < image.width * image.height:
        raise ImageError(
            "damaged image: strips or tiles of the picture are missing", code="damaged"
        )


def check_jpeg2000(data: bytes) -> None:
    """Check that a JPEG 2000 file has every tile, each as long as its header says.

    OpenJPEG leaves tiles black that are cut off or missing, or the last one if the file has no end
    marker.

    Raises:
        ImageError: a tile is cut off or missing.
        struct.error: the header is cut off.
    """
    start = data.find(_CODESTREAM)
    right, bottom, _, _, wide, high, left, top = struct.unpack_from(">8I", data, start + 8)
    if start < 0 or not wide or not high:
        raise ImageError("damaged image: no tiles of the picture", code="damaged")
    place = start + 2
    while data[place : place + 1] == b"\xff" and data[place : place + 2] != _TILE_PART:
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    seen: Counter[int] = Counter()
    expected: dict[int, int] = {}
    while data[place : place + 2] == _TILE_PART:
        tile, length, _, parts = struct.unpack_from(">HIBB", data, place + 4)
        seen[tile] += 1
        expected[tile] = parts or expected.get(tile, 1)
        place += length or len(data) - place  # the last one may have no length
        if data[place : place + 2] not in (_TILE_PART, _END) and length:
            raise ImageError("damaged image: cut off in a tile of the picture", code="truncated")
    tiles = -(-(right - left) // wide) * -(-(bottom - top) // high)
    if len(seen) < tiles or any(seen[tile] < expected[tile] for tile in seen):
        raise ImageError("damaged image: tiles of the picture are missing", code="damaged")


def _named(chunk: bytes) -> str:
    return chunk.decode() if chunk.isalpha() else "of no known kind"


def with_jpeg_end(data: bytes, max_pixels: int) -> bytes:
    """Return a JPEG file, with its end marker added if it lacks nothing else.

    Scanners and cameras that lose power leave it out, and browsers show such files. libjpeg cannot
    tell them from files that lack a part of the picture.
    """
    if data.endswith(_END):
        return data
    scan = next((place for marker, place in _markers(data) if marker == _SCAN), None)
    if scan is None or data.find(_END, scan) >= 0:
        return data
    ended = data + _END
    return ended if _is_whole(ended, max_pixels) else data


def _is_whole(data: bytes, max_pixels: int) -> bool:
    """Tell whether a JPEG file has all of its picture."""
    try:
        height, width, stored, _ = simplejpeg.decode_jpeg_header(data)
        if height * width > max_pixels or not _has_all_scans(data):
            return False
        # simplejpeg raises on libjpeg's warnings, such as missing data; the smallest is fastest.
        space = "CMYK" if stored in ("CMYK", "YCCK") else "RGB"
        simplejpeg.decode_jpeg(data, space, min_height=1, min_width=1, min_factor=8)
    except (ValueError, LookupError):
        return False
    return True


def _has_all_scans(data: bytes) -> bool:
    """Tell whether a file has every bit of every coefficient of every component.

    A progressive file that was cut off between two scans decodes without an error to a blurred
    picture.

    Raises:
        LookupError: it is cut off in a header.
    """
    missing: dict[int, list[int | None]] = {}
    progressive = False
    for marker, place in _markers(data):
        if marker in _FRAMES:
            progressive = marker in _PROGRESSIVE
            for component in data[place + 10 : place + 10 + 3 * data[place + 9] : 3]:
                missing[component] = [None] * _COEFFICIENTS
        elif marker == _SCAN:
            end = place + 5 + 2 * data[place + 4]
            first, last, bits = 0, _COEFFICIENTS - 1, 0
            if progressive:
                first, last, bits = data[end], data[end + 1], data[end + 2] & 15
            for component in data[place + 5 : end : 2]:
                for coefficient in range(first, last + 1):
                    missing[component][coefficient] = bits
    return bool(missing) and all(bits == 0 for left in missing.values() for bits in left)


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the markers of a JPEG file with their places, as far as they make sense."""
    place = 2
    while match := _MARKER.search(data, place):
        marker, place = match[1][0], match.end() - 2
        yield marker, place
        place += 2
        if marker not in _WITHOUT_LENGTH:
            place += int.from_bytes(data[place : place + 2], "big")
