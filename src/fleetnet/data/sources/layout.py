"""Which folders hold the classes: those of the data itself, of its splits, or of a wrapped folder.

Folders are taken for splits only if one of them is for training, so that a class may be called
``test``. Their names, and whether they hold folders themselves, decide it; where the names say one
thing and the folders another, nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from fleetnet.data.sources.not_classes import refuse_splits_as_classes
from fleetnet.data.sources.samples import NO_SPLIT, SPLITS, TEST, TRAIN, VAL
from fleetnet.data.sources.split_names import IS_LEFT_OUT, WORDS, split_of_name
from fleetnet.errors import DataError
from fleetnet.image_files import folder_content, has_images, visible_folders

UNLABELLED = len(SPLITS)
"""In place of a split: a folder of images without labels, which are there to be predicted."""
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
        base: the folder that the paths of images are relative to.
        splits: the folder of class folders of each split; only ``NO_SPLIT`` if there are none.
        notes: what a person should know about it.
    """

    base: Path
    splits: dict[int, Path]
    notes: tuple[str, ...]


class _Named(NamedTuple):
    """A folder whose name is that of a split."""

    name: str
    split: int
    place: Path
    """The folder itself, or one that it only wraps."""
    folders: tuple[str, ...]
    has_images: bool
    """Directly in it, beside its folders."""

    @property
    def is_plain(self) -> bool:
        """Whether the name is the word for the split and nothing else."""
        return self.name.casefold() in WORDS


def recognise(root: Path) -> Layout:
    """Find the class folders of a data set.

    Raises:
        DataError: a folder cannot be read; folders have the names of splits but do not fit
            together; or it is data for another task.
    """
    base = _unwrapped(root)
    notes = () if base == root else (f"the data is in {base.relative_to(root).as_posix()}/",)
    names = visible_folders(base)
    _refuse_detection(base, names)
    named = _look_into(base, [name for name in names if _split_of(name) != NO_SPLIT])
    others = (name for name in names if _split_of(name) == NO_SPLIT and has_images(base / name))
    if not named or not _are_splits(named, other := next(others, None)):
        refuse_splits_as_classes(base, names)
        return Layout(base, {NO_SPLIT: base}, notes)
    return Layout(base, *_folders_of_splits(base, named, other, notes))


def _unwrapped(folder: Path, known: Collection[str] = ()) -> Path:
    """Return the first folder that holds several folders, if those above hold nothing but the next.

    ``known`` are names of folders that certainly are classes.
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


def _split_of(name: str) -> int:
    """Return the split that a folder's name means, by itself or among other words."""
    if UNLABELLED_WORDS.intersection(re.findall("[a-z]+", name.casefold())):
        return UNLABELLED
    return split_of_name(name)


def _look_into(base: Path, names: Sequence[str]) -> list[_Named]:
    """Return the folders that have the name of a split, training first."""
    found: list[_Named] = []
    known: tuple[str, ...] = ()
    for name in sorted(names, key=_split_of):
        split = _split_of(name)
        place = _unwrapped(base / name, known)
        folders, has_images = folder_content(place)
        found.append(_Named(name, split, place, tuple(folders), has_images))
        if split == TRAIN:
            known += tuple(folders)
    return found


def _are_splits(named: Sequence[_Named], other: str | None) -> bool:
    """Tell whether folders have names and contents that hardly any classes have.

    ``other`` is a folder with images that does not have the name of a split, if there is one.
    """
    training = [one for one in named if one.split == TRAIN]
    held_out = [one for one in named if one.split in (VAL, TEST)]
    if other is None and len({one.split for one in [*training, *held_out]}) > 1:
        return True
    if sum(one.is_plain for one in training) > 1:
        return True
    if any(one.is_plain and one.folders and not one.has_images for one in training):
        return True
    return any(
        (one.is_plain and two.is_plain) or set(one.folders) & set(two.folders)
        for one in training
        for two in held_out
    )


def _folders_of_splits(
    base: Path, named: Sequence[_Named], other: str | None, notes: tuple[str, ...]
) -> tuple[dict[int, Path], tuple[str, ...]]:
    """Return the folder of each split, and what a person should know about the rest.

    Raises:
        DataError: they do not fit together.
    """
    by_split: dict[int, _Named] = {}
    for one in named:
        first = by_split.setdefault(one.split, one)
        if first is not one and one.split != UNLABELLED:
            raise DataError(
                f"{base} has both {first.name}/ and {one.name}/, which mean the same split: keep "
                "one, or put the images of both together"
            )
    if TRAIN not in by_split:
        names = " and ".join(f"{one.name}/" for one in named)
        raise DataError(
            f"{base} has {names} but no training split: call that train/, or give only one of them"
        )
    train = by_split[TRAIN]
    if other:
        raise DataError(
            f"{base} has {train.name}/ beside {other}/, which is neither a split (train, val, "
            f"test) nor classes: put all classes into {train.name}/, or call it something else if "
            f"it is a class, or move {other}/ away"
        )
    chosen = {}
    for one in named:
        _refuse_detection(one.place, one.folders)
        if one.split == UNLABELLED or (one.split == TEST and not one.folders):
            notes += (f"{one.name}/ has no class folders, and so no labels: it {IS_LEFT_OUT}",)
        elif not one.folders:
            what = f"has images but no class folders: {_SUB_FOLDERS}, or list them in a CSV file"
            nothing = f"has no images: {_SUB_FOLDERS}, or remove the folder"
            raise DataError(f"{one.place} {what if one.has_images else nothing}")
        else:
            chosen[one.split] = one.place
    return chosen, notes


def _refuse_detection(folder: Path, names: Collection[str]) -> None:
    """Refuse a folder of images beside one of label files, as data for object detection has."""
    labels = next((name for name in names if name.casefold() in _LABEL_FOLDERS), None)
    pictures = next((name for name in names if name.casefold() in _PICTURE_FOLDERS), None)
    if labels and pictures and not has_images(folder / labels):
        raise DataError(
            f"{folder} has {pictures}/ beside {labels}/ without images, as data for finding "
            f"objects in images (YOLO, VOC): Fleetnet classifies whole images; {_SUB_FOLDERS}",
            file=str(folder),
        )
