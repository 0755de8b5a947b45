"""A bundle of any model that a user names: made and verified once, then kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from fleetnet.bundle import Bundle, all_there
from fleetnet.cache import cache_folder
from fleetnet.errors import BundleError, require_all
from fleetnet.files import sha256_of, write_error
from fleetnet.locks import locked
from fleetnet.reporting import Fetched, Say
from fleetnet.weights.folder import weights_in
from fleetnet.weights.published import published_file
from fleetnet.weights.subject import Subject, file_of, find_subject

NEEDS = ("torch", "safetensors", "filelock", "requests", "onnx", "onnxscript", "onnxruntime")
"""Modules that making a bundle needs."""


def bundle_of(
    subject: str | os.PathLike[str] | Subject | Bundle,
    *,
    images: Iterable[str] = (),
    say: Say = lambda _: None,
    fetched: Fetched = lambda _have, _total: None,
    offline: bool = False,
) -> Bundle:
    """Return a bundle of a subject; if it is not a bundle itself, one is made in the cache.

    A published network's bundle is kept by name, another file's by content. So the second time is
    as fast as with any bundle, and needs no packages for making one. Processes that want the same
    bundle at once wait for the first of them.

    Args:
        subject: see :mod:`fleetnet.weights.subject`.
        images: files to verify with if the bundle has to be made, in addition to made-up pictures.
        say: called with what is being done, in a line.
        fetched: called with a download's progress.
        offline: fetch nothing.

    Raises:
        FleetnetError: there is no such subject; a package for making bundles is not installed; the
            published weights cannot be fetched (the message says which file to put where).
        CheckpointError: a file holds no weights of a network known here.
        VerificationError: an engine's answers differ from the network's.
    """
    if isinstance(subject, Bundle):
        return subject
    if not isinstance(subject, Subject):
        subject = find_subject(subject)
    if subject.kind == "bundle":
        return Bundle.load(subject.path)
    place = _place(subject)
    return _kept(place) or _made(subject, place, images, say, fetched, offline=offline)


def check_installed(purpose: str) -> None:
    """Refuse at once what would fail because a package is missing.

    Raises:
        FleetnetError: the message names the first missing one, and the extra that installs it.
    """
    require_all(NEEDS, "export", purpose)


def _place(subject: Subject) -> Path:
    """Return where in the cache the bundle of a subject belongs."""
    bundles = cache_folder() / "bundles"
    if subject.published is not None:
        return bundles / subject.published.set / f"{subject.published.model}.bundle"
    file, config = weights_in(subject.path)
    # The bundle depends not only on the weights, but also on a config.json beside them and on the
    # name of a published file: these decide about the network and the preprocessing.
    entry = published_file(file.name)
    described = (config.values or None, entry and (entry.set, entry.model))
    suffix = hashlib.sha256(repr(described).encode()).hexdigest()[:8] if any(described) else ""
    try:
        return bundles / "files" / f"{sha256_of(file)[:32]}{suffix}.bundle"
    except OSError as error:
        raise BundleError(f"cannot read {subject.path}: {error.strerror or error}") from None


def _kept(place: Path) -> Bundle | None:
    """Return the bundle at ``place``; None if there is no usable one."""
    try:
        bundle = Bundle.load(place)
    except (BundleError, OSError):
        return None
    # Hashes are compared when a file is opened; reading all files would delay the start.
    whole = all(all_there(place, artifact.files) for artifact in bundle.artifacts)
    return bundle if whole else None


def _made(
    subject: Subject,
    place: Path,
    images: Iterable[str],
    say: Say,
    fetched: Fetched,
    *,
    offline: bool,
) -> Bundle:
    check_installed(f"making a bundle of {subject.word}")
    from fleetnet.export.bundle import export_bundle

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(Path(f"{place}.lock")):
            if bundle := _kept(place):
                return bundle
            file = file_of(subject, say=say, fetched=fetched, offline=offline)
            _clear(place)
            bundle = export_bundle(file, place, images=images, made_up=True, say=say)
    except OSError as error:
        raise write_error(place, error) from error
    say(f"kept in {place}: the next time starts at once")
    return bundle


def _clear(place: Path) -> None:
    """Remove what is there: an older version's bundle, half of one, or anything else."""
    if place.is_symlink() or place.is_file():
        place.unlink()
    shutil.rmtree(place, ignore_errors=True)
