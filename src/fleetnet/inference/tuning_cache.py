"""What tuning chose, remembered for the machine that it was measured on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleetnet.amounts import count
from fleetnet.bundle import Bundle, Judgement
from fleetnet.cache import cache_folder
from fleetnet.errors import DataError, FleetnetError
from fleetnet.files import atomic_file
from fleetnet.inference.candidates import Candidate
from fleetnet.inference.comparison import machine
from fleetnet.inference.engines import (
    CPU,
    ENGINES,
    MAX_THREADS,
    Mode,
    Precision,
    available_threads,
    find_device,
    installed_engines,
)
from fleetnet.inference.judging import sentence
from fleetnet.inference.trials import MIN_IMAGES, Trial
from fleetnet.inference.tuning import Tuning, tune
from fleetnet.inference.verify import prepare
from fleetnet.reporting import Say

MAX_BYTES = 65536
ENOUGH = 200
"""How many images to compare on: one different answer is then half a percent."""


class TunedSettings(BaseModel):
    """How to compute a bundle's answers on this machine, and what was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str
    precision: Precision
    threads: int = Field(ge=1, le=MAX_THREADS)
    batch: int = Field(ge=1, le=4096)
    device: str = CPU
    mode: Mode
    milliseconds: float
    top1_agreement: float
    mean_difference: float
    images: int
    judgement: Judgement | None = None
    """What a precision below fp32 loses."""
    runner_up: str = ""
    """The second best candidate with the right answers, with its milliseconds per image."""

    @classmethod
    def of(cls, tuning: Tuning) -> TunedSettings:
        """Return the best candidate of a tuning."""
        best = tuning.best
        found = best.agreement
        return cls(
            engine=best.candidate.engine,
            precision=best.candidate.precision,
            threads=best.candidate.threads,
            batch=best.candidate.batch,
            device=best.candidate.device,
            mode=tuning.mode,
            milliseconds=best.median,
            top1_agreement=found.top1 if found else 1.0,
            mean_difference=found.mean_difference if found else 0.0,
            images=tuning.images,
            judgement=best.verdict.judgement if best.verdict else None,
            runner_up=_runner_up(tuning.trials[1:]),
        )

    def __str__(self) -> str:
        """Say what was chosen and why, on one line."""
        candidate = Candidate(self.engine, self.precision, self.threads, self.batch, self.device)
        why = f"; next best: {self.runner_up}" if self.runner_up else ""
        loses = f", {sentence(self.judgement)}" if self.judgement else ""
        return (
            f"{candidate}: {self.milliseconds:.2f} ms an image, top-1 as in fp32 on "
            f"{self.top1_agreement:.1%} of {count(self.images, 'image')}{loses}{why}"
        )


def _runner_up(others: tuple[Trial, ...]) -> str:
    for trial in others:
        if not trial.reason:
            return f"{trial.candidate}, {trial.median:.2f} ms"
    return ""


def load_tuned(bundle: Bundle, mode: Mode, threads: int | None = None) -> TunedSettings | None:
    """Return what was chosen for this bundle, mode and number of threads on this machine, if so.

    A choice holds for exactly the files, processor and versions that it was measured with. It is
    ignored if its file is damaged or if its engine or device is gone.
    """
    file = cache_folder() / "tuning" / f"{_key(bundle, mode, threads)}.json"
    try:
        with file.open("rb") as stream:
            choice = TunedSettings.model_validate_json(stream.read(MAX_BYTES))
    except (OSError, ValidationError):
        return None
    if choice.engine not in installed_engines() or choice.mode != mode:
        return None
    try:
        found = find_device(choice.engine, choice.device)
    except FleetnetError:
        return None
    return choice if found == choice.device else None


def save_tuned(bundle: Bundle, tuning: Tuning, threads: int | None = None) -> TunedSettings:
    """Store the choice for the next time, if there were enough images.

    If the cache cannot be written to, the choice is still returned.
    """
    choice = TunedSettings.of(tuning)
    if tuning.images >= MIN_IMAGES:
        file = cache_folder() / "tuning" / f"{_key(bundle, tuning.mode, threads)}.json"
        try:
            with atomic_file(file) as temporary:
                temporary.write_text(choice.model_dump_json(indent=2) + "\n", "utf-8")
        except FleetnetError:
            return choice
    return choice


def tuned_or_tune(
    bundle: Bundle,
    mode: Mode,
    images: Iterable[Path | bytes],
    *,
    threads: int | None = None,
    say: Say = lambda _: None,
) -> TunedSettings | None:
    """Return what was chosen before, else tune with ``images`` now.

    Args:
        bundle: whose network.
        mode: whether to minimise the time of one image or maximise images per second.
        images: real images, files or encoded; at most :data:`ENOUGH` are used, and none if there
            is a choice already.
        threads: how many to compute with; None to choose.
        say: called with what is being tried, in a line.

    Returns:
        The choice; None if there was none and too few images can be read to compare precisions
        below fp32.
    """
    if known := load_tuned(bundle, mode, threads):
        return known
    try:
        pixels = prepare(images, bundle.manifest.preprocess, ENOUGH)
    except DataError:
        return None
    if len(pixels) < MIN_IMAGES:
        return None
    return save_tuned(bundle, tune(bundle, pixels, mode, threads=threads, say=say), threads)


def _key(bundle: Bundle, mode: Mode, threads: int | None) -> str:
    """Return what a choice depends on, as a file name."""
    facts = {
        "files": _files(bundle),
        "mode": mode,
        "threads": threads,
        "available": available_threads(),
        "machine": machine(),
        "fleetnet": importlib.metadata.version("fleetnet"),
        "engines": {
            ENGINES[name].needs: ENGINES[name].version for name in sorted(installed_engines())
        },
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _files(bundle: Bundle) -> list[str]:
    return sorted(
        f"{artifact} {file.sha256}" for artifact in bundle.artifacts for file in artifact.files
    )
