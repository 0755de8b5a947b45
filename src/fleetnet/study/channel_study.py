"""The study of channels: shapes under a budget, their rank, and what they learn in a short time."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from fleetnet.amounts import count
from fleetnet.data.loader import Loader
from fleetnet.data.sources import Source, fingerprint
from fleetnet.errors import FleetnetError
from fleetnet.models.description import Description
from fleetnet.models.normalisation import Normalisation
from fleetnet.models.registry import add_described, build_model
from fleetnet.study.budget import Budget, widest
from fleetnet.study.network_rank import network_rank
from fleetnet.study.ramps import REFERENCE, Shape, random_shapes, references
from fleetnet.study.ranks import check_thresholds
from fleetnet.study.results_file import ResultsFile
from fleetnet.training.callbacks import Callback
from fleetnet.training.recipe import Recipe
from fleetnet.training.run_setup import split_data
from fleetnet.training.trainer import resume, train
from fleetnet.weights.settings_file import write_description
from fleetnet.weights.subject import LAST

RESULTS, BEST = "channels.jsonl", "custom.yaml"
RANK_IMAGES = 128


class ChannelSettings(BaseModel):
    """What determines a study.

    Attributes:
        networks: how many shapes are drawn, besides the references.
        seed: of the shapes, the networks and their training.
        threshold: of the numerical rank.
        budget: of every network.
        data: fingerprint of the images.
        recipe: of the training, as values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: Literal["channels"] = "channels"
    version: Literal[1] = 1
    networks: int = Field(ge=1, le=10_000)
    seed: int = Field(ge=0, lt=2**63)
    threshold: float
    budget: Budget
    data: str
    recipe: dict[str, Any]

    @classmethod
    def of(
        cls, source: Source, recipe: Recipe, budget: Budget, *, networks: int, threshold: float
    ) -> ChannelSettings:
        """Return the settings of a study of a source, whose seed is the recipe's.

        Raises:
            FleetnetError: the threshold is out of range.
        """
        check_thresholds([threshold])
        return cls(
            networks=networks,
            seed=recipe.seed,
            threshold=threshold,
            budget=budget,
            data=fingerprint(source),
            recipe=recipe.model_dump(mode="json"),
        )


class ChannelLine(BaseModel):
    """What was measured of a network.

    Attributes:
        name: of the shape, and so is ``kind``.
        channels: of its blocks.
        parameters: that train.
        macs: multiply-adds for an image.
        rank: as :func:`fleetnet.study.network_rank.network_rank` returns it.
        top1: on the held-out images after the last epoch.
        images: how many those are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: str
    channels: tuple[int, ...]
    parameters: int
    macs: int
    rank: float = Field(ge=0, le=1)
    top1: float = Field(ge=0, le=1)
    images: int


class Candidate(NamedTuple):
    """A shape and the network that the budget makes of it."""

    shape: Shape
    network: Description


Begin = Callable[[Candidate], Sequence[Callback]]
"""Called before a network is trained; returns what is called back while it is."""


def candidates(settings: ChannelSettings) -> list[Candidate]:
    """Return the networks of a study, the references first.

    Raises:
        FleetnetError: the budget is too small.
    """
    shapes = (*references(), *random_shapes(settings.networks, settings.seed))
    return [Candidate(shape, widest(shape, settings.budget)) for shape in shapes]


def study_channels(
    source: Source,
    recipe: Recipe,
    settings: ChannelSettings,
    output: Path,
    *,
    begin: Begin = lambda _: (),
    done: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[ChannelLine]:
    """Measure and train every network that has no result in ``output`` yet; return all results.

    A training that was stopped goes on where it was saved. The best network's settings are written
    to ``custom.yaml``.

    Args:
        source: labelled images.
        recipe: of the training.
        settings: of :meth:`ChannelSettings.of` for these.
        output: folder of the results, which are complete whenever the process ends.
        begin: called before each training.
        done: called with how many networks are done, and how many there are.

    Raises:
        Interrupted: SIGINT or SIGTERM came; calling again goes on.
        FleetnetError: the data or the recipe cannot be used, or the folder is of another study.
    """
    chosen = candidates(settings)
    if source.multi_label:
        raise FleetnetError(f"{source.description} is multi-label: a study takes one label each")
    file = ResultsFile(output / RESULTS, settings, ChannelLine)
    with file.taken() as found:
        lines = {line.name: line for line in found}
        images = None
        for number, candidate in enumerate(chosen):
            done(number, len(chosen))
            name = candidate.shape.name
            if name not in lines:
                images = _images(source, recipe) if images is None else images
                lines[name] = _measure(source, recipe, settings, candidate, images, output, begin)
                file.append(lines[name])
        done(len(chosen), len(chosen))
        with contextlib.suppress(OSError):
            (output / "runs").rmdir()  # each training's own folder is gone
        results = [lines[candidate.shape.name] for candidate in chosen]
        _write_best(chosen, results, source, output)
    return results


def _images(source: Source, recipe: Recipe) -> Tensor:
    """Return some training images, normalised: the same for all networks."""
    split = split_data(source, recipe, lambda _: None, lambda _: None)
    preprocess = recipe.input.preprocess()
    rng = np.random.default_rng(recipe.seed)
    some = np.sort(rng.permutation(np.asarray(split.train))[:RANK_IMAGES])
    loader = Loader(source, some, preprocess, batch_size=RANK_IMAGES, workers=0)
    normalise = Normalisation(*preprocess.normalisation(), torch.device("cpu"))
    try:
        return normalise(next(loader.batches()).pixels)
    finally:
        loader.close()


def _measure(
    source: Source,
    recipe: Recipe,
    settings: ChannelSettings,
    candidate: Candidate,
    images: Tensor,
    output: Path,
    begin: Begin,
) -> ChannelLine:
    entry = add_described(candidate.network.to_values(), candidate.shape.name)
    torch.manual_seed(settings.seed)
    fresh = build_model(entry.name, len(source.classes))
    rank = network_rank(fresh, images, settings.threshold)
    run = output / "runs" / entry.name
    callbacks = begin(candidate)
    if (run / LAST).exists():
        result = resume(source, run, callbacks=callbacks)
    else:
        result = train(source, entry.name, recipe, run, callbacks=callbacks)
    shutil.rmtree(run, ignore_errors=True)
    costs = candidate.network.costs(settings.budget.classes)
    return ChannelLine(
        name=candidate.shape.name,
        kind=candidate.shape.kind,
        channels=candidate.network.channels,
        parameters=costs.parameters,
        macs=costs.macs,
        rank=rank,
        top1=result.history[-1].top1,
        images=result.metrics.images,
    )


def drawn(results: Iterable[ChannelLine]) -> list[ChannelLine]:
    """Return the networks whose shapes were drawn at random: all but the references."""
    return [line for line in results if line.kind != REFERENCE]


def best_of(results: Iterable[ChannelLine]) -> ChannelLine:
    """Return the best network that was drawn: of the greatest accuracy, then of the most rank."""
    return max(drawn(results), key=lambda line: (line.top1, line.rank))


def _write_best(
    chosen: Sequence[Candidate], results: Sequence[ChannelLine], source: Source, output: Path
) -> None:
    best = best_of(results)
    network = next(one.network for one in chosen if one.shape.name == best.name)
    comment = (
        f"The best of {count(len(drawn(results)), 'configuration')} of channels that "
        f"{'was' if len(drawn(results)) == 1 else 'were'} drawn, on {source.description}:\n"
        f"top-1 {best.top1:.2%} of {best.images} held-out images after a short training."
    )
    write_description(network, output / BEST, comment)
