"""Preparing a run: its device, batches and network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from fleetnet.amounts import count
from fleetnet.data.augment import Augment
from fleetnet.data.contents import Contents, are_among
from fleetnet.data.loader import Loader
from fleetnet.data.shares import ALONE, Place
from fleetnet.data.sources import Source, fingerprint
from fleetnet.data.sources.samples import SampleTable
from fleetnet.data.splits import Split, check_classes, split
from fleetnet.errors import DataError, FleetnetError
from fleetnet.models.base import Network
from fleetnet.reporting import Advance, Note, Say
from fleetnet.training.ranks import ONLY, Ranks
from fleetnet.training.recipe import Recipe
from fleetnet.weights.create import create_model


def find_device(wanted: str, ranks: Ranks = ONLY) -> torch.device:
    """Return the device that a recipe wants; ``auto`` is CUDA where there is any.

    Each of several processes on a machine has a CUDA device of its own.

    Raises:
        FleetnetError: there is no such device here.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise FleetnetError("device is 'cuda', but PyTorch finds no CUDA device here")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and ranks.size > 1:
        devices = torch.cuda.device_count()
        if ranks.local_rank >= devices:
            raise FleetnetError(
                f"this machine has {count(devices, 'CUDA device')} and more processes than that: "
                "start one for each, or set device=cpu",
                settings=["device"],
            )
        return torch.device("cuda", ranks.local_rank)
    return torch.device(wanted)


def split_data(source: Source, recipe: Recipe, advance: Advance, say: Say) -> Split:
    """Return which images are trained on and which held out; ``say`` gets what is dropped.

    Raises:
        DataError: too few classes or images.
    """
    check_classes(source)
    parts: Split = split(source, recipe.data.val_fraction, recipe.seed, advance=advance)
    if len(parts.train) < 2 or not len(parts.val):
        raise DataError(f"{source.description} has too few images to train and to hold out")
    if len(parts.dropped):
        are, were = ("is", "was") if len(parts.dropped) == 1 else ("are", "were")
        say(
            f"{count(len(parts.dropped), 'training image')} {are} held out or tested too, under "
            f"other names, and {were} dropped"
        )
    return parts


def describe_data(source: Source, parts: Split, recipe: Recipe) -> dict[str, Any]:
    """Return what every checkpoint says about the data; the fingerprint reads all names."""
    return {
        "spec": source.spec,
        "description": source.description,
        "fingerprint": fingerprint(source),
        "val_fraction": recipe.data.val_fraction,
        "seed": recipe.seed,
        "train_images": len(parts.train),
        "val_images": len(parts.val),
    }


def check_held_out(source: Source, parts: Split, trained_images: Contents, say: Say) -> None:
    """Report how many held-out images the initial weights were trained on."""
    if not len(trained_images):
        return
    known = int(are_among(source, parts.val, trained_images).sum())
    if known:
        say(
            f"the weights to start from were trained on {known} of the "
            f"{count(len(parts.val), 'held-out image')}: figures on those are too good; "
            "fleetnet evaluate leaves them out"
        )


def check_sample_bits(before: int | None, recipe: Recipe, say: Say) -> None:
    """Warn if the initial weights were trained on 16-bit images with another scale."""
    now = recipe.input.sample_bits
    if before is not None and before != now:
        say(
            Note(
                f"the weights were trained with input.sample_bits={before}, this run has "
                f"{now or 'none'}: where the images are alike, set input.sample_bits={before}",
                settings=["input.sample_bits"],
            )
        )


def class_counts(source: Source, parts: Split) -> list[int]:
    """Return how many training images each class has."""
    table = SampleTable.of(source.samples)
    counts: list[int] = table.label_counts(parts.train, len(source.classes)).tolist()
    return counts


def build_loaders(
    source: Source, parts: Split, recipe: Recipe, place: Place = ALONE
) -> tuple[Loader, Loader]:
    """Return the loaders of the training images and of the held-out images.

    Those of the process at ``place`` load its share of each batch.
    """
    preprocess = recipe.input.preprocess()
    train_loader = Loader(
        source,
        parts.train,
        preprocess,
        batch_size=recipe.batch_size,
        workers=recipe.data.workers,
        augment=Augment(
            preprocess,
            **recipe.augment.model_dump(exclude={"mixup", "cutmix", "mix_probability"}),
        ),
        seed=recipe.seed,
        place=place,
        **recipe.data.model_dump(include={"sampling", "repeats", "buffer", "strict"}),
    )
    val_loader = Loader(
        source,
        parts.val,
        preprocess,
        batch_size=recipe.batch_size,
        workers=recipe.data.workers,
        strict=recipe.data.strict,
        place=place,
    )
    return train_loader, val_loader


def build_network(
    model: str, classes: int, recipe: Recipe, weights: str | Path | None, say: Say
) -> Network:
    """Return the network to train, from ``weights`` or from scratch, on the processor.

    Raises:
        FleetnetError: the weights cannot be used.
    """
    arguments: dict[str, Any] = {"drop_path": recipe.model.drop_path}
    if recipe.model.dropout is not None:
        arguments["dropout"] = recipe.model.dropout
    network = create_model(model, classes, weights, replace_head=True, say=say, **arguments)
    if recipe.model.zero_init and weights is None:
        network.zero_residuals()
    return network
