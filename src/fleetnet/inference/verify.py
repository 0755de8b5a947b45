"""Comparing an engine's answers with the trained network's, on real images."""

from __future__ import annotations

import functools
import math
import platform
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.bundle import Activation, Bundle, Manifest, Verification
from fleetnet.errors import DataError, ImageError, the_first
from fleetnet.images import read_bytes
from fleetnet.inference.agreement import same_answers
from fleetnet.inference.binomial import explained_by_chance
from fleetnet.inference.engines import CPU, Engine, Logits, Precision
from fleetnet.inference.probabilities import Probabilities, softmax, to_probabilities
from fleetnet.measuring import time_runs
from fleetnet.preprocess import Preprocess
from fleetnet.reporting import Advance

TOLERANCE = 1e-4
"""Largest difference of a probability that export and verification allow by default."""
AGREEMENT = 0.99
"""Default share of the images for which int8 must give the trained network's answer."""
BATCH = 16
LATENCY_RUNS = 30

Pixels = npt.NDArray[np.uint8]
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

    def passes(self, tolerance: float) -> bool:
        """Tell whether every probability is close enough and every top-1 is the same."""
        # Written so that NaN fails.
        return self.max_abs_diff <= tolerance and self.top1_agreement == 1.0

    @property
    def different(self) -> int:
        """How many images got another answer."""
        return round((1 - self.agreement) * self.images)

    def meets(self, agreement: float) -> bool:
        """Tell whether chance explains the number of images with another answer.

        The images are a sample. A network that agrees on exactly ``agreement`` of all images agrees
        on less than that in half of all samples. It fails only if so many disagreements would come
        about by chance less than once in a hundred times.
        """
        # Answers that are not numbers never agree, see same_answers.
        return explained_by_chance(self.images, self.different, 1 - agreement)

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
        }

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
                {"agreement": self.agreement, "mean_abs_diff": self.mean_abs_diff}
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
    """
    difference, agreed = 0.0, 0
    found: list[Logits] = []
    shifts: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(pixels), BATCH):
        part = pixels[start : start + BATCH]
        reference = probabilities_of(expected[start : start + BATCH])
        outputs = getattr(engine, "outputs", None)
        answers = outputs(part) if outputs else {"logits": engine.run(part)}
        probabilities = probabilities_of(answers["logits"])
        for candidate in (probabilities, answers.get("probabilities", probabilities)):
            # np.maximum passes NaN on; max() might drop it.
            difference = float(np.maximum(difference, np.abs(candidate - reference).max()))
        best = reference.argmax(1)
        agreed += int((probabilities.argmax(1) == best).sum())
        rows = np.arange(len(part))
        shifts.append(np.abs(probabilities[rows, best] - reference[rows, best]))
        found.append(answers["logits"])
        advance(len(part))
    times = time_runs(lambda: engine.run(pixels[:1]), LATENCY_RUNS)
    return Comparison(
        engine=engine.name,
        engine_version=engine.version,
        images=len(pixels),
        max_abs_diff=difference,
        top1_agreement=agreed / len(pixels),
        latency_ms=statistics.median(times) * 1000,
        threads=engine.threads,
        precision=engine.precision,
        device=engine.device,
        agreement=same_answers(expected, np.concatenate(found), activation, boundary=0),
        mean_abs_diff=float(np.concatenate(shifts).mean()),
    )


def prepare(
    images: Iterable[str | Path | bytes],
    preprocess: Preprocess,
    limit: int | None = None,
    unreadable: list[str] | None = None,
) -> Pixels:
    """Decode and preprocess images for a comparison, leaving out what cannot be read.

    Args:
        images: paths, or files' contents.
        preprocess: the network's.
        limit: at most this many.
        unreadable: gets a line for each image that is left out, with the reason.

    Returns:
        ``uint8[N, crop, crop, 3]``, at most ``limit`` images.

    Raises:
        DataError: none could be read.
    """
    pixels: list[Pixels] = []
    unreadable = [] if unreadable is None else unreadable
    for image in images:
        if limit is not None and len(pixels) >= limit:
            break
        try:
            data = image if isinstance(image, bytes) else read_bytes(image)
            pixels.append(preprocess.from_bytes(data))
        except ImageError as error:
            name = "" if isinstance(image, bytes) else f"{image}: "
            unreadable.append(f"{name}{error}")
    if not pixels:
        raise DataError(f"no image to verify with could be read{the_first(unreadable)}")
    return np.stack(pixels)


def verify_bundle(
    bundle: Bundle, engines: Sequence[Engine], pixels: Pixels, reference: Engine | None
) -> Iterator[Comparison]:
    """Compare a bundle's engines with the trained network.

    Args:
        bundle: its self-test is used if there is no reference.
        engines: what to check.
        pixels: real images, ``uint8[N, crop, crop, 3]``.
        reference: the trained network in PyTorch; None if PyTorch is not installed. Then each
            engine has to give PyTorch's answers to the self-test, recorded at export.

    Raises:
        DataError: there is no reference and the bundle has no self-test.
    """
    if reference is not None:
        expected = run_in_batches(reference, pixels)
    elif bundle.manifest.self_test is not None:
        pixels = bundle.manifest.self_test.pixels(bundle.manifest.preprocess.crop)
        expected = np.asarray(bundle.manifest.self_test.logits, np.float32)
    else:
        raise DataError(
            f"{bundle.path} records no self-test: verify it where PyTorch is installed "
            "(pip install 'fleetnet[train]')"
        )
    for engine in engines:
        yield compare(engine, pixels, expected, probabilities_of(bundle.manifest))


def verify_quantized(
    bundle: Bundle, engines: Sequence[Engine], pixels: Pixels, reference: Engine
) -> Iterator[tuple[Comparison, float]]:
    """Compare engines that compute in int8; returns each with the agreement required.

    Args:
        bundle: records the agreement required.
        engines: what to check.
        pixels: real images, ``uint8[N, crop, crop, 3]``; on made-up ones, int8 may give any answer.
        reference: the trained network in PyTorch, or, without PyTorch, an engine in fp32.
    """
    expected = run_in_batches(reference, pixels)
    for engine in engines:
        comparison = compare(
            engine,
            pixels,
            expected,
            probabilities_of(bundle.manifest),
            activation=bundle.manifest.model.activation,
        )
        yield comparison, _standard(bundle.manifest, engine.name)


def _standard(manifest: Manifest, engine: str) -> float:
    for artifact in manifest.artifacts:
        if artifact.quantization and engine in (record.engine for record in artifact.verification):
            return artifact.quantization.agreement
    return AGREEMENT


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
