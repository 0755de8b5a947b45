"""The fastest way to compute a bundle's answers on this machine, found by measuring.

Everything available is tried with the network itself: every engine on every device that its runtime
finds, in every precision it offers there and, on the processor, with several numbers of threads.
Candidates that do not answer as fp32 does on real images are out; of the rest, the fastest wins.
:mod:`fleetnet.inference.tuning_cache` remembers it.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fleetnet.amounts import count
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError, one_line
from fleetnet.inference.agreement import Agreement, agreement
from fleetnet.inference.engines import (
    CPU,
    ENGINES,
    Engine,
    Logits,
    Mode,
    Pixels,
    Precision,
    available_threads,
    devices,
    engines_on,
    installed_engines,
    open_engine,
    precisions,
)
from fleetnet.inference.verify import probabilities_of
from fleetnet.measuring import Clock, seconds_of, spread
from fleetnet.reporting import Say

TOP1_AGREEMENT = 0.995
MEAN_DIFFERENCE = 0.01
MIN_IMAGES = 32
"""With fewer, precisions below fp32 are out: agreement on a handful of images says little."""
BATCHES = (1, 4, 8)
"""How many images an engine may get at once in throughput mode."""
BURST = 5
"""Runs in a row before another candidate's turn; the first is affected by the candidate before."""
BUDGET_S = 10.0
ROUNDS = 20
OUT_OF_THE_RACE = 6.0
"""A candidate this many times slower than the best in its first runs is not checked further."""
HOPELESS = 2.0
"""A candidate this many times slower than the best is not timed further."""


@dataclass(frozen=True, order=True)
class Candidate:
    """A way to compute."""

    engine: str
    precision: Precision
    threads: int
    batch: int = 1
    device: str = CPU

    @property
    def what(self) -> str:
        """The engine, the precision, and the device if that is not the processor."""
        where = "" if self.device == CPU else f" on {self.device}"
        return f"{self.engine} {self.precision}{where}"

    def __str__(self) -> str:
        """Return its name for people."""
        threads = count(self.threads, "thread")
        batch = f", batches of {self.batch}" if self.batch > 1 else ""
        return f"{self.what}, {threads}{batch}"


@dataclass(frozen=True)
class Trial:
    """What was measured of a candidate.

    Attributes:
        candidate: what was tried.
        milliseconds: per image, one figure for each burst, in the order of measuring.
        agreement: with fp32; None if it was not compared.
        reason: why it is out, else empty.
    """

    candidate: Candidate
    milliseconds: tuple[float, ...] = ()
    agreement: Agreement | None = None
    reason: str = ""

    @property
    def median(self) -> float:
        """Milliseconds per image."""
        return statistics.median(self.milliseconds) if self.milliseconds else float("inf")

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third quartile of the milliseconds per image."""
        if not self.milliseconds:
            return 0.0, 0.0
        _, low, high, *_ = spread(self.milliseconds)
        return low, high


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


Opener = Callable[[Bundle, Candidate, Mode], Engine]


def tune(
    bundle: Bundle,
    pixels: Pixels,
    mode: Mode,
    *,
    engines: Sequence[str] | None = None,
    on: Sequence[str] | None = None,
    threads: int | None = None,
    budget: float = BUDGET_S,
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
        say: called with what is being tried, in a line.
        opener: opens an engine; tests replace it.
        clock: returns seconds; tests replace it.

    Raises:
        FleetnetError: an engine is not installed, no engine has a device, or none of them works.
    """
    if not len(pixels):
        raise FleetnetError("tuning takes at least one image")
    candidates = list(_candidates(bundle, mode, engines, on, threads))
    with contextlib.closing(_Bench(bundle, pixels, mode, opener or _open, clock)) as bench:
        for candidate in candidates:
            say(f"trying {candidate}")
            bench.check(candidate)
        if bench.expected is None:
            reasons = "; ".join(f"{trial.candidate} {trial.reason}" for trial in bench.trials())
            raise FleetnetError(f"no engine computes this bundle in fp32: {reasons}")
        bench.time(budget, say)
    return Tuning(mode, len(pixels), tuple(bench.trials()))


