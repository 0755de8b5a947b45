"""Reading weights from a file of any known format, recognised from its content."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from fleetnet.errors import CheckpointError, ModelError, one_line
from fleetnet.models.registry import ModelEntry, family_of, find_model
from fleetnet.weights.arrays import PLAIN
from fleetnet.weights.declared import declared_network
from fleetnet.weights.find import Found, find_network
from fleetnet.weights.folder import Config, weights_in
from fleetnet.weights.identify import Identity
from fleetnet.weights.pickles import PickleDamaged, load_pickle
from fleetnet.weights.published import published_file
from fleetnet.weights.state import check_finite, some
from fleetnet.weights.tables import find_tables
from fleetnet.weights.torch_files import LEGACY, read_archive, read_legacy

MAX_BYTES = 2 * 2**30
"""The largest network here has 140 MB, with an optimiser a few times that."""
_OTHERS = {
    b"\x1f\x8b": "is compressed with gzip: unpack it first",
    b"BZh": "is compressed with bzip2: unpack it first",
    b"\xfd7zXZ": "is compressed with xz: unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed with zstandard: unpack it first",
    b"\x89HDF": "is of HDF5, as Keras writes it, which is not read here",
    b"GGUF": "is of GGUF, which is not read here",
    b"version https://git-lfs": "is a pointer of Git LFS, not the file: 'git lfs pull' fetches it",
    b"<!DOCTYPE": "is a web page, not the file that was meant: download it again",
    b"<html": "is a web page, not the file that was meant: download it again",
}


@dataclass(frozen=True)
class Content:
    """All that a file holds, as plain values, tensors, and stand-ins for the rest.

    Attributes:
        path: where it is.
        format: ``safetensors``, ``torch``, ``torch, before 1.6`` or ``PaddlePaddle``.
        value: the content.
        objects: names of what was replaced by stand-ins, such as ``argparse.Namespace``.
        config: the config beside the weights, in a folder of the Hugging Face Hub.
        size: of the file.
    """

    path: Path
    format: str
    value: Any
    objects: tuple[str, ...]
    config: Config
    size: int


@dataclass(frozen=True)
class WeightsFile:
    """The weights that a file holds.

    Attributes:
        path: where it is.
        format: as in :class:`Content`.
        state: tensors of a network by their names in the file, without wrappers and prefixes.
        identity: which network that is.
        unwrapped: the keys under which the weights were, and the prefix of their names, if any.
        left_out: what else there was, in a few words each.
        objects: names of what could have run code, which was replaced by stand-ins.
        config: the config beside the weights, in a folder of the Hugging Face Hub.
    """

    path: Path
    format: str
    state: dict[str, Tensor]
    identity: Identity
    unwrapped: tuple[str, ...]
    left_out: tuple[str, ...]
    objects: tuple[str, ...]
    config: Config

    @property
    def origin(self) -> str:
        """The format, and the keys and prefixes that were removed."""
        return ", ".join(filter(None, (self.format, " ".join(self.unwrapped))))

    @property
    def remarks(self) -> str:
        """What was left out, in a line; empty if nothing was."""
        parts = list(self.left_out)
        if self.objects:
            parts.append(f"objects of Python, not run: {some(list(self.objects))}")
        return "; ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the numbers themselves as JSON values."""
        return {
            "file": str(self.path),
            "format": self.format,
            "wrapped_in": list(self.unwrapped),
            "left_out": list(self.left_out),
            "objects": list(self.objects),
            "network": self.identity.entry.name,
            "layout": self.identity.adapter.name,
            "num_classes": self.identity.num_classes,
            "in_channels": self.identity.in_channels,
            "shapes": {key: list(value.shape) for key, value in self.state.items()},
        }


def read_weights(path: str | Path, first: ModelEntry | None = None) -> WeightsFile:
    """Read the weights of a file, or of a folder of the Hugging Face Hub, trusting nothing in it.

    Args:
        path: of the file or folder.
        first: a network that is tried before others of the same names and shapes.

    Raises:
        CheckpointError: it is missing, too large, damaged, of no known format, without a known
            network, or with weights that are not numbers.
    """
    return weights_of(read_content(path), first)


