"""The checkpoint that a training run saves."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fleetnet.bundle import Activation
from fleetnet.data.contents import NONE, Contents
from fleetnet.errors import CheckpointError, FleetnetError
from fleetnet.files import NOTHING, Standing, atomic_file, standing
from fleetnet.models.registry import build_model, description_of, told_model
from fleetnet.preprocess import Preprocess
from fleetnet.weights.declared import FORMAT
from fleetnet.weights.read import Content, read_content
from fleetnet.weights.state import check_finite, load_state

FORMAT_VERSION = 1


@dataclass
class Checkpoint:
    """A trained network and everything needed to use it or to train it on.

    Attributes:
        model: the network's name.
        classes: names of its classes.
        preprocess: how its images are prepared.
        state: weights to evaluate and export (the moving average, if there is one).
        recipe: the values of the recipe it was trained with.
        data: where its images came from: ``spec`` to open them again on the same machine,
            ``fingerprint``, ``description``, and ``val_fraction`` and ``seed`` of the split.
        epoch: the last finished one, counted from 1; 0 before the first.
        metrics: on the held-out images after that epoch; empty within an epoch.
        activation: how logits become probabilities, ``sigmoid`` for multi-label data.
        history: what each epoch measured, as in ``metrics.jsonl``.
        training: what resuming needs: the raw weights, the state of optimiser, average, scaler and
            random numbers, and the position in the epoch; empty if there are only weights.
        trained_images: the contents of all images that the weights were trained on, including the
            weights that training started from (:mod:`fleetnet.data.contents`); empty if unknown.
        held_out_images: the contents of the images that it was measured on, likewise.
        found: what was at its path when it was read, so that nothing newer is replaced.
    """

    model: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    state: dict[str, Tensor]
    recipe: dict[str, Any]
    data: dict[str, Any]
    epoch: int
    metrics: dict[str, Any]
    activation: Activation = "softmax"
    history: list[dict[str, Any]] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    trained_images: Contents = field(default_factory=lambda: NONE)
    held_out_images: Contents = field(default_factory=lambda: NONE)
    found: Standing = NOTHING

    def save(self, path: Path) -> None:
        """Write the checkpoint so that ``path`` is whole or as it was.

        Raises:
            FleetnetError: the disk is full, or the place cannot be written to.
        """
        description = {
            "model": self.model,
            **described(self.model),
            "classes": self.classes,
            "preprocess": self.preprocess.to_json(),
            "recipe": self.recipe,
            "data": self.data,
            "epoch": self.epoch,
            "metrics": self.metrics,
            "activation": self.activation,
            "history": self.history,
        }
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "description": json.dumps(description),
            "model": self.state,
            "training": self.training,
            "images": {
                "trained": _to_tensor(self.trained_images),
                "held_out": _to_tensor(self.held_out_images),
            },
        }
        # Through memory: on a full disk, torch.save raises a RuntimeError that does not say so.
        buffer = io.BytesIO()
        torch.save(content, buffer)
        with atomic_file(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Read a checkpoint, trusting nothing in it.

        Raises:
            CheckpointError: it is missing, damaged, newer than this version, or not one of ours.
        """
        found = standing(Path(path))
        content = read_content(path)
        if not is_checkpoint(content):
            raise CheckpointError(
                f"{path} is not a Fleetnet checkpoint, as 'fleetnet train' writes them",
                file=str(path),
            )
        return replace(cls.of(content), found=found)

    @classmethod
    def of(cls, file: Content) -> Checkpoint:
        """Return the checkpoint that a file of ours holds.

        Raises:
            CheckpointError: it is damaged, newer than this version, or holds what we never write.
        """
        path, content = file.path, file.value
        if file.objects:
            raise CheckpointError(
                f"{path} holds '{file.objects[0]}', which no checkpoint of ours does and which "
                "could run code: refused",
                file=str(path),
            )
        if content.get("format_version") != FORMAT_VERSION:
            raise CheckpointError(
                f"{path} has format version {content.get('format_version')!r}, but this fleetnet "
                f"reads version {FORMAT_VERSION}; update fleetnet",
                file=str(path),
            )
        try:
            description = json.loads(content["description"])
            return cls(
                model=told_model(description["model"], description.get("network")).name,
                classes=tuple(map(str, description["classes"])),
                preprocess=Preprocess.from_json(description["preprocess"]),
                state=dict(content["model"]),
                recipe=dict(description["recipe"]),
                data=dict(description["data"]),
                epoch=int(description["epoch"]),
                metrics=dict(description["metrics"]),
                activation=_activation(description.get("activation", "softmax")),
                history=[dict(record) for record in description.get("history", [])],
                training=dict(content["training"]),
                trained_images=_contents(content, "trained"),
                held_out_images=_contents(content, "held_out"),
            )
        except FleetnetError as error:
            raise CheckpointError(f"{path}: {error}", file=str(path)) from None
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise CheckpointError(
                f"{path} is damaged: its description is incomplete", file=str(path)
            ) from None

    def network(self) -> nn.Module:
        """Build the network with these weights, in evaluation mode.

        Raises:
            CheckpointError: the weights do not fit the network they name, or are not numbers.
        """
        check_finite(self.state, "the checkpoint")
        network = build_model(self.model, len(self.classes))
        load_state(network, self.state, "the checkpoint")
        return network.eval()


def described(model: str) -> dict[str, Any]:
    """Return what a file says of a network beside its name: the settings that describe it, if any.

    A checkpoint and a bundle carry them, so that they need no other file.
    """
    settings = description_of(model)
    return {} if settings is None else {"network": settings}


def is_checkpoint(content: Content) -> bool:
    """Tell whether :meth:`Checkpoint.save` wrote a file; otherwise it is from elsewhere."""
    return isinstance(content.value, dict) and content.value.get("format") == FORMAT


def trained_images_of(weights: str | Path) -> Contents:
    """Return the trained images that a file records: none if it is not one of ours."""
    try:
        content = read_content(weights)
        return _contents(content.value, "trained") if is_checkpoint(content) else NONE
    except (FleetnetError, OSError, TypeError, ValueError):
        return NONE  # reading the weights then says what is wrong with the file


def sample_bits_of(weights: str | Path) -> int | None:
    """Return how many bits of 16 the images had that weights were trained on, if they say."""
    try:
        content = read_content(weights)
        if not is_checkpoint(content):
            return None
        bits = json.loads(content.value["description"])["preprocess"].get("sample_bits")
    except (
        FleetnetError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
    ):
        return None  # reading the weights then says what is wrong with the file
    return bits if isinstance(bits, int) else None


def _to_tensor(contents: Contents) -> Tensor:
    """Return the numbers as signed integers, which every version of PyTorch reads."""
    return torch.from_numpy(contents.view(np.int64).copy())


def _contents(content: dict[str, Any], key: str) -> Contents:
    """Return recorded images; none for a file of a version that did not record them.

    Raises:
        ValueError: the entry is not as written.
    """
    images = content.get("images", {})
    if key not in images:
        return NONE
    value = images[key]
    if not isinstance(value, Tensor) or value.dtype != torch.int64 or value.dim() != 1:
        raise ValueError
    # With strides, a tensor can claim more elements than it has.
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ValueError
    found: Contents = value.contiguous().numpy().view(np.uint64)
    return found


def _activation(value: str) -> Activation:
    if value == "softmax":
        return "softmax"
    if value == "sigmoid":
        return "sigmoid"
    raise CheckpointError(f"unknown activation {value!r}; update fleetnet")
