"""Files in a format of other runtimes, run here and compared with the trained network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError, VerificationError, one_line
from fleetnet.export.agreeing import Agreeing
from fleetnet.export.fixed_batch import whole_batches
from fleetnet.export.separate import Worker
from fleetnet.export.targets import Files, Run, Target
from fleetnet.inference.comparison import (
    Comparison,
    compare,
    median_ms,
    probabilities_of,
    run_in_batches,
)
from fleetnet.inference.engines import (
    CPU,
    REFERENCE,
    Closing,
    Logits,
    Pixels,
    Precision,
    open_engine,
)
from fleetnet.inference.judging import Judge


class ConvertedEngine(Closing[Run]):
    """What runs converted files here, as an engine; any number of images goes in whole batches.

    Raises:
        FleetnetError: the runtime does not take the files.
    """

    device = CPU
    threads = 1

    def __init__(self, target: Target, files: Files, precision: str, batch: int | None) -> None:
        assert target.load is not None  # noqa: S101 - for the type checker
        self.name = target.package
        self.version = target.version
        self.precision = cast("Precision", precision)
        self._target = target
        self._batch = batch
        try:
            super().__init__(target.load(files))
        except Exception as error:
            raise self._failed(error) from None

    def run(self, pixels: Pixels) -> Logits:
        """Map ``uint8[N, H, W, 3]`` to ``float32[N, K]``."""
        run = self._taken()
        parts = whole_batches(pixels, self._batch) if self._batch else iter([pixels])
        try:
            return np.concatenate([run(part) for part in parts])[: len(pixels)]
        except Exception as error:
            # Every runtime raises its own errors.
            raise self._failed(error) from None

    def run_all(self, batches: Iterable[Pixels]) -> Iterator[Logits]:
        """Map batches as :meth:`run` does, one after the other."""
        yield from map(self.run, batches)

    def latency_ms(self, pixels: Pixels, runs: int) -> float:
        """Return the median time of so many runs, without the way to a process apart and back.

        Where two files have to agree, it is the first one's.
        """
        run = self._taken()
        given = next(whole_batches(pixels, self._batch)) if self._batch else pixels
        alone = run.first if isinstance(run, Agreeing) else run
        if isinstance(alone, Worker):
            return alone.latency_ms(given, runs)
        return median_ms(lambda: alone(given), runs)

    def close(self) -> None:
        """Take no more calls, and end what runs the files."""
        if isinstance(self._loaded, (Agreeing, Worker)):
            self._loaded.close()
        super().close()

    def _failed(self, error: Exception) -> FleetnetError:
        return VerificationError(
            f"{self.name} cannot run what was converted to {self._target.title}: {one_line(error)}",
            engine=self.name,
            target=self._target.name,
        )


def compared(
    converted: ConvertedEngine, bundle: Bundle, pixels: Pixels, judge: Judge | None = None
) -> Comparison:
    """Compare the answers with those of the trained network, in PyTorch.

    Args:
        converted: what runs the files.
        bundle: whose network was converted.
        pixels: the images, ``uint8[N, crop, crop, 3]``.
        judge: says what fewer bits lose on them.

    Raises:
        VerificationError: they are not even of the same shape.
    """
    manifest = bundle.manifest
    with open_engine(REFERENCE, bundle) as reference:
        expected = run_in_batches(reference, pixels)
    found = converted.run(pixels[:1])
    if found.shape != expected[:1].shape or found.dtype != np.float32:
        raise VerificationError(
            f"{converted.name} gives {found.dtype}{list(found.shape)} for an image in place of "
            f"float32{list(expected[:1].shape)}",
            engine=converted.name,
        )
    return compare(
        converted,
        pixels,
        expected,
        probabilities_of(manifest),
        activation=manifest.model.activation,
        judge=judge,
    )
