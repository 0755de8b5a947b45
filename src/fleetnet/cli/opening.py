"""Opening whatever model a person names, while showing what it takes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fleetnet.bundle import Bundle
from fleetnet.cli.console import download_bar, say, status, warn
from fleetnet.export.cached import bundle_of
from fleetnet.inference.automatic import Computing, computing
from fleetnet.inference.classifier import AUTO
from fleetnet.inference.engines import Mode
from fleetnet.labels import printable
from fleetnet.weights.subject import Subject, file_of

if TYPE_CHECKING:
    from fleetnet.trained import TrainedNetwork


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


def open_trained(
    word: str | Path,
    engine: str | None = None,
    threads: int | None = None,
    batch_size: int | None = None,
    *,
    precision: str | None = None,
    images: Callable[[], Iterable[Path | bytes]] = list,
    device: str | None = None,
) -> TrainedNetwork:
    """Open a trained network, showing what it takes and what computes.

    Raises:
        FleetnetError: as :func:`fleetnet.trained.open_trained`.
    """
    # Here, because prediction opens bundles without all that evaluation takes.
    from fleetnet import trained

    open_it = functools.partial(
        trained.open_trained,
        engine=engine,
        threads=threads,
        batch_size=batch_size,
        precision=precision,
        device=device,
    )
    if engine == AUTO:
        # Before, because only one of the bars fits on a terminal at a time.
        word = open_bundle(word).path
        with status("measuring") as show:
            return open_it(word, images=images, trying=show, chosen=say_what_computes)
    with download_bar("weights") as fetched:
        return open_it(word, say=say, fetched=fetched)


def choose_what_computes(
    bundle: Bundle,
    mode: Mode,
    images: Callable[[], Iterable[Path | bytes]],
    *,
    engine: str | None,
    precision: str | None,
    threads: int | None,
    batch_size: int | None,
    device: str | None = None,
) -> Computing:
    """Return what computes, showing what is measured for ``auto`` and what won.

    Raises:
        FleetnetError: as :func:`fleetnet.inference.automatic.computing`.
    """
    with status(f"measuring for {mode}", shown=engine == AUTO) as show:
        found = computing(
            bundle,
            mode,
            images,
            engine=engine,
            precision=precision,
            threads=threads,
            batch_size=batch_size,
            device=device,
            say=show,
        )
    say_what_computes(found)
    return found


def warn_passed_over(bundle: Bundle) -> None:
    """Tell a person what of a newer bundle does not go into one that is made of it."""
    if bundle.manifest.passed_over:
        warn(
            f"{bundle.path} is of a newer version than this fleetnet, which leaves out what it "
            f"does not know: {printable(', '.join(bundle.manifest.passed_over))}"
        )


def say_what_computes(found: Computing) -> None:
    """Tell a person what ``auto`` chose, or why it chose nothing."""
    if found.untuned:
        warn(found.untuned)
    elif found.choice:
        say(found.choice)
