"""A folder with a sub-folder of images for each class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fleetnet.amounts import count
from fleetnet.data.sources.files import ImageFiles
from fleetnet.data.sources.layout import Layout, recognise
from fleetnet.data.sources.samples import NO_SPLIT, TEST, TRAIN, VAL, SampleTable
from fleetnet.data.sources.split_names import splits_to_use, without_test
from fleetnet.errors import DataError, nearest
from fleetnet.formats import USUAL
from fleetnet.image_files import visible_folders, walk_images
from fleetnet.labels import printable
from fleetnet.left_out import LeftOut
from fleetnet.reporting import Note

_USE = {TRAIN: "to train on", VAL: "held out", TEST: "kept for evaluation with split='test'"}
_USE_WITHOUT_VAL = {**_USE, TRAIN: "to train on and to hold out from"}


class FolderSource(ImageFiles):
    """A folder with a sub-folder for each class, or with ``train/`` and other splits of such.

    :mod:`fleetnet.data.sources.layout` decides which it is, and knows the names of splits. A test
    split that does not fit the training classes is left out, and :attr:`notes` says why.

    Attributes:
        notes: how the folders were understood, where they are not plain class folders.
        left_out: what is in the folders but was skipped.

    Raises:
        DataError: it is missing, cannot be read or has no classes, a class has no images, or
            folders have the names of splits but do not fit together.
    """

    multi_label = False

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            what = "is not a folder" if root.exists() else "does not exist"
            raise DataError(f"{root} {what}: give a folder with one sub-folder of images per class")
        self.description = f"folder {printable(root.resolve().name)}"
        self.spec = {"data": str(root.resolve())}
        layout = recognise(root)
        self.root = layout.base
        self.notes = layout.notes
        self.left_out = LeftOut()
        self._count_beside(root, layout)
        self.classes = tuple(_class_folders(next(iter(layout.splits.values())), self.left_out))
        images: dict[int, list[tuple[str, int]]] = {}
        for split, folder in layout.splits.items():
            try:
                images[split] = self._images_in(folder, split)
            except DataError as error:
                if split != TEST:
                    raise
                self.notes += (without_test(error),)
        self.notes += _note_on_splits(
            layout, {split: len(found) for split, found in images.items()}
        )
        codes = [split for split, found in images.items() for _ in found]
        self.samples = SampleTable(
            (name for found in images.values() for name, _ in found),
            [label for found in images.values() for _, label in found],
            splits=splits_to_use(codes)[0],
        )

    def _count_beside(self, root: Path, layout: Layout) -> None:
        """Count what is left out beside the splits, and beside folders that only hold another."""
        above = [layout.base, *layout.base.parents]
        for folder in above[above.index(root) :: -1]:
            if folder not in layout.splits.values():
                visible_folders(folder, self.left_out)

    def _images_in(self, folder: Path, split: int) -> list[tuple[str, int]]:
        """Return the name and the label of each image in a folder of class folders."""
        is_first = split in (NO_SPLIT, TRAIN)
        present = self.classes if is_first else _class_folders(folder, self.left_out)
        for name in present:
            if name not in self.classes:
                raise DataError(
                    f"{folder / name} has no counterpart among the training classes"
                    f"{nearest(name, self.classes)}"
                )
        images: list[tuple[str, int]] = []
        for label, name in enumerate(self.classes):
            if name not in present:
                continue
            before = len(images)
            images += (
                (path.relative_to(self.root).as_posix(), label)
                for path in walk_images(folder / name, self.left_out)
            )
            if len(images) == before:
                raise _no_images(name, folder / name)
        return images


def _class_folders(folder: Path, left_out: LeftOut) -> list[str]:
    names = visible_folders(folder, left_out)
    if not names:
        raise DataError(
            f"{folder} has images but no class folders: put the images of each class into a "
            "sub-folder named for it"
            if left_out.loose
            else f"no images in {folder}: give a folder with one sub-folder of images per class"
        )
    return names


def _no_images(name: str, folder: Path) -> DataError:
    left_out = LeftOut()
    list(walk_images(folder, left_out))
    beside = f"; there is: {left_out.line}" if left_out.line else ""
    return DataError(
        f"class '{name}' has no images in {folder}: add some or remove the folder (images end in "
        f"{USUAL}{beside})"
    )


def _note_on_splits(layout: Layout, images: Mapping[int, int]) -> tuple[str, ...]:
    """Return the note on which folders were taken for splits, given each split's images."""
    use = _USE if VAL in images else _USE_WITHOUT_VAL
    uses = [
        f"{layout.splits[split].relative_to(layout.base).as_posix()}/ "
        f"({count(number, 'image')}) is {use[split]}"
        for split, number in images.items()
        if split != NO_SPLIT
    ]
    named = ["split"] if TEST in images else []
    note = Note(f"folders taken for splits of the data: {', '.join(uses)}", arguments=named)
    return (note,) if uses else ()