class _Bench:
    """The candidates of one tuning and what is known about them."""

    def __init__(
        self,
        bundle: Bundle,
        pixels: Pixels,
        mode: Mode,
        opener: Opener,
        clock: Clock,
    ) -> None:
        self.bundle, self.pixels, self.mode = bundle, pixels, mode
        self.opener, self.clock = opener, clock
        self.expected: Logits | None = None
        self._fastest = float("inf")
        self._engines: dict[Candidate, Engine] = {}
        self._judged: dict[Candidate, Agreement] = {}
        self._times: dict[Candidate, list[float]] = {}
        self._reasons: dict[Candidate, str] = {}

    def close(self) -> None:
        """Close the engines that were opened."""
        for engine in self._engines.values():
            engine.close()

    def check(self, candidate: Candidate) -> None:
        """Open a candidate and compare its answers with those in fp32."""
        self._times[candidate] = []
        try:
            engine = self._engine(candidate)
            slower = self._first_look(candidate, engine)
            if slower > OUT_OF_THE_RACE and self.expected is not None:
                self._reasons[candidate] = f"{slower:.0f}× slower in its first runs"
                return
            # The number of threads does not change the answers.
            alike = replace(candidate, threads=1)
            if alike not in self._judged:
                self._judged[alike] = self._compare(candidate, engine)
            self._reasons[candidate] = _objection(candidate, self._judged[alike])
        except Exception as error:
            # An engine that does not work here gets a row in the table and ends nothing: a driver,
            # an instruction or a compiler may be missing, and every runtime raises its own errors.
            reason = one_line(error) or type(error).__name__
            self._reasons[candidate] = f"fails: {reason}"

    def _engine(self, candidate: Candidate) -> Engine:
        """Return the one engine that serves all batch sizes."""
        alike = replace(candidate, batch=1)
        if alike not in self._engines:
            self._engines[alike] = self.opener(self.bundle, alike, self.mode)
        return self._engines[alike]

    def _first_look(self, candidate: Candidate, engine: Engine) -> float:
        """Return how many times slower it is than the fastest so far, by the best of some runs."""
        part = np.resize(self.pixels, (candidate.batch, *self.pixels.shape[1:]))
        engine.run(part)
        taken = float("inf")
        for _ in range(BURST):
            seconds = seconds_of(lambda: engine.run(part), self.clock)
            taken = min(taken, seconds / candidate.batch)
            if taken <= OUT_OF_THE_RACE * self._fastest:
                break
        self._fastest = min(self._fastest, taken)
        return taken / self._fastest if self._fastest > 0 else 1.0

    def _compare(self, candidate: Candidate, engine: Engine) -> Agreement:
        answers = _answers(engine, self.pixels, candidate.batch)
        if self.expected is None:
            if candidate.precision != "fp32":
                raise FleetnetError("there are no answers in fp32 to compare it with")
            self.expected = answers
        count = min(len(self.expected), len(answers))
        to_probabilities = probabilities_of(self.bundle.manifest)
        return agreement(
            to_probabilities(self.expected[:count]),
            to_probabilities(answers[:count]),
            self.bundle.manifest.model.activation,
        )

    def time(self, budget: float, say: Say) -> None:
        """Time bursts in turns, so that other load on the machine affects all alike."""
        started = self.clock()
        running = [c for c in self._times if replace(c, threads=1) in self._judged]
        for number in range(ROUNDS):
            say(f"timing, round {number + 1}")
            medians = {c: statistics.median(t) for c, t in self._times.items() if t}
            best = min(medians.values(), default=float("inf"))
            for candidate in running:
                if number < 2 or medians[candidate] <= HOPELESS * best:
                    engine = self._engine(candidate)
                    milliseconds = _burst(engine, self.pixels, candidate.batch, self.clock)
                    self._times[candidate].append(milliseconds)
            if number >= 2 and self.clock() - started > budget:
                break

    def trials(self) -> list[Trial]:
        """Return the trials, the fastest first, those that are out last."""
        found = [
            Trial(c, tuple(times), self._judged.get(replace(c, threads=1)), self._reasons[c])
            for c, times in self._times.items()
        ]
        # To the microsecond, so that of equal times the one with fewer threads comes first.
        return sorted(
            found, key=lambda trial: (bool(trial.reason), round(trial.median, 3), trial.candidate)
        )


