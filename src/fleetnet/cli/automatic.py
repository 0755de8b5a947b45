"""What computes a verb's answers: what was asked for, or with ``auto`` what is fastest here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fleetnet.bundle import Bundle
from fleetnet.cli.console import say, status, warn
from fleetnet.errors import FleetnetError
from fleetnet.inference.autotune import MIN_IMAGES
from fleetnet.inference.choices import choose
from fleetnet.inference.classifier import AUTO, DEFAULT_ENGINE
from fleetnet.inference.engines import Mode, Precision, check_names


@dataclass(frozen=True)
class Computing:
    """What computes; None where the engine may decide."""

    engine: str
    precision: Precision
    threads: int | None
    batch_size: int | None


def check_asked(engine: str | None, precision: str | None) -> None:
    """Refuse, before data are read and bundles made, what cannot be meant.

    Args:
        engine: its name, ``auto``, or None for the default.
        precision: by name, or None for fp32.

    Raises:
        FleetnetError: a name that no engine or precision has, or a precision beside ``auto``.
    """
    named = [name for name in (engine,) if name is not None and name != AUTO]
    check_names(named, [] if precision is None else [precision])
    if engine == AUTO and precision is not None:
        raise FleetnetError(
            f"--engine {AUTO} chooses the precision: leave --precision out, or name an engine"
        )


def computing(
    bundle: Bundle,
    mode: Mode,
    images: Callable[[], Iterable[Path | bytes]],
    *,
    engine: str | None,
    precision: str | None,
    threads: int | None,
    batch_size: int | None,
) -> Computing:
    """Return what computes; for ``auto`` what was chosen before or wins now, and say which.

    Args:
        bundle: whose network.
        mode: what matters.
        images: gives real images to measure with, should that be needed.
        engine: its name, ``auto``, or None for the default.
        precision: by name, or None for fp32.
        threads: how many, or None for all there are.
        batch_size: how many images at once, or None.

    Raises:
        FleetnetError: a precision is named beside ``auto``, or no engine works.
    """
    check_asked(engine, precision)
    if engine != AUTO:
        known = cast("Precision", precision or "fp32")
        return Computing(engine or DEFAULT_ENGINE, known, threads, batch_size)
    with status(f"measuring for {mode}") as show:
        choice = choose(bundle, mode, images(), threads=threads, advance=show)
    if choice is None:
        warn(
            f"{bundle.path} was not tuned on this machine, and tuning takes at least {MIN_IMAGES} "
            f"images: {DEFAULT_ENGINE} computes in fp32 ('fleetnet tune' finds what is faster)"
        )
        return Computing(DEFAULT_ENGINE, "fp32", threads, batch_size)
    say(f"{mode}: {choice}")
    return Computing(choice.engine, choice.precision, choice.threads, batch_size or choice.batch)
