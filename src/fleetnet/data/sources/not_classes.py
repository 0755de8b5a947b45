"""Folders that could be classes, but most probably are splits or folds of the data.

A network trained on them would learn to tell folds apart. Class folders may have folders of their
own, so only what hardly anyone would call a class is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from fleetnet.data.sources.samples import NO_SPLIT, TEST, TRAIN, VAL
from fleetnet.data.sources.split_names import split_of_name
from fleetnet.errors import DataError
from fleetnet.image_files import folder_content, has_images
from fleetnet.text import first_few

SHOWN = 3
"""Names that an error gives."""
_NUMBERED = re.compile(
    r"(?P<stem>[^\W\d_].*?)(?:[\W_]*\d+|[\W_]+[^\W\d_]|(?<=[a-z])[A-Z])", re.DOTALL
)
"""A name and a number or a letter: ``fold1``, ``part_a``, ``setB``."""
_CLASS_STEMS = frozenset(
    ("class", "cls", "category", "label", "type", "kind", "grade", "stage", "level", "score")
)
"""Words that are numbered and yet name classes."""
_LEAST_STEM = 2
"""Letters of a stem: ImageNet's classes are an ``n`` and a number."""
_IN_A_TABLE = "list all images in a CSV file with the columns path, label and split"


def refuse_splits_as_classes(base: Path, names: Sequence[str]) -> None:
    """Refuse folders that have the splits inside the classes, or that are folds and not classes.

    Args:
        base: where they are.
        names: of the folders that would be the classes.

    Raises:
        DataError: these folders are not the classes.
    """
    if len(names) > 1:
        _refuse_splits_inside(base, names)
        _refuse_folds(base, names)


def _refuse_splits_inside(base: Path, names: Sequence[str]) -> None:
    """Refuse splits inside classes: ``cat/train``, ``cat/test``, ``dog/train``."""
    held_out: list[str] = []
    for folders in _inside(base, names):
        splits = {split_of_name(name): name for name in folders}
        # In most data the first class has none, and the others are not looked into.
        if TRAIN not in splits:
            return
        held_out += (
            f"{splits[TRAIN]}/ and {splits[split]}/" for split in (VAL, TEST) if split in splits
        )
    if held_out:
        raise DataError(
            f"{base} has {held_out[0]} inside {_shown(names)}, but splits of the data come first, "
            f"with the classes inside: train/{names[0]}/, test/{names[0]}/, …; move them so, or "
            f"{_IN_A_TABLE}"
        )


def _refuse_folds(base: Path, names: Sequence[str]) -> None:
    """Refuse folds of the data: ``fold1/cat``, ``fold1/dog``, ``fold2/cat``, ``fold2/dog``."""
    if not (_look_alike(names) or all(split_of_name(name) != NO_SPLIT for name in names)):
        return
    common: list[str] | None = None
    for number, folders in enumerate(_inside(base, names)):
        filled = [name for name in folders if has_images(base / names[number] / name)]
        if len(filled) < 2 or (common is not None and filled != common):
            return
        common = filled
    # Cameras, sessions and days have numbers; classes seldom do.
    if common and any(map(str.isalpha, "".join(common))):
        raise DataError(
            f"{base} has {_shown(names)} with the same folders in each "
            f"({first_few(common, SHOWN)}): they look like splits or folds of the data "
            f"and not like classes; give one of them, or {_IN_A_TABLE}, or, if they are classes, "
            "put the images of each right into its folder"
        )


def _inside(base: Path, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield the folders in each of some folders; none where images lie beside them."""
    for name in names:
        folders, has_loose = folder_content(base / name)
        yield [] if has_loose else folders


def _look_alike(names: Sequence[str]) -> bool:
    """Tell whether names differ only in a number or a letter at their end."""
    stems = set()
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match is None:
            return False
        stems.add(match["stem"].casefold())
    stem = stems.pop()
    return not stems and len(stem) >= _LEAST_STEM and stem not in _CLASS_STEMS


def _shown(names: Sequence[str]) -> str:
    """Return the first few of some folders' names."""
    shown = [f"{name}/" for name in names]
    if len(names) > SHOWN:
        return first_few(shown, SHOWN)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
