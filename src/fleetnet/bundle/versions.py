"""Reading manifests of older versions and of newer minor versions."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Any, Literal

from fleetnet.bundle.artifacts import TRAINED_IMAGES

FORMAT_VERSION: Literal["2.1"] = "2.1"
"""The version that is written. Readers of this major version may ignore unknown fields."""
REJECTING_VERSION: Literal["3.0"] = "3.0"
"""The version of a bundle with a rejection, which readers of 2.x would ignore, and so refuse."""
_NEWEST = {
    int(major): int(minor)
    for major, _, minor in (text.partition(".") for text in (FORMAT_VERSION, REJECTING_VERSION))
}
"""The newest minor version that is known of each major one."""

_NAMED: dict[str, tuple[str, str | None]] = {
    "onnx": ("onnx", "fp32"),
    "weights": ("safetensors", "fp32"),
    TRAINED_IMAGES: (TRAINED_IMAGES, None),
    "onnx-int8": ("onnx", "int8"),
    "openvino-int8": ("openvino-ir", "int8"),
}
"""Artifact names of version 1, with the format and precision that they stand for."""
_SECOND_FILES = {"openvino-int8-weights": "openvino-int8"}
"""Artifacts of version 1 that are now the second file of another artifact."""
_OF_A_BATCH = re.compile(r"onnx-batch([1-9][0-9]{0,3})")
_OF_A_FILE = {"file": "name", "sha256": "sha256", "bytes": "bytes"}
"""Fields of artifacts in version 1, with their names in today's files."""


def to_current(values: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return a manifest's values in today's form.

    Returns:
        The values, and whether the version is newer, so that it may have unknown fields.

    Raises:
        ValueError: a version that is not read here, a rejection in a version whose readers would
            ignore it, or artifacts that are not as in version 1.
    """
    version = values.get("format_version", 1)
    if isinstance(version, int | float) and version == 1 and version is not True:
        return _of_version_1(values), False
    found = _numbers(version)
    if found is None:
        shown = repr(version) if len(repr(version)) <= 20 else "unknown"
        raise ValueError(
            f"format version {shown}, but this fleetnet reads versions 1, 2.x and 3.x; update "
            "fleetnet"
        )
    major, minor = found
    rejects = values.get("rejection") is not None
    if rejects and f"{major}.0" != REJECTING_VERSION:
        raise ValueError(f"a rejection is of version {REJECTING_VERSION}, not of {version}")
    current = REJECTING_VERSION if rejects else FORMAT_VERSION
    return {**values, "format_version": current}, minor > _NEWEST[major]


def _numbers(version: object) -> tuple[int, int] | None:
    """Return the major and the minor version if the major one is read here, else None."""
    found = re.fullmatch(r"([23])\.(0|[1-9][0-9]{0,5})", str(version))
    return (int(found[1]), int(found[2])) if isinstance(version, str) and found else None


def _of_version_1(values: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest of version 1, where artifacts had a name and one file, in today's form."""
    if values.get("rejection") is not None:
        raise ValueError(f"a rejection is of version {REJECTING_VERSION}, not of 1")
    entries = values.get("artifacts", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("artifacts must be a list of objects")
    named: dict[str, dict[str, Any]] = {}
    for entry in entries:
        name = entry.get("name")
        if not isinstance(name, str):
            raise ValueError("an artifact has no name")  # noqa: TRY004 - of the content, not of an argument
        if name in named:
            raise ValueError("two artifacts have the same name")
        named[name] = entry
    artifacts = [
        _artifact(name, [entry, *(named[other] for other in _others_of(name) if other in named)])
        for name, entry in named.items()
        if _SECOND_FILES.get(name) not in named
    ]
    return {**values, "format_version": FORMAT_VERSION, "artifacts": artifacts}


def _others_of(name: str) -> list[str]:
    return [second for second, first in _SECOND_FILES.items() if first == name]


def _artifact(name: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one artifact made of several artifacts of version 1."""
    first = entries[0]
    found = {key: first[key] for key in first if key not in ("name", *_OF_A_FILE)}
    if first.get("precision") == "none":
        found["precision"] = None
    if name in _NAMED:
        found["format"], found["precision"] = _NAMED[name]
    if of_a_batch := _OF_A_BATCH.fullmatch(name):
        found["batch"] = int(of_a_batch[1])
    found["files"] = [
        {new: entry[old] for old, new in _OF_A_FILE.items() if old in entry} for entry in entries
    ]
    return found


def without(values: dict[str, Any], places: Iterable[tuple[int | str, ...]]) -> dict[str, Any]:
    """Return a copy of JSON values without the fields at these places."""
    copied: dict[str, Any] = copy.deepcopy(values)
    for place in places:
        *path, last = place
        inside: Any = copied
        for key in path:
            inside = inside[key]
        del inside[last]
    return copied
