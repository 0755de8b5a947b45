"""Where labelled images come from, each kind one class behind one small protocol."""

from __future__ import annotations

import hashlib
import importlib.util
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from fleetnet.errors import DataError, nearest, require
from fleetnet.images import EXTENSIONS, read_bytes, walk_images

Part = Literal["train", "val"]

ELPV = "elpv"
TRAIN_FOLDER = "train"
VAL_FOLDERS = ("val", "valid", "validation")


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Attributes:
        name: what people call it: its path below the source's root, with forward slashes.
        labels: indices into the source's ``classes``; one, or any number for multi-label data.
        part: the side of the split that the source itself assigns, if it does.
    """

    name: str
    labels: tuple[int, ...]
    part: Part | None = None

    @property
    def label(self) -> int:
        """The class of a sample that has exactly one."""
        (label,) = self.labels
        return label


class Source(Protocol):
    """A fixed sequence of labelled images whose bytes are read one at a time."""

    @property
    def description(self) -> str:
        """What it is, for people and for provenance."""
        ...

    @property
    def spec(self) -> dict[str, str]:
        """Arguments with which :func:`open_source` opens it again on this machine."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; a sample's label is an index into them."""
        ...

    @property
    def multi_label(self) -> bool:
        """Whether a sample may have any number of labels, not exactly one."""
        ...

    @property
    def samples(self) -> Sequence[Sample]:
        """All labelled images, in a fixed order."""
        ...

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of sample ``index``.

        Raises:
            ImageError: the file cannot be read.
        """
        ...


class FolderSource:
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
        self.description = f"folder {root.resolve().name}"
        self.spec = {"data": str(root.resolve())}
        parts = _parts_of(root)
        self.classes = tuple(_class_folders(next(iter(parts))))
        samples: list[Sample] = []
        for folder, part in parts.items():
            samples += self._samples_in(folder, part)
        self.samples = tuple(samples)

    def _samples_in(self, folder: Path, part: Part | None) -> list[Sample]:
        found = _class_folders(folder)
        for name in found:
            if name not in self.classes:
                raise DataError(
                    f"{folder / name} has no counterpart among the training classes"
                    f"{nearest(name, self.classes)}"
                )
        samples = [
            Sample(path.relative_to(self.root).as_posix(), (label,), part)
            for label, name in enumerate(self.classes)
            if name in found
            for path in walk_images(folder / name)
        ]
        counts = Counter(sample.label for sample in samples)
        for label, name in enumerate(self.classes):
            if not counts[label] and (part != "val" or name in found):
                raise DataError(
                    f"class '{name}' has no images in {folder / name}: add some or remove the "
                    f"folder (images end in {', '.join(sorted(EXTENSIONS))})"
                )
        return samples

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of sample ``index``."""
        return read_bytes(self.root / self.samples[index].name)


class ElpvSource:
    """The ELPV solar cells: 2,624 electroluminescence images (Deitsch et al. 2019).

    Args:
        label: ``type`` (monocrystalline or polycrystalline) or ``defect`` (whether the experts'
            defect probability is above 0.5).

    Raises:
        FleetnetError: the package ``elpv-dataset`` is not installed.
        DataError: there is no such label.
    """

    multi_label = False

    def __init__(self, label: str = "type") -> None:
        if label not in ("type", "defect"):
            raise DataError(
                f"unknown label '{label}' of the ELPV data{nearest(label, ('type', 'defect'))} "
                "(known: type, defect)"
            )
        spec = importlib.util.find_spec("elpv_dataset")
        if spec is None or not spec.submodule_search_locations:
            raise require("elpv-dataset", "demo", "the data set 'elpv'")
        self._root = Path(spec.submodule_search_locations[0]) / "data"
        self.description = f"ELPV solar cells, label {label}"
        self.spec = {"data": ELPV, "label": label}
        self.classes: tuple[str, ...] = (
            ("mono", "poly") if label == "type" else ("functional", "defective")
        )
        with (self._root / "labels.csv").open(encoding="utf-8") as file:
            rows = [row.split() for row in file if row.strip()]
        self.samples = tuple(
            Sample(name, (int(kind == "poly" if label == "type" else float(probability) > 0.5),))
            for name, probability, kind in rows
        )

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of sample ``index``."""
        return read_bytes(self._root / self.samples[index].name)


def open_source(data: str, label: str | None = None) -> Source:
    """Open labelled images by what a user types.

    Args:
        data: a folder, or ``elpv``.
        label: which of the source's labels to learn, for sources that have several.

    Raises:
        DataError: there is nothing usable there; the message says what to do.
    """
    if data == ELPV and not Path(data).is_dir():
        return ElpvSource(label or "type")
    if label is not None:
        raise DataError(f"--label chooses among the labels of '{ELPV}'; a folder has only one")
    return FolderSource(Path(data))


def fingerprint(source: Source) -> str:
    """Return a digest of the names and classes of all samples: is this the same data?"""
    digest = hashlib.sha256()
    for sample in source.samples:
        digest.update(f"{source.classes[sample.label]}\0{sample.name}\n".encode())
    return digest.hexdigest()


def _parts_of(root: Path) -> dict[Path, Part | None]:
    train = root / TRAIN_FOLDER
    val = next((root / name for name in VAL_FOLDERS if (root / name).is_dir()), None)
    if train.is_dir() and val is not None:
        return {train: "train", val: "val"}
    return {root: None}


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
