"""What a report says of an evaluation besides its figures: what computed it, where and when."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fleetnet
from fleetnet.amounts import count
from fleetnet.evaluation.history import EpochFigures
from fleetnet.evaluation.slices import Slice
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.comparison import machine
from fleetnet.inference.engines import CPU, Engine


@dataclass(frozen=True)
class About:
    """The facts of an evaluation that the report shows.

    Attributes:
        model: the network's name.
        part: the images, such as ``the 656 held-out images of folder cells``.
        engine: with its version and threads.
        command: as it was typed; empty if there was none.
        made: date and time, for people.
        version: of fleetnet.
        loss: what is on record of what the engine loses, if it computes in fewer bits than fp32.
        seen: a sentence, if the network was trained on some of the images.
        environment: facts on the machine and the versions.
        documents: longer texts by title that can be unfolded, such as the recipe; JSON values.
        history: of the training.
        epoch: of the history that is evaluated.
        slices: accuracy by other facts on the images.
        notes: on the slices.
        no_heat: why there are no heat maps, if there are none.
    """

    model: str
    part: str
    engine: str
    command: str
    made: str
    version: str
    loss: str = ""
    seen: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    history: Sequence[EpochFigures] = ()
    epoch: int | None = None
    slices: Sequence[Slice] = ()
    notes: Sequence[str] = ()
    no_heat: str = ""

    @classmethod
    def of(
        cls, classifier: Classifier, model: str, part: str, command: str = "", **others: Any
    ) -> About:
        """Return the facts of an evaluation that was made here and now.

        Args:
            classifier: that gave the answers.
            model: the network's name.
            part: the images, in words.
            command: as it was typed.
            others: more of the attributes.
        """
        return cls(
            model=model,
            part=part,
            engine=_computed_by(classifier.engine),
            command=command,
            made=f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
            version=fleetnet.__version__,
            environment=environment(classifier, model),
            **others,
        )


def environment(classifier: Classifier, model: str) -> dict[str, str]:
    """Return what the answers depend on, and what gave them, by the names that a report shows."""
    preprocess = classifier.preprocess
    classes = count(len(classifier.classes), "class")
    return {
        "model": f"{model}, {classes}, {classifier.activation}",
        "input": f"short side to {preprocess.resize}, centre {preprocess.crop}×{preprocess.crop}, "
        f"{preprocess.interpolation}",
        "engine": f"{classifier.engine.name} {classifier.engine.version}",
        "fleetnet": fleetnet.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": machine(),
    }


def _computed_by(engine: Engine) -> str:
    where = count(engine.threads, "thread") if engine.device == CPU else engine.device
    return f"{engine.name} {engine.version}, {engine.precision}, {where}"
