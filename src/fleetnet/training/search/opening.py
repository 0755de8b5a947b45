"""Beginning a search, or finding the one to go on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fleetnet.data.sources import Source, fingerprint
from fleetnet.errors import DataError, FleetnetError, following
from fleetnet.evaluation.data_summary import summarise_data
from fleetnet.reporting import Advance, Say
from fleetnet.training.callbacks import Callback
from fleetnet.training.recipe import Recipe
from fleetnet.training.run_setup import split_data
from fleetnet.training.search import plan
from fleetnet.training.search.candidates import LARGEST, candidates
from fleetnet.training.search.halving import Clock, Search
from fleetnet.training.search.inner import InnerSource
from fleetnet.training.search.state import STATE, SearchState
from fleetnet.training.search.work import TrainingWork


def open_search(
    source: Source,
    folder: Path,
    budget_s: float,
    settings: Sequence[str] = (),
    *,
    clock: Clock,
    advance: Advance = lambda _: None,
    say: Say = lambda _: None,
    callback: Callback | None = None,
    unreadable: Callable[[Sequence[str]], None] = lambda _: None,
    anew: bool = False,
) -> Search:
    """Return a search, begun anew or, where the folder holds one, ready to go on.

    Args:
        source: labelled images. What a training would hold out of them is not used to choose.
        folder: of the search.
        budget_s: seconds for all of it.
        settings: for every candidate, each ``KEY=VALUE``.
        clock: measures what is spent.
        advance: called with how many images were compared in the search for copies.
        say: called with a line about what is tried.
        callback: sees every training.
        unreadable: called with lines about images that could not be read.
        anew: leave alone what the folder holds.

    Raises:
        DataError: too few classes or images.
        RecipeError: a setting is wrong.
        FleetnetError: the folder holds a search of something else.
    """
    recipe = Recipe.load(overrides=settings)
    parts = split_data(source, recipe, advance, say)
    inner = InnerSource(source, parts.train)
    try:
        inner_parts = split_data(inner, recipe, lambda _: None, say)
    except DataError as error:
        message = f"of the images to train on, which a search splits once more: {error}"
        raise following(error, message, DataError) from None
    state = SearchState(
        budget_s=budget_s,
        data=source.description,
        fingerprint=fingerprint(source),
        settings=list(settings),
        train_images=len(inner_parts.train),
        val_images=len(inner_parts.val),
        held_out_images=len(parts.val),
        candidates=candidates(usual_side(inner)),
    )
    if not anew and (folder / STATE).exists():
        state = _unchanged(SearchState.load(folder), state, folder)
    work = TrainingWork(
        source,
        inner,
        parts,
        inner_parts,
        settings=settings,
        clock=clock,
        callback=callback,
        unreadable=unreadable,
    )
    return Search(state, work, folder, clock, say)


def usual_side(source: Source) -> int:
    """Return the shorter side of a usual image in pixels; a large one if none can be read."""
    summary = summarise_data(source, np.arange(len(source.samples)))
    if not len(summary.sizes):
        return LARGEST
    return int(np.median(summary.sizes.min(axis=1)))


def _unchanged(before: SearchState, now: SearchState, folder: Path) -> SearchState:
    """Return the search of before, if it is of the same."""
    if before.fingerprint != now.fingerprint:
        raise FleetnetError(
            f"{folder} holds a search on other images, or they have changed: give another output=",
            arguments=["output"],
        )
    if before.budget_s != now.budget_s:
        raise FleetnetError(
            f"{folder} holds a search with budget='{plan.spoken(before.budget_s)}': give that, or "
            "another output=",
            arguments=["budget", "output"],
        )
    if before.settings != now.settings:
        raise FleetnetError(
            f"{folder} holds a search with other settings ({' '.join(before.settings) or 'none'}): "
            "give those, or another output=",
            arguments=["output"],
        )
    return before
