"""Choosing what computes: what was asked for, or with ``auto`` the fastest here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.inference.classifier import AUTO, DEFAULT_ENGINE
from fleetnet.inference.engines import Mode, Precision, check_names
from fleetnet.inference.trials import MIN_IMAGES
from fleetnet.inference.tuning_cache import tuned_or_tune
from fleetnet.reporting import Say


@dataclass(frozen=True)
class Computing:
    """What computes the answers; None where the engine decides.

    Attributes:
        engine: its name.
        precision: of the arithmetic.
        threads: how many.
        batch_size: how many images at once.
        device: to compute on.
        choice: with ``auto``, what was chosen and why, in words; empty if nothing was.
        untuned: why ``auto`` chose nothing, in words; empty if it did.
    """

    engine: str
    precision: Precision
    threads: int | None
    batch_size: int | None
    device: str | None = None
    choice: str = ""
    untuned: str = ""


def check_asked(engine: str | None, precision: str | None, device: str | None = None) -> None:
    """Refuse, before data are read and bundles made, what cannot be meant.

    Args:
        engine: its name, ``auto``, or None for the default.
        precision: by name, or None for fp32.
        device: by name, or None for the processor.

    Raises:
        FleetnetError: a name that no engine or precision has, or a precision or a device beside
            ``auto``.
    """
    check_names(
        [] if engine in (None, AUTO) else [engine], [] if precision is None else [precision]
    )
    if engine == AUTO and precision is not None:
        raise FleetnetError(
            f"engine='{AUTO}' chooses the precision: leave precision= out, or name an engine",
            arguments=["engine", "precision"],
        )
    if engine == AUTO and device is not None:
        raise FleetnetError(
            f"engine='{AUTO}' chooses the device: leave device= out, or name an engine",
            arguments=["engine", "device"],
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
    device: str | None = None,
    say: Say = lambda _: None,
) -> Computing:
    """Return what computes; for ``auto``, what was chosen before or is found fastest now.

    Args:
        bundle: whose network.
        mode: what to optimise for.
        images: returns real images, called only if something has to be measured.
        engine: its name, ``auto``, or None for the default.
        precision: by name, or None for fp32.
        threads: how many, or None for all there are.
        batch_size: how many images at once, or None.
        device: to compute on, or None for the processor.
        say: called with what is being tried, in a line.

    Raises:
        FleetnetError: a precision or a device is named beside ``auto``, or no engine works.
    """
    check_asked(engine, precision, device)
    if engine != AUTO:
        known = cast("Precision", precision or "fp32")
        return Computing(engine or DEFAULT_ENGINE, known, threads, batch_size, device)
    choice = tuned_or_tune(bundle, mode, images(), threads=threads, say=say)
    if choice is None:
        untuned = (
            f"{bundle.path} was not tuned on this machine, and tuning takes at least {MIN_IMAGES} "
            f"images: {DEFAULT_ENGINE} computes in fp32 ('fleetnet tune' finds what is faster)"
        )
        return Computing(DEFAULT_ENGINE, "fp32", threads, batch_size, untuned=untuned)
    return Computing(
        choice.engine,
        choice.precision,
        choice.threads,
        batch_size or choice.batch,
        choice.device,
        choice=f"{mode}: {choice}",
    )
