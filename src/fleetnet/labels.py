"""Names of classes: ImageNet's thousand, and those that a user brings in a file."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from fleetnet.amounts import count as counted
from fleetnet.errors import DataError

MAX_BYTES = 64 * 2**20


class ImageNetClass(NamedTuple):
    """A class of ImageNet-1k."""

    wordnet_id: str
    """Such as ``n01440764``."""
    name: str
    """WordNet's synonyms, such as ``tench, Tinca tinca``."""


@cache
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """Return the classes of ImageNet-1k in the order of published networks' logits.

    Sorted by WordNet id; ids and names as timm carries them, from WordNet 3.0 (Princeton
    University).
    """
    text = resources.files("fleetnet").joinpath("imagenet.tsv").read_text("utf-8")
    return tuple(ImageNetClass(*line.split("\t")) for line in text.splitlines())


def read_labels(path: str | Path, count: int) -> tuple[str, ...]:
    """Read the names of ``count`` classes from a text file, as :func:`read_names` does.

    Raises:
        DataError: the file cannot be read, is no text, or has another number of names.
    """
    names = read_names(path)
    if len(names) != count:
        raise DataError(
            f"{path} names {counted(len(names), 'class')}, but the model has {count}: give "
            "one name a line, or 'id name' with ids from 0",
            file=str(path),
        )
    return names


def read_names(path: str | Path) -> tuple[str, ...]:
    """Read any number of class names from a text file.

    One class per line, in order, or PaddleClas's form: ``id name``, ids from 0, in any order. The
    file is read in the latter form if every line begins with a whole number and no id is missing.

    Raises:
        DataError: the file cannot be read, is no text, names nothing, or counts its ids from 1.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(
                f"{path} is larger than {MAX_BYTES // 2**20} MiB: no list of names",
                code="too-large",
                file=str(path),
            )
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}", code="unreadable", file=str(path)
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text", file=str(path)) from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path} names no classes", file=str(path))
    numbered = [line.split(maxsplit=1) for line in lines]
    if all(len(parts) == 2 and parts[0].isdecimal() and len(parts[0]) < 10 for parts in numbered):
        by_id = {int(number): name for number, name in numbered}
        if by_id.keys() == set(range(len(lines))):
            return tuple(by_id[index] for index in range(len(lines)))
        if by_id.keys() == set(range(1, len(lines) + 1)):
            raise DataError(f"{path} counts its ids from 1: they must count from 0", file=str(path))
    return tuple(lines)


def printable(text: str) -> str:
    """Return a name from outside as text that is safe to show on a terminal.

    What a terminal would act on or cannot show – control characters, marks that turn the writing
    direction, halves of characters from a file name that is not UTF-8 – becomes its escape.
    """
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )
