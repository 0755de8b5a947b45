"""What a user means by a word for a trained network.

Every verb and the Python interface take the same words: the path of a bundle, of a lone ``.onnx``
file, of a checkpoint, of a training run's folder or of weights from elsewhere; or the name of a
network with published weights, with the set before it (``timm:ReXNet_1_0``) if it is not the usual
one. A file or folder on disk takes precedence over a name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.errors import (
    BundleError,
    CheckpointError,
    FleetnetError,
    ModelError,
    nearest,
    needing,
    unknown,
)
from fleetnet.models.registry import NAMES, find_model, told_model
from fleetnet.reporting import Fetched, Say
from fleetnet.weights.folder import weights_in
from fleetnet.weights.published import (
    PublishedWeights,
    cached_path,
    find_weights,
    published_weights,
    set_names,
    weights_of,
)

KINDS = (
    "a bundle, an .onnx file, a checkpoint, a training run's folder, a file of weights, or the "
    "name of a network with published weights"
)
BEST, LAST = "best.ckpt", "last.ckpt"
"""Checkpoints in a run's folder; the folder means the first one that exists."""
_LOOKS_LIKE_A_PATH = (".onnx", ".bundle", ".ckpt", ".pt", ".pth", ".pdparams", ".safetensors")

Kind = Literal["bundle", "weights", "published"]


@dataclass(frozen=True)
class Subject:
    """A trained network, not opened yet.

    Attributes:
        word: the word that the user gave.
        kind: ``bundle`` for a bundle or a lone ``.onnx`` file, ``weights`` for a checkpoint or a
            file from elsewhere, ``published`` for a set that may have to be fetched.
        path: of the bundle or the file; for a published set, its place after the download.
        published: the set, else None.
    """

    word: str
    kind: Kind
    path: Path
    published: PublishedWeights | None = None

    @classmethod
    def of(cls, entry: PublishedWeights, word: str) -> Subject:
        """Return a published set that was named ``word``."""
        return cls(word, "published", cached_path(entry), entry)

    def beside(self, ending: str) -> Path:
        """Return where something made of it goes if no place is named.

        That is beside its file, under the same name with another ending; of a published set, in the
        current folder under the network's name.

        Args:
            ending: of the name, without a point.
        """
        if self.published is not None:
            return Path(f"{self.published.model}.{ending}")
        # A folder's name may have dots: rexnet_100.nav_in1k.
        named_whole = self.path.is_dir() and self.kind != "bundle"
        stem = self.path.name if named_whole else self.path.stem
        return self.path.with_name(f"{stem}.{ending}")


def find_subject(word: str | os.PathLike[str]) -> Subject:
    """Return what ``word`` means, without downloading or opening anything.

    Raises:
        FleetnetError: nothing of that name exists; the message has the nearest name and the kinds
            of models.
    """
    text = os.fspath(word)
    path = Path(text)
    if _exists(path, text):
        return _on_disk(text, path, weights_of(text) if _is_name(text) else ())
    set_name, colon, model = text.partition(":")
    if colon and set_name in set_names():
        return Subject.of(find_weights(set_name, model), text)
    try:
        entries = weights_of(text)
    except ModelError:
        raise _unknown(text) from None
    if not entries:
        have = sorted({entry.model for entry in published_weights()})
        raise FleetnetError(
            f"nobody publishes weights of {find_model(text).name} that are known here: give a file "
            f"of them, or a network that has some ({', '.join(have)})"
        )
    return Subject.of(entries[0], text)


def find_weights_for(model: str, word: str | os.PathLike[str]) -> Subject:
    """Return what ``word`` means if weights for a given network are wanted.

    In addition to :func:`find_subject`, it may be the name of a set, such as ``paddle``.

    Raises:
        FleetnetError: nothing of that name exists, or the set has no weights for this network.
    """
    text = os.fspath(word)
    path = Path(text)
    if text in set_names() and _exists(path, text):
        return _on_disk(text, path, [entry for entry in weights_of(model) if entry.set == text])
    if _exists(path, text) or ":" in text or path.suffix or len(path.parts) != 1:
        return find_subject(word)
    if text in set_names() or not _is_name(text):
        return Subject.of(find_weights(text, model), text)
    return find_subject(word)


