"""From a trained network to a narrower one that trains on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fleetnet.data.loader import Loader
from fleetnet.data.sources import Indices, Source
from fleetnet.errors import DataError
from fleetnet.models.narrowing import Narrowing
from fleetnet.models.network import MobileNetwork, Structure
from fleetnet.models.normalisation import Normalisation
from fleetnet.models.registry import find_model
from fleetnet.preprocess import Preprocess
from fleetnet.reporting import Advance, Begin
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.pruning import Importance
from fleetnet.training.pruning.channels import check_share, prune
from fleetnet.training.recipe import Recipe
from fleetnet.training.run_setup import find_device, split_data
from fleetnet.training.validation import validate_multi_label, validate_single_label

PRUNED = "pruned.ckpt"
SHORTER, LOWER = 3, 4
"""By what epochs and learning rate of the training are divided to train on: its last third again,
at whose beginning a cosine is at a quarter (learning-rate rewinding, Renda et al. 2020)."""
IMAGES = 1024
"""How many training images rank the channels, at most."""
_BATCH = 32


@dataclass(frozen=True)
class Narrower:
    """What pruning left, before it trains on.

    Attributes:
        checkpoint: of the narrow network.
        before: size of the wide one, for images of its own size.
        after: size of the narrow one.
        top1_before: share of the held-out images that the wide one gets right.
        top1_after: the same of the narrow one.
        images: how many held-out images there are.
    """

    checkpoint: Checkpoint
    before: Structure
    after: Structure
    top1_before: float
    top1_after: float
    images: int

    @property
    def network(self) -> Narrowing:
        """The settings of the narrow network."""
        settings: Narrowing = find_model(self.checkpoint.model).arguments["description"]
        return settings


class _Parts(NamedTuple):
    source: Source
    train: Indices
    val: Indices
    preprocess: Preprocess
    workers: int
    device: torch.device


def recipe_of(checkpoint: Checkpoint, settings: Sequence[str]) -> Recipe:
    """Return how a pruned network trains on: its training's last third, unless told otherwise.

    A network from elsewhere has no recipe: it gets a part of ``finetune``.

    Args:
        checkpoint: of the wide network.
        settings: overrides, each ``KEY=VALUE``.

    Raises:
        RecipeError: an override is wrong.
    """
    values: dict[str, Any] = {**checkpoint.recipe}
    if not values:
        values = Recipe.load().model_dump(mode="json")
        known = checkpoint.preprocess.to_json()
        values["input"] = {key: known[key] for key in values["input"] if key in known}
    recipe = Recipe.from_values(values, "of the training")
    model = recipe.model.model_copy(update={"zero_init": False})
    plain = recipe.model_copy(update={"model": model, "distill": type(recipe.distill)()})
    epochs = max(round(recipe.epochs / SHORTER), 1)
    return plain.going_on(epochs, LOWER, settings, "to train on")


def narrower(
    checkpoint: Checkpoint,
    source: Source,
    recipe: Recipe,
    macs: float,
    importance: Importance,
    begin: Begin,
) -> Narrower:
    """Prune a network, and measure it on the held-out images before and after.

    Args:
        checkpoint: of the wide network.
        source: labelled images of its classes.
        recipe: gives the split.
        macs: the share of the multiply-adds to keep.
        importance: how channels are ranked.
        begin: called with each piece of work.

    Raises:
        DataError: the data has other classes than the network, or too few images.
        ModelError: the network cannot be pruned that far.
        FleetnetError: torch-pruning is not installed.
    """
    if tuple(source.classes) != checkpoint.classes:
        raise DataError(
            f"{source.description} has other classes than the network: prune on the images that it "
            "was trained on, or train it on these first"
        )
    entry = find_model(checkpoint.model)
    preprocess = checkpoint.preprocess
    network = cast("MobileNetwork", checkpoint.network())
    check_share(network, entry, preprocess.crop, macs)  # before all images are measured
    split = split_data(source, recipe, lambda _: None, lambda _: None)
    device = find_device(recipe.device)
    network.to(device)
    parts = _Parts(source, split.train, split.val, preprocess, recipe.data.workers, device)
    before = _top1(network, parts, begin("measuring", len(split.val)))
    if importance == "taylor":
        chosen = np.random.default_rng(recipe.seed).permutation(split.train)[:IMAGES]
        add_gradients(network, parts._replace(train=chosen), begin("ranking channels", len(chosen)))
    pruned = prune(network.cpu(), entry, preprocess.crop, macs, importance)
    after = _top1(network.to(device), parts, begin("measuring again", len(split.val)))
    narrow = replace(
        checkpoint, model=pruned.entry.name, state=pruned.state, training={}, metrics={}
    )
    return Narrower(narrow, pruned.before, pruned.after, before, after, len(split.val))


def add_gradients(network: nn.Module, parts: _Parts, advance: Advance) -> None:
    """Add up the gradients of the loss on the training images, which ``taylor`` ranks by.

    The network is in evaluation mode, so batch norm stays as it is.
    """
    network.zero_grad()
    multi_label = parts.source.multi_label
    for pixels, labels in _batches(parts, parts.train):
        logits = network(pixels)
        loss = (
            functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
            if multi_label
            else functional.cross_entropy(logits, labels, reduction="sum")
        )
        loss.backward()  # type: ignore[no-untyped-call]
        advance(len(labels))


def _top1(network: nn.Module, parts: _Parts, advance: Advance) -> float:
    logits, labels = [], []
    with torch.no_grad():
        for pixels, truth in _batches(parts, parts.val):
            logits.append(network(pixels).cpu().numpy())
            labels.append(truth.cpu().numpy())
            advance(len(truth))
    if not labels:
        raise DataError(f"no held-out image of {parts.source.description} could be read")
    validate = validate_multi_label if parts.source.multi_label else validate_single_label
    found = validate(np.concatenate(logits), np.concatenate(labels), tuple(parts.source.classes))
    return found.top1


def _batches(parts: _Parts, indices: Indices) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ``float32[N, 3, H, W]`` and labels of the images that can be read."""
    normalise = Normalisation(*parts.preprocess.normalisation(), parts.device)
    loader = Loader(
        parts.source, indices, parts.preprocess, batch_size=_BATCH, workers=parts.workers
    )
    try:
        for batch in loader.batches():
            if len(batch.labels):
                yield normalise(batch.pixels.to(parts.device)), batch.labels.to(parts.device)
    finally:
        loader.close()
