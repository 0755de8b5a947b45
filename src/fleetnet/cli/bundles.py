"""The bundle, or the file of weights, of whatever model a person names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fleetnet.bundle import Bundle
from fleetnet.cli.console import download_bar, say
from fleetnet.export.cached import bundle_of
from fleetnet.weights.subject import Subject, file_of


def open_bundle(word: str | Path, images: Iterable[str] = ()) -> Bundle:
    """Return the bundle of what a person names, showing what it takes to make one.

    Args:
        word: see :mod:`fleetnet.weights.subject`.
        images: that are at hand to verify with, should the bundle have to be made.

    Raises:
        FleetnetError: as :func:`fleetnet.export.cached.bundle_of`.
    """
    with download_bar("weights") as fetched:
        return bundle_of(word, images=images, say=say, fetched=fetched)


def open_file(subject: Subject, *, offline: bool = False) -> Path:
    """Return the file of a model's weights, showing what it takes to fetch it.

    Raises:
        FleetnetError: as :func:`fleetnet.weights.subject.file_of`.
    """
    with download_bar("weights") as fetched:
        return file_of(subject, say=say, fetched=fetched, offline=offline)
