"""A folder of weights, as a clone of a repository of the Hugging Face Hub is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleetnet.errors import CheckpointError, FleetnetError
from fleetnet.preprocess import Preprocess

FILES = ("model.safetensors", "pytorch_model.safetensors", "pytorch_model.bin", "model.bin")
"""The Hub's libraries' names of the file, the safest first."""
_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".pdparams")
_MAX_CONFIG = 16 * 2**20


@dataclass(frozen=True)
class Config:
    """The content of a ``config.json`` beside the weights, as timm and transformers write it."""

    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in order; empty if it has none."""
        timms = self.values.get("pretrained_cfg")
        for source in (self.values, timms if isinstance(timms, Mapping) else {}):
            names = source.get("label_names") or source.get("id2label")
            if isinstance(names, Mapping) and names.keys() == set(map(str, range(len(names)))):
                names = [names[str(index)] for index in range(len(names))]
            if isinstance(names, list) and all(isinstance(name, str) and name for name in names):
                return tuple(names)
        return ()

    @property
    def preprocess(self) -> Preprocess | None:
        """How images are prepared, from timm's ``pretrained_cfg``; None if it does not say."""
        given = self.values.get("pretrained_cfg")
        if not isinstance(given, Mapping):
            return None
        try:
            crop = int(given["input_size"][-1])
            resize = int(crop / float(given.get("crop_pct", 0.875)))
            return Preprocess(
                resize=max(resize, crop),
                crop=crop,
                interpolation=given.get("interpolation", "bicubic"),
                mean=tuple(given["mean"]),
                std=tuple(given["std"]),
            )
        except (FleetnetError, KeyError, TypeError, ValueError, IndexError, ArithmeticError):
            return None


def weights_in(path: Path) -> tuple[Path, Config]:
    """Return the file of weights that ``path`` is or contains, and the config beside it.

    Raises:
        CheckpointError: a folder without one, with several, or with one in pieces; or a pipe or a
            device, which may have no end and cannot be read twice.
    """
    if not path.is_dir():
        if path.exists() and not path.is_file():
            raise CheckpointError(
                f"{path} is a pipe or a device: save what it gives to a file", file=str(path)
            )
        return path, Config()
    try:
        names = sorted(entry.name for entry in path.iterdir() if entry.is_file())
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path}: {error.strerror or error}", code="unreadable", file=str(path)
        ) from None
    known = [name for name in FILES if name in names]
    others = [name for name in names if name.endswith(_SUFFIXES)]
    pieces = [name for name in names if name.endswith(".index.json")]
    if not known and pieces:
        raise CheckpointError(
            f"{path} holds weights in several pieces ({pieces[0]}), which no network here is "
            "large enough for",
            file=str(path),
        )
    if not known and len(others) != 1:
        what = f"several files of weights ({', '.join(others)}): give one" if others else ""
        raise CheckpointError(
            f"{path} holds {what or f'no file of weights (such as {FILES[0]})'}", file=str(path)
        )
    return path / (known or others)[0], _config(path / "config.json")


def _config(path: Path) -> Config:
    """Read the config beside the weights; an unreadable file counts as none."""
    try:
        if path.stat().st_size > _MAX_CONFIG:
            return Config()
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return Config()
    return Config(values) if isinstance(values, dict) else Config()