def weights_of(content: Content, first: ModelEntry | None = None) -> WeightsFile:
    """Return the network in what a file holds.

    Args:
        content: of the file.
        first: a network that is tried before others of the same names and shapes; the one that a
            checkpoint of ours describes or a published file is named after comes next.

    Raises:
        CheckpointError: there is none, or its weights are not numbers.
    """
    path = content.path
    try:
        told = declared_network(content.value) or _published_network(path)
        tried = [entry for entry in (first, told) if entry is not None]
        found = find_network(find_tables(content.value, content.size), str(path), tried)
    except PickleDamaged as error:
        raise CheckpointError(f"{path} {error}", file=str(path)) from None
    except ModelError as error:
        raise CheckpointError(f"{path}: {error}", file=str(path)) from None
    except CheckpointError as error:
        if not content.objects:
            raise
        raise CheckpointError(
            f"{error}; objects of Python in it are not run: {some(list(content.objects))}"
        ) from None
    _check(found, path)
    _check_architecture(found.identity, content)
    return WeightsFile(
        path,
        content.format,
        found.state,
        found.identity,
        found.steps,
        found.left_out,
        content.objects,
        content.config,
    )


def _published_network(path: Path) -> ModelEntry | None:
    entry = published_file(path.name)
    return find_model(entry.model) if entry else None


def read_content(path: str | Path) -> Content:
    """Read all that a file holds, running nothing in it.

    Raises:
        CheckpointError: missing, too large, of no known format, or damaged.
    """
    path, config = weights_in(Path(path))
    content = _read(path)
    try:
        if content[:4] == b"PK\x03\x04":
            kind, pickled = "torch", read_archive(content)
        elif LEGACY in content[:32]:
            kind, pickled = "torch, before 1.6", read_legacy(content)
        elif content[:1] == b"\x80" and not _is_safetensors(content):
            kind, pickled = "PaddlePaddle", load_pickle(io.BytesIO(content), PLAIN)
        elif _begins_like_safetensors(content):
            value = _read_safetensors(content, path)
            return Content(path, "safetensors", value, (), config, len(content))
        else:
            raise CheckpointError(f"{path} {_other(content)}", file=str(path))
    except PickleDamaged as error:
        raise CheckpointError(f"{path} {error}", file=str(path)) from None
    return Content(path, kind, pickled.value, pickled.names, config, len(content))


def _begins_like_safetensors(content: bytes) -> bool:
    return len(content) > 9 and content[8:9] == b"{"


def _is_safetensors(content: bytes) -> bool:
    """Tell a safetensors header from a pickle: one length in 32 begins like a pickle."""
    return _begins_like_safetensors(content) and _header_length(content) <= len(content) - 8


def _header_length(content: bytes) -> int:
    (length,) = struct.unpack("<Q", content[:8])
    return int(length)


def _other(content: bytes) -> str:
    """Return the message about a file in another format."""
    for magic, words in _OTHERS.items():
        if content.startswith(magic):
            return words
    if content[257:262] == b"ustar":
        return "is a tar archive: unpack it, and give the file in it"
    return (
        "is not a checkpoint or weights in a known format (known: .pdparams, .pth, .pt, "
        ".safetensors)"
    )


def _read(path: Path) -> bytes:
    try:
        size = os.stat(path).st_size  # noqa: PTH116 - follows links as open does
        if size > MAX_BYTES:
            raise CheckpointError(
                f"{path} is larger than {MAX_BYTES // 2**30} GiB", code="too-large", file=str(path)
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"no such file: {path}", code="not-found", file=str(path)) from None
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path}: {error.strerror or error}", code="unreadable", file=str(path)
        ) from None


def _read_safetensors(content: bytes, path: Path) -> dict[str, Tensor]:
    length = _header_length(content)
    if length > len(content) - 8:
        raise CheckpointError(
            f"{path} claims a header of {length:,} bytes, but has {len(content):,} in all: it is "
            "truncated or no safetensors file",
            file=str(path),
        )
    try:
        # The library gives them in another order each time, and messages name the first ones.
        return dict(sorted(load_safetensors(content).items()))
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        reason = one_line(error)
        raise CheckpointError(
            f"{path} is a damaged safetensors file: {reason}", file=str(path)
        ) from None


def _check_architecture(identity: Identity, content: Content) -> None:
    """Refuse weights that fit a network but are of another one, as timm's config says."""
    beside = content.value if isinstance(content.value, Mapping) else {}
    said = (content.config.values.get("architecture"), beside.get("arch"), content.path.name)
    lookalikes = family_of(identity.entry).lookalikes
    for word in said:
        if isinstance(word, str) and word in lookalikes:
            raise CheckpointError(
                f"{content.path} is of {word}, which has the names and shapes of "
                f"{identity.entry.name} but {lookalikes[word]}: not a network known here",
                file=str(content.path),
            )


def _check(found: Found, path: Path) -> None:
    for name, value in found.state.items():
        whole = not value.is_floating_point() and value.ndim > 0
        if whole or (value.dtype.itemsize < 2 and value.is_floating_point()):
            raise CheckpointError(
                f"{path}: '{name}' holds {str(value.dtype).removeprefix('torch.')}, as quantised "
                "weights do: refused",
                file=str(path),
            )
    check_finite(found.state, str(path))
