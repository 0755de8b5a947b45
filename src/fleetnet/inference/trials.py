"""Measuring candidates: whether each answers as fp32 does, and how long it takes."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fleetnet.amounts import count
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError, reason_of
from fleetnet.inference.agreement import Agreement, agreement
from fleetnet.inference.candidates import Candidate
from fleetnet.inference.comparison import probabilities_of
from fleetnet.inference.engines import Engine, Logits, Mode, Pixels
from fleetnet.inference.judging import Judge, Verdict, confidence_judge, sentence
from fleetnet.measuring import Clock, seconds_of, spread
from fleetnet.reporting import Say

TOP1_AGREEMENT = 0.995
"""Least share of the images with the same answer, of another engine in fp32."""
MEAN_DIFFERENCE = 0.01
"""Largest mean difference of probabilities, where no labels say what it costs."""
MIN_IMAGES = 32
"""With fewer, precisions below fp32 are out: a handful of images says little."""
BURST = 5
"""Runs in a row before another candidate's turn; the first is affected by the candidate before."""
ROUNDS = 20
OUT_OF_THE_RACE = 6.0
"""A candidate this many times slower than the best in its first runs is not checked further."""
HOPELESS = 2.0
"""A candidate this many times slower than the best is not timed further."""

Opener = Callable[[Bundle, Candidate, Mode], Engine]


@dataclass(frozen=True)
class Trial:
    """What was measured of a candidate.

    Attributes:
        candidate: what was tried.
        milliseconds: per image, one figure for each burst, in the order of measuring.
        agreement: with fp32; None if it was not compared.
        verdict: what fewer bits lose; None if it was not judged.
        reason: why it is out, else empty.
    """

    candidate: Candidate
    milliseconds: tuple[float, ...] = ()
    agreement: Agreement | None = None
    reason: str = ""
    verdict: Verdict | None = None

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

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; None where nothing was measured."""
        return {
            **vars(self.candidate),
            "milliseconds": self.median if self.milliseconds else None,
            "quartiles": list(self.quartiles) if self.milliseconds else None,
            "agreement": vars(self.agreement) if self.agreement else None,
            "judgement": self.verdict.to_json() if self.verdict else None,
            "out": self.reason or None,
        }


class Trials:
    """The candidates of one tuning and what is known about them."""

    def __init__(
        self,
        bundle: Bundle,
        pixels: Pixels,
        mode: Mode,
        opener: Opener,
        clock: Clock,
        judge: Judge | None = None,
    ) -> None:
        self.judge = judge or confidence_judge(bundle.manifest)
        self.bundle, self.pixels, self.mode = bundle, pixels, mode
        self.opener, self.clock = opener, clock
        self.expected: Logits | None = None
        self._fastest = float("inf")
        self._engines: dict[Candidate, Engine] = {}
        self._judged: dict[Candidate, tuple[Agreement, Verdict | None]] = {}
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
            self._reasons[candidate] = _objection(*self._judged[alike])
        except Exception as error:
            # An engine that does not work here gets a row in the table and ends nothing: a driver,
            # an instruction or a compiler may be missing, and every runtime raises its own errors.
            reason = reason_of(error)
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

    def _compare(self, candidate: Candidate, engine: Engine) -> tuple[Agreement, Verdict | None]:
        answers = _answers(engine, self.pixels, candidate.batch)
        if self.expected is None:
            if candidate.precision != "fp32":
                raise FleetnetError("there are no answers in fp32 to compare it with")
            self.expected = answers
        count = min(len(self.expected), len(answers))
        to_probabilities = probabilities_of(self.bundle.manifest)
        expected, answers = self.expected[:count], answers[:count]
        found = agreement(
            to_probabilities(expected),
            to_probabilities(answers),
            self.bundle.manifest.model.activation,
        )
        judged = candidate.precision != "fp32"
        return found, self.judge.judge(expected, answers) if judged else None

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

    def results(self) -> list[Trial]:
        """Return what was measured, the fastest first, those that are out last."""
        found = [
            Trial(c, tuple(times), found, self._reasons[c], verdict)
            for c, times in self._times.items()
            for found, verdict in [self._judged.get(replace(c, threads=1), (None, None))]
        ]
        # To the microsecond, so that of equal times the one with fewer threads comes first.
        return sorted(
            found, key=lambda trial: (bool(trial.reason), round(trial.median, 3), trial.candidate)
        )


def _answers(engine: Engine, pixels: Pixels, batch: int) -> Logits:
    """Return logits for as many images as fill whole batches, ``float32[N', K]``."""
    count = max(len(pixels) // batch, 1) * batch
    filled = np.resize(pixels, (count, *pixels.shape[1:]))
    return np.concatenate(list(engine.run_all(_in_batches(filled, batch))))


def _in_batches(pixels: Pixels, batch: int) -> Iterator[Pixels]:
    for start in range(0, len(pixels), batch):
        yield pixels[start : start + batch]


def _objection(found: Agreement, verdict: Verdict | None) -> str:
    """Return why a candidate is out; empty if it is not."""
    if verdict is None and not found.top1 >= TOP1_AGREEMENT:
        return f"top-1 the same on {found.top1:.1%} only"
    if verdict is not None and not verdict.passed:
        note = f"; {verdict.note}" if verdict.note else ""
        return f"{sentence(verdict.judgement)}; top-1 the same on {found.top1:.1%}{note}"
    without_labels = verdict is None or verdict.judgement.fp32 is None
    if without_labels and not found.mean_difference <= MEAN_DIFFERENCE:
        return f"probabilities off by {found.mean_difference:.4f}"
    if verdict is not None and found.images < MIN_IMAGES:
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