def _candidates(
    bundle: Bundle,
    mode: Mode,
    engines: Sequence[str] | None,
    wanted: Sequence[str] | None,
    threads: int | None,
) -> Iterator[Candidate]:
    """Yield what to try: fp32 on the processor first, which the others are compared with."""
    every = available_threads()
    if threads is not None:
        counts = [threads]
    elif mode == "throughput":
        counts = [every]
    else:
        counts = [2**power for power in range(every.bit_length()) if 2**power < every] + [every]
    names = engines or [name for name in installed_engines() if ENGINES[name].unasked]
    offered = [
        (name, device, precision)
        for name, device in _places(names, wanted)
        for precision in _offered(name, bundle, device)
    ]
    for name, device, precision in sorted(
        offered, key=lambda one: (one[2] != "fp32", one[1] != CPU)
    ):
        # The number of threads matters only on the processor.
        for threads_each in counts if device == CPU else counts[-1:]:
            for batch in BATCHES if mode == "throughput" else BATCHES[:1]:
                yield Candidate(name, precision, threads_each, batch, device)


def _places(names: Sequence[str], wanted: Sequence[str] | None) -> list[tuple[str, str]]:
    """Return each engine with each of its devices, or with the wanted ones."""
    if wanted is None:
        return [(name, device) for name in names for device in _found(name)]
    by_device = [engines_on(device, names) for device in dict.fromkeys(wanted)]
    return [(name, found[name]) for name in names for found in by_device if name in found]


def _found(name: str) -> tuple[str, ...]:
    """Return an engine's devices; if looking for others fails, the processor."""
    try:
        return devices(name)
    except FleetnetError:
        ENGINES.named(name)  # a missing engine is an error of the caller
        return (CPU,)


def _offered(name: str, bundle: Bundle, device: str) -> tuple[Precision, ...]:
    try:
        return tuple(precisions(name, bundle, device))
    except Exception:
        if device == CPU:
            raise
        return ("fp32",)  # a driver that does not work: opening the engine will say why


def _open(bundle: Bundle, candidate: Candidate, mode: Mode) -> Engine:
    return open_engine(
        candidate.engine,
        bundle,
        candidate.threads,
        precision=candidate.precision,
        mode=mode,
        device=candidate.device,
    )


def _answers(engine: Engine, pixels: Pixels, batch: int) -> Logits:
    """Return logits for as many images as fill whole batches, ``float32[N', K]``."""
    count = max(len(pixels) // batch, 1) * batch
    filled = np.resize(pixels, (count, *pixels.shape[1:]))
    return np.concatenate(list(engine.run_all(_in_batches(filled, batch))))


def _in_batches(pixels: Pixels, batch: int) -> Iterator[Pixels]:
    for start in range(0, len(pixels), batch):
        yield pixels[start : start + batch]


def _objection(candidate: Candidate, found: Agreement) -> str:
    if not found.top1 >= TOP1_AGREEMENT:
        return f"top-1 the same on {found.top1:.1%} only"
    if not found.mean_difference <= MEAN_DIFFERENCE:
        return f"probabilities off by {found.mean_difference:.4f}"
    if candidate.precision != "fp32" and found.images < MIN_IMAGES:
        few = "is" if found.images == 1 else "are"
        return f"{count(found.images, 'image')} {few} too few"
    return ""


def _burst(engine: Engine, pixels: Pixels, batch: int, clock: Clock) -> float:
    """Return milliseconds per image over a burst of batches, without the first batch."""
    part = np.resize(pixels, (batch, *pixels.shape[1:]))
    engine.run(part)
    runs = max(BURST, 2 * engine.threads)
    seconds = seconds_of(lambda: deque(engine.run_all(part for _ in range(runs)), 0), clock)
    return seconds * 1000 / (runs * batch)
