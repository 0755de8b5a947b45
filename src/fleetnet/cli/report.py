"""The HTML report of an evaluation, as ``evaluate`` and ``demo`` write it."""

from __future__ import annotations

import datetime
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import fleetnet
from fleetnet.amounts import count
from fleetnet.data.sources import Source
from fleetnet.errors import FleetnetError, require_all
from fleetnet.evaluation.evaluate import Evaluation
from fleetnet.evaluation.figures import Figures
from fleetnet.evaluation.slices import Slice
from fleetnet.inference.engines import CPU, Engine
from fleetnet.inference.verify import machine
from fleetnet.trained import TrainedNetwork

ENDINGS = (".html", ".htm", ".xhtml")


def check_report(path: Path) -> None:
    """Refuse before the work what would fail after it.

    Raises:
        FleetnetError: a package that reports need is absent, or ``path`` is a folder, or no name of
            an HTML file.
    """
    require_all(("jinja2", "matplotlib"), "report", "writing a report")
    if path.is_dir():
        raise FleetnetError(f"{path} is a folder: name a file to write the report to")
    if path.suffix.lower() not in ENDINGS:
        raise FleetnetError(f"{path}: a report is an HTML file: name one that ends in .html")


def save_report(
    path: Path,
    trained: TrainedNetwork,
    source: Source,
    evaluation: Evaluation,
    figures: Figures,
    part: str,
    seen: str = "",
    slices: Sequence[Slice] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write the report of an evaluation; see :func:`fleetnet.evaluation.report.write_report`."""
    from fleetnet.evaluation.report import About, write_report

    engine = trained.classifier.engine
    now = datetime.datetime.now().astimezone()
    about = About(
        model=trained.model,
        part=part,
        engine=f"{engine.name} {engine.version}, {engine.precision}, {_where(engine)}",
        command=shlex.join(["fleetnet", *sys.argv[1:]]),
        made=f"{now:%Y-%m-%d %H:%M %Z}",
        version=fleetnet.__version__,
        seen=seen,
        environment=_environment(trained),
        documents={"Recipe": trained.recipe, "Provenance": trained.provenance},
        history=trained.history,
        epoch=trained.epoch,
        slices=slices,
        notes=notes,
        no_heat=trained.no_network,
    )
    explain = None if trained.no_network else trained.grad_cam()
    preprocess = trained.classifier.preprocess
    write_report(path, evaluation, figures, source, preprocess, about, explain)


def _where(engine: Engine) -> str:
    if engine.device != CPU:
        return engine.device
    return count(engine.threads, "thread")


def _environment(trained: TrainedNetwork) -> dict[str, str]:
    classifier = trained.classifier
    preprocess = classifier.preprocess
    classes = count(len(classifier.classes), "class")
    return {
        "model": f"{trained.model}, {classes}, {classifier.activation}",
        "input": f"short side to {preprocess.resize}, centre {preprocess.crop}×{preprocess.crop}, "
        f"{preprocess.interpolation}",
        "engine": f"{classifier.engine.name} {classifier.engine.version}",
        "fleetnet": fleetnet.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": machine(),
    }
