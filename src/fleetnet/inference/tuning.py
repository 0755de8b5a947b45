"""The fastest way to compute a bundle's answers on this machine, found by measuring.

Everything available is tried with the network itself: every engine on every device that its runtime
finds, in every precision it offers there and, on the processor, with several numbers of threads.
Candidates that lose more than is allowed against fp32 on real images are out; of the rest, the
fastest wins.
:mod:`fleetnet.inference.tuning_cache` remembers it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.inference.candidates import Candidate, candidates
from fleetnet.inference.engines import Engine, Mode, Pixels, open_engine
from fleetnet.inference.judging import Judge
from fleetnet.inference.trials import Opener, Trial, Trials
from fleetnet.measuring import Clock
from fleetnet.reporting import Say

BUDGET_S = 10.0


@dataclass(frozen=True)
class Tuning:
    """Everything that was tried for one mode: the fastest first, those that are out last."""

    mode: Mode
    images: int
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The fastest that gives the right answers."""
        return self.trials[0]


def tune(
    bundle: Bundle,
    pixels: Pixels,
    mode: Mode,
    *,
    engines: Sequence[str] | None = None,
    on: Sequence[str] | None = None,
    threads: int | None = None,
    budget: float = BUDGET_S,
    judge: Judge | None = None,
    say: Say = lambda _: None,
    opener: Opener | None = None,
    clock: Clock = time.perf_counter,
) -> Tuning:
    """Time all candidates for ``mode``, interleaved, and compare their answers with fp32.

    Args:
        bundle: whose network.
        pixels: real, preprocessed images to compare on, ``uint8[N, crop, crop, 3]``.
        mode: whether to minimise the time of one image or maximise images per second.
        engines: which to try; None for all installed ones except compiled PyTorch, which takes
            minutes.
        on: which devices to try; None for all that each engine's runtime finds.
        threads: how many to compute with; None to try powers of two up to all in latency mode.
        budget: seconds for the timing; comparing answers takes additional time.
        judge: says what a precision below fp32 loses on ``pixels``, by their labels for instance;
            None to allow half a point of top-1, as far as fp32's probabilities let expect.
        say: called with what is being tried, in a line.
        opener: opens an engine; tests replace it.
        clock: returns seconds; tests replace it.

    Raises:
        FleetnetError: an engine is not installed, no engine has a device, or none of them works.
    """
    if not len(pixels):
        raise FleetnetError("tuning takes at least one image")
    everything = list(candidates(bundle, mode, engines, on, threads))
    with contextlib.closing(Trials(bundle, pixels, mode, opener or _open, clock, judge)) as trials:
        for candidate in everything:
            say(f"trying {candidate}")
            trials.check(candidate)
        if trials.expected is None:
            reasons = "; ".join(f"{trial.candidate} {trial.reason}" for trial in trials.results())
            raise FleetnetError(f"no engine computes this bundle in fp32: {reasons}")
        trials.time(budget, say)
    return Tuning(mode, len(pixels), tuple(trials.results()))


def _open(bundle: Bundle, candidate: Candidate, mode: Mode) -> Engine:
    return open_engine(
        candidate.engine,
        bundle,
        candidate.threads,
        precision=candidate.precision,
        mode=mode,
        device=candidate.device,
    )
