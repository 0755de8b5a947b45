"""How far an engine's answers are from the trained network's, as figures."""

from __future__ import annotations

import functools
import math
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.bundle import Activation, Manifest, Verification
from fleetnet.inference.agreement import same_answers
from fleetnet.inference.engines import CPU, Engine, Logits, Pixels, Precision
from fleetnet.inference.judging import Judge, Verdict
from fleetnet.inference.probabilities import Probabilities, softmax, to_probabilities
from fleetnet.measuring import Work, time_runs
from fleetnet.reporting import Advance

BATCH = 16
LATENCY_RUNS = 30
ToProbabilities = Callable[[Logits], Probabilities]


@dataclass(frozen=True)
class Comparison:
    """How far one engine's answers are from the reference's."""

    engine: str
    engine_version: str
    images: int
    max_abs_diff: float
    """Largest difference of a probability."""
    top1_agreement: float
    latency_ms: float
    """Median time of one image on :attr:`threads` threads."""
    threads: int
    precision: Precision = "fp32"
    agreement: float = 1.0
    """Share of the images with the same answer, see
    :func:`fleetnet.inference.agreement.same_answers`."""
    mean_abs_diff: float = 0.0
    """Mean difference of the probability of the reference's most probable class."""
    device: str = CPU
    verdict: Verdict | None = None
    """What fewer bits lose; None where that was not judged."""

    def passes(self, tolerance: float) -> bool:
        """Tell whether every probability is close enough and every top-1 is the same."""
        # Written so that NaN fails.
        return self.max_abs_diff <= tolerance and self.top1_agreement == 1.0

    @property
    def different(self) -> int:
        """How many images got another answer."""
        return round((1 - self.agreement) * self.images)

    @property
    def facts(self) -> dict[str, Any]:
        """What an error says of it, as JSON values; what is not a number is null."""
        difference = self.max_abs_diff
        return {
            "engine": self.engine,
            "engine_version": self.engine_version,
            "device": self.device,
            "precision": self.precision,
            "images": self.images,
            "difference": difference if math.isfinite(difference) else None,
            "top1_agreement": self.top1_agreement,
            "agreement": self.agreement,
            **({"judgement": self.verdict.to_json()} if self.verdict else {}),
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        values = {key: value for key, value in vars(self).items() if key != "verdict"}
        return values | {"judgement": self.verdict.to_json() if self.verdict else None}

    def record(self, source: str, tolerance: float) -> Verification:
        """Return the comparison as the manifest keeps it."""
        return Verification(
            engine=self.engine,
            engine_version=self.engine_version,
            device=self.device,
            images=self.images,
            source=source,
            max_abs_diff=self.max_abs_diff,
            top1_agreement=self.top1_agreement,
            tolerance=tolerance,
            latency_ms=self.latency_ms,
            machine=machine(),
            **(
                {
                    "agreement": self.agreement,
                    "mean_abs_diff": self.mean_abs_diff,
                    "judgement": self.verdict.judgement if self.verdict else None,
                }
                if self.precision != "fp32"
                else {}
            ),
        )


def compare(
    engine: Engine,
    pixels: Pixels,
    expected: Logits,
    probabilities_of: ToProbabilities = softmax,
    advance: Advance = lambda _: None,
    activation: Activation = "softmax",
    judge: Judge | None = None,
) -> Comparison:
    """Run ``engine`` and compare its probabilities with those of ``expected``.

    If the engine also returns the graph's probabilities, those are compared too.

    Args:
        engine: what to check.
        pixels: ``uint8[N, crop, crop, 3]``.
        expected: the trained network's logits, ``float32[N, K]``.
        probabilities_of: how logits become probabilities.
        advance: called with a count as images are done.
        activation: whether an image has one class, ``softmax``, or any number, ``sigmoid``.
        judge: says what the other answers lose; None where that is not asked.
    """
    difference, agreed = 0.0, 0
    found: list[Logits] = []
    shifts: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(pixels), BATCH):
        part = pixels[start : start + BATCH]
        reference = probabilities_of(expected[start : start + BATCH])
        outputs = getattr(engine, "outputs", None)
        given = outputs(part) if outputs else {"logits": engine.run(part)}
        probabilities = probabilities_of(given["logits"])
        for candidate in (probabilities, given.get("probabilities", probabilities)):
            # np.maximum passes NaN on; max() might drop it.
            difference = float(np.maximum(difference, np.abs(candidate - reference).max()))
        best = reference.argmax(1)
        agreed += int((probabilities.argmax(1) == best).sum())
        rows = np.arange(len(part))
        shifts.append(np.abs(probabilities[rows, best] - reference[rows, best]))
        found.append(given["logits"])
        advance(len(part))
    timed = getattr(engine, "latency_ms", None)
    one, answers = pixels[:1], np.concatenate(found)
    return Comparison(
        engine=engine.name,
        engine_version=engine.version,
        images=len(pixels),
        max_abs_diff=difference,
        top1_agreement=agreed / len(pixels),
        latency_ms=timed(one, LATENCY_RUNS) if timed else median_ms(lambda: engine.run(one)),
        threads=engine.threads,
        precision=engine.precision,
        device=engine.device,
        agreement=same_answers(expected, answers, activation, boundary=0),
        mean_abs_diff=float(np.concatenate(shifts).mean()),
        verdict=judge.judge(expected, answers) if judge else None,
    )


def judged(comparison: Comparison) -> Verdict:
    """Return the verdict of a comparison that was made with a judge."""
    if comparison.verdict is None:
        raise ValueError(f"{comparison.engine} was compared without a judge")
    return comparison.verdict


def median_ms(work: Work, runs: int = LATENCY_RUNS) -> float:
    """Return the median time of so many runs in milliseconds, after one that is not timed."""
    return statistics.median(time_runs(work, runs)) * 1000


def probabilities_of(manifest: Manifest) -> ToProbabilities:
    """Return how logits become probabilities in a bundle with this manifest."""
    return functools.partial(
        to_probabilities,
        activation=manifest.model.activation,
        temperature=manifest.temperature,
    )


def run_in_batches(engine: Engine, pixels: Pixels) -> Logits:
    """Return the engine's logits for all of ``pixels``, ``float32[N, K]``."""
    starts = range(0, len(pixels), BATCH)
    return np.concatenate([engine.run(pixels[start : start + BATCH]) for start in starts])


def machine() -> str:
    """Return the processor and operating system, for the record."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return f"{processor}, {platform.system()} {platform.machine()}"