def file_of(
    subject: Subject,
    *,
    say: Say = lambda _: None,
    fetched: Fetched = lambda _have, _total: None,
    offline: bool = False,
) -> Path:
    """Return the file of a subject's weights, downloading a published set once.

    Args:
        subject: the model.
        say: called with a line about a download.
        fetched: called with its progress.
        offline: download nothing.

    Raises:
        BundleError: a bundle has no weights, or is damaged.
        FleetnetError: a published set cannot be fetched; the message says which file to put where.
    """
    if subject.published is not None:
        return _fetch(subject.published, say, fetched, offline=offline)
    if subject.kind == "bundle":
        bundle = Bundle.load(subject.path)
        _make_known(bundle)
        return bundle.file(format="safetensors")
    return subject.path


def _make_known(bundle: Bundle) -> None:
    """Make the network known that a bundle describes, so that its weights are recognised."""
    name, settings = bundle.manifest.network
    if settings is not None:
        try:
            told_model(name, settings)
        except ModelError as error:
            raise BundleError(f"{bundle.path}: {error}") from None


def _fetch(entry: PublishedWeights, say: Say, fetched: Fetched, *, offline: bool) -> Path:
    with needing(("requests", "filelock"), "train", "published weights"):
        from fleetnet.weights.hub import fetch
    if not (offline or entry.package or cached_path(entry).exists()):
        others = [f"{other.set}:{other.model}" for other in weights_of(entry.model)
                  if other != entry]  # fmt: skip
        also = f"; also published: {', '.join(others)}" if others else ""
        say(f"fetching {entry.file}, {entry.set}'s weights of {entry.model}{also}")
    return fetch(entry, offline=offline, fetched=fetched)


def _is_name(text: str) -> bool:
    return text.casefold() in map(str.casefold, NAMES)


def _exists(path: Path, text: str) -> bool:
    try:
        return bool(text) and path.exists()
    except OSError as error:
        raise FleetnetError(f"cannot read {text}: {error.strerror or error}") from None


def _on_disk(text: str, path: Path, published: Sequence[PublishedWeights]) -> Subject:
    """Return what a path is; if it is nothing, the error says how to name ``published``."""
    if path.name == MANIFEST:
        return Subject(text, "bundle", path.parent)
    if not path.is_dir():
        return Subject(text, "bundle" if path.suffix == ".onnx" else "weights", path)
    if (path / MANIFEST).is_file():
        return Subject(text, "bundle", path)
    for name in (BEST, LAST):
        if (path / name).is_file():
            return Subject(text, "weights", path / name)
    try:
        weights_in(path)
    except CheckpointError as error:
        what = str(error).removeprefix(f"{path} ")
        names = " or ".join(f"{entry.set}:{entry.model}" for entry in published)
        also = f"; the published weights are {names}" if names else ""
        raise FleetnetError(
            f"{path} is not a bundle or a run's folder, and {what}{also}", file=str(path)
        ) from None
    return Subject(text, "weights", path)


def _unknown(text: str) -> FleetnetError:
    path = Path(text)
    if os.sep in text or path.suffix in _LOOKS_LIKE_A_PATH:
        return FleetnetError(f"no such file or folder: {text} (a model is {KINDS})")
    set_name, colon, _ = text.partition(":")
    if colon:
        return unknown("set of weights", set_name, set_names())
    return FleetnetError(
        f"'{text}' is neither a file nor a network{nearest(text, NAMES)} (a model is {KINDS}; "
        "'fleetnet weights list' has the names)"
    )
