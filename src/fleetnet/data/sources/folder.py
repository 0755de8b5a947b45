"""A folder with a sub-folder of images for each class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fleetnet.amounts import count
from fleetnet.data.sources.files import ImageFiles
from fleetnet.data.sources.layout import Layout, recognise
from fleetnet.data.sources.parts import settle, without_test
from fleetnet.data.sources.samples import NO_PART, TEST, TRAIN, VAL, SampleTable
from fleetnet.errors import DataError, nearest
from fleetnet.image_files import visible_folders, walk_images
from fleetnet.images import USUAL
from fleetnet.labels import printable
from fleetnet.left_out import LeftOut

_USE = {TRAIN: "to train on", VAL: "held out", TEST: "kept for evaluation with --split test"}
_USE_WITHOUT_VAL = {**_USE, TRAIN: "to train on and to hold out from"}


class FolderSource(ImageFiles):
    """A folder with a sub-folder a class, or with ``train/`` and other parts that hold those.

    Which it is, and what parts may be called, is said in :mod:`fleetnet.data.sources.layout`. A
    test part that does not fit the training classes is left out, and :attr:`notes` says why.

    Attributes:
        notes: how the folders were understood, where that is not the plainest way.
        left_out: what lies in the folders and was passed over.

    Raises:
        DataError: it is missing, cannot be read or has no classes, a class has no images, or
            folders are named like parts of the data and do not fit.
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
        self.classes = tuple(_class_folders(next(iter(layout.parts.values())), self.left_out))
        images: dict[int, list[tuple[str, int]]] = {}
        for part, folder in layout.parts.items():
            try:
                images[part] = self._images_in(folder, part)
            except DataError as error:
                if part != TEST:
                    raise
                self.notes += (without_test(error),)
        self.notes += _said_of_parts(layout, {part: len(found) for part, found in images.items()})
        codes = [part for part, found in images.items() for _ in found]
        self.samples = SampleTable(
            (name for found in images.values() for name, _ in found),
            [label for found in images.values() for _, label in found],
            parts=settle(codes)[0],
        )

    def _count_beside(self, root: Path, layout: Layout) -> None:
        """Count what lies beside the parts, and beside what is wrapped."""
        above = [layout.base, *layout.base.parents]
        for folder in above[above.index(root) :: -1]:
            if folder not in layout.parts.values():
                visible_folders(folder, self.left_out)

    def _images_in(self, folder: Path, part: int) -> list[tuple[str, int]]:
        """Return the name and the label of each image in a folder of class folders."""
        is_first = part in (NO_PART, TRAIN)
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


def _said_of_parts(layout: Layout, images: Mapping[int, int]) -> tuple[str, ...]:
    """Return what the folders were taken for, given how many images each part has."""
    use = _USE if VAL in images else _USE_WITHOUT_VAL
    said = [
        f"{layout.parts[part].relative_to(layout.base).as_posix()}/ ({count(number, 'image')}) is "
        f"{use[part]}"
        for part, number in images.items()
        if part != NO_PART
    ]
    return (f"folders taken for parts of the data: {', '.join(said)}",) if said else ()
