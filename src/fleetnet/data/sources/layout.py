"""Which folders hold the classes: those of the data itself, of its parts, or of a wrapped folder.

A split needs a training part, so that a class may be called ``test``. It is told from classes by
what the folders are called and whether they hold folders themselves; where the names say one thing
and the folders another, nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from fleetnet.data.sources.not_classes import refuse_parts_as_classes
from fleetnet.data.sources.samples import NO_PART, PARTS, TEST, TRAIN, VAL
from fleetnet.data.sources.split_names import IS_LEFT_OUT, WORDS, part_of_name
from fleetnet.errors import DataError
from fleetnet.image_files import folder_content, has_images, visible_folders

UNLABELLED = len(PARTS)
"""The part of a folder whose images are there to be predicted: they have no labels."""
UNLABELLED_WORDS = frozenset(
    ("pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled")
)
MAX_WRAPPERS = 4
_LABEL_FOLDERS = frozenset(("labels", "annotations"))
_PICTURE_FOLDERS = frozenset(("images", "imgs", "jpegimages"))
_SUB_FOLDERS = "put the images of each class into a sub-folder named for it"


class Layout(NamedTuple):
    """Where the class folders are.

    Attributes:
        base: what the paths of images count from.
        parts: the folder of class folders of each part, ``NO_PART`` alone if there are none.
        notes: what a person should know of it.
    """

    base: Path
    parts: dict[int, Path]
    notes: tuple[str, ...]


class _Named(NamedTuple):
    """A folder that is named for a part."""

    name: str
    part: int
    place: Path
    """The folder itself, or one that it only wraps."""
    folders: tuple[str, ...]
    has_images: bool
    """Beside its folders, that is."""

    @property
    def is_plain(self) -> bool:
        """Whether the name is the word for the part and nothing else."""
        return self.name.casefold() in WORDS


def recognise(root: Path) -> Layout:
    """Find the class folders of a data set.

    Raises:
        DataError: a folder cannot be read; folders are named like parts and do not fit together;
            it is data for something else.
    """
    base = _unwrapped(root)
    notes = () if base == root else (f"the data is in {base.relative_to(root).as_posix()}/",)
    names = visible_folders(base)
    _refuse_detection(base, names)
    parts = _look_into(base, [name for name in names if _part_of(name) != NO_PART])
    unnamed = (name for name in names if _part_of(name) == NO_PART and has_images(base / name))
    if not parts or not _is_named_like_a_split(parts, other := next(unnamed, None)):
        refuse_parts_as_classes(base, names)
        return Layout(base, {NO_PART: base}, notes)
    return Layout(base, *_fitted(base, parts, other, notes))


def _unwrapped(folder: Path, known: Collection[str] = ()) -> Path:
    """Return the first folder with several folders in it, if all above it only wrap it.

    ``known`` are names of folders that are classes for certain.
    """
    inner = folder
    for _ in range(MAX_WRAPPERS):
        names, has_images = folder_content(inner)
        if has_images or not names:
            break
        if len(names) > 1 or names[0] in known:
            return inner
        inner /= names[0]
    return folder


def _part_of(name: str) -> int:
    """Return the part that a folder's name says, alone or among other words."""
    if UNLABELLED_WORDS.intersection(re.findall("[a-z]+", name.casefold())):
        return UNLABELLED
    return part_of_name(name)


def _look_into(base: Path, names: Sequence[str]) -> list[_Named]:
    """Return the folders that are named for a part, training first."""
    found: list[_Named] = []
    known: tuple[str, ...] = ()
    for name in sorted(names, key=_part_of):
        part = _part_of(name)
        place = _unwrapped(base / name, known)
        folders, has_images = folder_content(place)
        found.append(_Named(name, part, place, tuple(folders), has_images))
        if part == TRAIN:
            known += tuple(folders)
    return found


def _is_named_like_a_split(parts: Sequence[_Named], other: str | None) -> bool:
    """Tell whether folders are so called, or so filled, that no one would call classes that.

    ``other`` is a folder with images that is named for no part, if there is one.
    """
    training = [part for part in parts if part.part == TRAIN]
    held_out = [part for part in parts if part.part in (VAL, TEST)]
    if other is None and len({part.part for part in [*training, *held_out]}) > 1:
        return True
    if sum(part.is_plain for part in training) > 1:
        return True
    if any(part.is_plain and part.folders and not part.has_images for part in training):
        return True
    return any(
        (one.is_plain and two.is_plain) or set(one.folders) & set(two.folders)
        for one in training
        for two in held_out
    )


def _fitted(
    base: Path, parts: Sequence[_Named], other: str | None, notes: tuple[str, ...]
) -> tuple[dict[int, Path], tuple[str, ...]]:
    """Return the folder of each part, and what a person should know of the rest.

    Raises:
        DataError: they do not fit together.
    """
    by_part: dict[int, _Named] = {}
    for part in parts:
        first = by_part.setdefault(part.part, part)
        if first is not part and part.part != UNLABELLED:
            raise DataError(
                f"{base} has both {first.name}/ and {part.name}/, which say the same part of the "
                "data: keep one, or put the images of both together"
            )
    if TRAIN not in by_part:
        names = " and ".join(f"{part.name}/" for part in parts)
        raise DataError(
            f"{base} has {names} but no training part: call that train/, or give one of them alone"
        )
    train = by_part[TRAIN]
    if other:
        raise DataError(
            f"{base} has {train.name}/ beside {other}/, which is neither a split (train, val, "
            f"test) nor classes: put all classes into {train.name}/, or call it something else if "
            f"it is a class, or move {other}/ away"
        )
    chosen = {}
    for part in parts:
        _refuse_detection(part.place, part.folders)
        if part.part == UNLABELLED or (part.part == TEST and not part.folders):
            notes += (f"{part.name}/ has no class folders, and so no labels: it {IS_LEFT_OUT}",)
        elif not part.folders:
            what = f"has images but no class folders: {_SUB_FOLDERS}, or list them in a CSV file"
            nothing = f"has no images: {_SUB_FOLDERS}, or remove the folder"
            raise DataError(f"{part.place} {what if part.has_images else nothing}")
        else:
            chosen[part.part] = part.place
    return chosen, notes


def _refuse_detection(folder: Path, names: Collection[str]) -> None:
    """Refuse images beside labels that are files, as data for finding objects has them."""
    labels = next((name for name in names if name.casefold() in _LABEL_FOLDERS), None)
    pictures = next((name for name in names if name.casefold() in _PICTURE_FOLDERS), None)
    if labels and pictures and not has_images(folder / labels):
        raise DataError(
            f"{folder} has {pictures}/ beside {labels}/ without images, as data for finding "
            f"objects in images (YOLO, VOC): Fleetnet classifies whole images; {_SUB_FOLDERS}"
        )
