"""Unlabelled images: found in folders, and freed of those that are held out under other names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetnet.amounts import count
from fleetnet.data.contact_sheet import SHOWN, Tile, draw_sheet
from fleetnet.data.facts import examine
from fleetnet.data.near_duplicates import Hasher, near_pairs, open_hasher
from fleetnet.data.reading import for_each
from fleetnet.data.sources.pool import LooseImages
from fleetnet.data.sources.protocol import Source, fingerprint_of
from fleetnet.data.sources.samples import Indices
from fleetnet.data.stored_rows import StoredRows
from fleetnet.errors import DataError, ImageError
from fleetnet.files import atomic_file
from fleetnet.image_files import walk_images
from fleetnet.left_out import LeftOut
from fleetnet.reporting import Begin

LOOKS = np.dtype([("readable", "?"), ("blank", "?"), ("hash", "<u8")])
SHEET, LIST = "removed.jpg", "removed.tsv"


@dataclass(frozen=True)
class Cleaning:
    """What was found among unlabelled images.

    Attributes:
        kept: ``bool[N]``, whether an image can be learned from.
        copies: for each image that was removed because it is held out: its index, that of the
            held-out image in the labelled source, and in how many bits their hashes differ.
        unreadable: how many could not be read.
        blank: how many are of one colour.
    """

    kept: npt.NDArray[np.bool_]
    copies: tuple[tuple[int, int, int], ...]
    unreadable: int
    blank: int

    @property
    def line(self) -> str:
        """All of it, for people."""
        return (
            f"{count(len(self.kept), 'unlabelled image')}: {len(self.copies):,} removed that are "
            f"held out too, {self.unreadable:,} unreadable, {self.blank:,} of one colour; "
            f"{int(self.kept.sum()):,} left"
        )


def find_unlabelled(folders: Iterable[str], left_out: LeftOut) -> list[str]:
    """Return the absolute paths of all images below some folders, sorted, each once.

    Args:
        folders: where to look.
        left_out: counts what is passed over.

    Raises:
        DataError: a folder does not exist, cannot be read, or has no images.
    """
    found: dict[str, None] = {}
    for folder in folders:
        if not Path(folder).is_dir():
            what = "is not a folder" if Path(folder).exists() else "does not exist"
            raise DataError(f"{folder} {what}: give a folder of images", file=folder)
        before = len(found)
        for path in walk_images(Path(folder).resolve(), left_out):
            name = str(path)
            if "\n" in name or "\t" in name or "\r" in name:
                left_out.add_file(path.name)
            else:
                found[name] = None
        if len(found) == before:
            raise DataError(f"no images in the folder {folder}", file=folder)
    return sorted(found)


def clean(
    loose: LooseImages, source: Source, held_out: Indices, distance: int, folder: Path, begin: Begin
) -> Cleaning:
    """Find the unlabelled images that are near duplicates of held-out ones.

    What was computed of an image stays in ``folder``, so that a second call goes on.

    Args:
        loose: the unlabelled images.
        source: of the labelled ones.
        held_out: the indices of those that are to stay unknown, of validation and test.
        distance: in how many of 64 bits the hashes of near duplicates may differ.
        folder: for what is computed, :data:`SHEET` and :data:`LIST`.
        begin: called with each piece of work.

    Raises:
        FleetnetError: the package ImageHash is not installed, or the folder cannot be written to.
    """
    hasher = open_hasher()
    ours = _looks(
        loose, np.arange(len(loose.samples)), folder / "looks", hasher, begin, "unlabelled images"
    )
    theirs = _looks(source, held_out, folder / "held-out", hasher, begin, "held-out images")
    good = ours["readable"] & ~ours["blank"]
    copies = _copies(ours["hash"], good, theirs, held_out, distance)
    kept = good.copy()
    kept[[index for index, _, _ in copies]] = False
    found = Cleaning(
        kept,
        copies,
        unreadable=int((~ours["readable"]).sum()),
        blank=int((ours["readable"] & ours["blank"]).sum()),
    )
    _show(found, loose, source, folder)
    return found


def _looks(
    source: Source, indices: Indices, folder: Path, hasher: Hasher, begin: Begin, what: str
) -> npt.NDArray[np.void]:
    rows = StoredRows(folder, fingerprint_of(source, indices), len(indices), LOOKS)
    done = rows.done
    advance = begin(f"looking at {what}", len(indices))
    advance(done)

    def computed() -> Iterable[tuple[bool, bool, int]]:
        for _, look in for_each(source, partial(_look, source, hasher), indices[done:]):
            advance(1)
            yield look

    rows.fill(computed())
    return rows.array()


def _look(source: Source, hasher: Hasher, index: int) -> tuple[bool, bool, int]:
    try:
        facts = examine(source.read(index), hasher)
    except ImageError:
        return False, False, 0
    return True, facts.blank, facts.hash


def _copies(
    hashes: npt.NDArray[np.uint64],
    good: npt.NDArray[np.bool_],
    theirs: npt.NDArray[np.void],
    held_out: Indices,
    distance: int,
) -> tuple[tuple[int, int, int], ...]:
    """Return for each unlabelled image that is near a held-out one the nearest of those."""
    own = np.flatnonzero(good)
    other = np.flatnonzero(theirs["readable"] & ~theirs["blank"])
    nearest: dict[int, tuple[int, int]] = {}
    for pairs in near_pairs(np.concatenate([hashes[own], theirs["hash"][other]]), distance):
        across = (pairs.first < len(own)) & (pairs.second >= len(own))
        for one, two, bits in zip(
            own[pairs.first[across]],
            held_out[other[pairs.second[across] - len(own)]],
            pairs.distance[across],
            strict=True,
        ):
            found = int(bits), int(two)
            nearest[int(one)] = min(found, nearest.get(int(one), found))
    return tuple((index, two, bits) for index, (bits, two) in sorted(nearest.items()))


def _show(found: Cleaning, loose: LooseImages, source: Source, folder: Path) -> None:
    """Write which images were removed, and a picture of some beside those that they copy."""
    names = [(loose.samples[one].name, source.samples[two].name) for one, two, _ in found.copies]
    lines = (
        f"{one}\t{two}\t{bits}\n"
        for (one, two), (_, _, bits) in zip(names, found.copies, strict=True)
    )
    with atomic_file(folder / LIST) as file:
        text = "unlabelled\theld out\tbits\n" + "".join(lines)
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
    (folder / SHEET).unlink(missing_ok=True)
    if found.copies:
        tiles = _tiles(found.copies[: SHOWN // 2], loose, source)
        subtitle = f"{count(len(found.copies), 'image')}, each before the held-out one it is like"
        sheet = draw_sheet("Removed", subtitle, tiles)
        with atomic_file(folder / SHEET) as file:
            sheet.save(file, "JPEG", quality=88)


def _tiles(
    copies: Sequence[tuple[int, int, int]], loose: LooseImages, source: Source
) -> list[Tile]:
    tiles = []
    for one, two, _ in copies:
        for origin, index in ((loose, one), (source, two)):
            with contextlib.suppress(ImageError):  # it was readable a moment ago
                thumbnail = examine(origin.read(index), thumbnail=True).thumbnail
                tiles.append(Tile(origin.samples[index].name, thumbnail or b""))
    return tiles
