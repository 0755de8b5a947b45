"""What the Hugging Face hub says of a data set's columns, in a schema or in the card."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

CARD = "README.md"
INFOS = "dataset_infos.json"
MAX_CARD = 2**24
"""Bytes of a card; a thousand names of classes take less."""
_FENCE = "---"


class Features(NamedTuple):
    """Columns by what they hold.

    Attributes:
        images: names of those with images.
        labels: of each column of classes their names.
    """

    images: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = {}


def of_schema(metadata: Mapping[bytes, bytes] | None) -> Features | None:
    """Return what the metadata of a Parquet file's schema say; None if nothing."""
    try:
        return _found(json.loads((metadata or {})[b"huggingface"])["info"]["features"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def of_card(card: bytes | None, infos: bytes | None, configuration: str | None) -> Features | None:
    """Return what a data set's card says of a configuration; None if nothing.

    Args:
        card: content of ``README.md``.
        infos: content of ``dataset_infos.json``, as older data sets have it.
        configuration: its name; None for the only one.
    """
    told = header_of(card).get("dataset_info")
    try:
        by_name = json.loads(infos or b"{}")
    except (ValueError, RecursionError):
        by_name = {}
    entries = [entry for entry in (told if isinstance(told, list) else [told]) if entry]
    if isinstance(by_name, dict):
        entries += [
            {"config_name": name, **entry}
            for name, entry in by_name.items()
            if isinstance(entry, dict)
        ]
    entries = [entry for entry in entries if isinstance(entry, dict) and "features" in entry]
    fitting = [entry for entry in entries if entry.get("config_name") == configuration]
    if not fitting and len({str(entry.get("config_name")) for entry in entries}) == 1:
        fitting = entries
    return _found(fitting[0]["features"]) if fitting else None


def of_folder(folder: Path) -> Features | None:
    """Return what the card in a folder, or in the one above, says of the data in the folder."""
    for place in (folder, folder.parent):
        card, infos = (_content(place / name) for name in (CARD, INFOS))
        name = None if place == folder else folder.name
        if found := of_card(card, infos, name):
            return found
    return None


def header_of(card: bytes | None) -> dict[str, Any]:
    """Return the values at the beginning of a card, between two lines of dashes.

    Without PyYAML there are none: the files may still say of themselves what they hold.
    """
    try:
        from fleetnet.yaml_text import NotYamlError, from_yaml
    except ModuleNotFoundError:
        return {}
    try:
        lines = (card or b"").decode("utf-8-sig").splitlines()
        if not lines or lines[0].rstrip() != _FENCE:
            return {}
        ends = (number for number, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE)
        found = from_yaml("\n".join(lines[1 : next(ends, 1)]))
    except (UnicodeDecodeError, NotYamlError):
        return {}
    return found if isinstance(found, dict) else {}


def _content(path: Path) -> bytes | None:
    try:
        if not path.is_file() or path.stat().st_size > MAX_CARD:
            return None
        return path.read_bytes()
    except OSError:
        return None


def _found(features: object) -> Features:
    images, labels = [], {}
    for name, feature in _named(features):
        if _is_image(feature):
            images.append(name)
        elif names := _names_of(feature):
            labels[name] = names
    return Features(tuple(images), labels)


def _named(features: object) -> Iterator[tuple[str, Any]]:
    if isinstance(features, dict):
        yield from ((str(name), feature) for name, feature in features.items())
    elif isinstance(features, list):  # as cards have them
        for feature in features:
            if isinstance(feature, dict) and "name" in feature:
                rest = {key: value for key, value in feature.items() if key != "name"}
                yield str(feature["name"]), rest


def _is_image(feature: object) -> bool:
    return isinstance(feature, dict) and (
        feature.get("_type") == "Image" or feature.get("dtype") == "image"
    )


def _names_of(feature: object) -> tuple[str, ...]:
    """Return the names of a column's classes, or of those in its lists; none if it has none."""
    for _ in range(8):
        if isinstance(feature, list) and feature:
            feature = feature[0]
        if not isinstance(feature, dict):
            return ()
        if "names" in feature:
            return _in_order(feature["names"])
        keys = ("feature", "dtype", "class_label", "sequence", "list")
        feature = next((feature[key] for key in keys if key in feature), None)
    return ()


def _in_order(names: object) -> tuple[str, ...]:
    """Return names that are listed, or numbered as in cards."""
    if isinstance(names, dict):
        try:
            numbered = {int(number): name for number, name in names.items()}
        except (TypeError, ValueError):
            return ()
        if sorted(numbered) != list(range(len(numbered))):
            return ()
        names = [numbered[number] for number in range(len(numbered))]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(names)
