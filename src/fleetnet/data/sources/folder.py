"""A folder with a sub-folder of images for each class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from fleetnet.data.sources.files import ImageFiles
from fleetnet.data.sources.samples import NO_PART, PARTS, TRAIN, VAL, SampleTable
from fleetnet.errors import DataError, nearest
from fleetnet.images import EXTENSIONS, walk_images
from fleetnet.labels import printable

TRAIN_FOLDER = "train"
VAL_FOLDERS = ("val", "valid", "validation")


class FolderSource(ImageFiles):
    """A folder with a sub-folder a class, or with ``train/`` and ``val/`` that hold those.

    Raises:
        DataError: it is missing, has no classes or only one, or a class has no images.
    """

    multi_label = False

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            what = "is not a folder" if root.exists() else "does not exist"
            raise DataError(f"{root} {what}: give a folder with one sub-folder of images per class")
        self.root = root
        self.description = f"folder {printable(root.resolve().name)}"
        self.spec = {"data": str(root.resolve())}
        parts = _parts_of(root)
        self.classes = tuple(_class_folders(next(iter(parts))))
        names: list[str] = []
        labels: list[int] = []
        codes: list[int] = []
        for folder, part in parts.items():
            found = self._images_in(folder, part)
            names += (name for name, _ in found)
            labels += (label for _, label in found)
            codes += [part] * len(found)
        self.samples = SampleTable(names, labels, parts=codes)

    def _images_in(self, folder: Path, part: int) -> list[tuple[str, int]]:
        """Return the name and the label of each image in a folder of class folders."""
        present = _class_folders(folder)
        for name in present:
            if name not in self.classes:
                raise DataError(
                    f"{folder / name} has no counterpart among the training classes"
                    f"{nearest(name, self.classes)}"
                )
        images = [
            (path.relative_to(self.root).as_posix(), label)
            for label, name in enumerate(self.classes)
            if name in present
            for path in walk_images(folder / name)
        ]
        counts = Counter(label for _, label in images)
        for label, name in enumerate(self.classes):
            if not counts[label] and (PARTS[part] != "val" or name in present):
                raise DataError(
                    f"class '{name}' has no images in {folder / name}: add some or remove the "
                    f"folder (images end in {', '.join(sorted(EXTENSIONS))})"
                )
        return images


def _parts_of(root: Path) -> dict[Path, int]:
    train = root / TRAIN_FOLDER
    val = next((root / name for name in VAL_FOLDERS if (root / name).is_dir()), None)
    if train.is_dir() and val is not None:
        return {train: TRAIN, val: VAL}
    return {root: NO_PART}


def _class_folders(folder: Path) -> list[str]:
    try:
        names = sorted(
            entry.name
            for entry in folder.iterdir()
            if entry.is_dir() and not entry.name.startswith(".")
        )
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from None
    if not names:
        loose = next(walk_images(folder), None)
        raise DataError(
            f"{folder} has images but no class folders: put the images of each class into a "
            "sub-folder named for it"
            if loose
            else f"no images in {folder}: give a folder with one sub-folder of images per class"
        )
    if len(names) == 1 and folder.name not in VAL_FOLDERS:
        raise DataError(
            f"{folder} has one class only ('{names[0]}'): a classifier needs at least two "
            "sub-folders"
        )
    return names
