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
from fleetnet.cli.subject import Subject
from fleetnet.data.sources import Source
from fleetnet.errors import FleetnetError, require_all
from fleetnet.evaluation.evaluate import Evaluation
from fleetnet.evaluation.figures import Figures
from fleetnet.evaluation.slices import Slice
from fleetnet.inference.verify import machine

ENDINGS = (".html", ".htm", ".xhtml")


def check_report(path: Path) -> None:
    """Refuse before the work what would fail after it.

    Raises:
        FleetnetError: a package that reports need is absent, or ``path`` is a folder, or no name of
            an HTML file.
    """
    require_all({"jinja2": "Jinja", "matplotlib": "matplotlib"}, "report", "writing a report")
    if path.is_dir():
        raise FleetnetError(f"{path} is a folder: name a file to write the report to")
    if path.suffix.lower() not in ENDINGS:
        raise FleetnetError(f"{path}: a report is an HTML file: name one that ends in .html")


def save_report(
    path: Path,
    subject: Subject,
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

    engine = subject.classifier.engine
    threads = count(engine.threads, "thread")
    now = datetime.datetime.now().astimezone()
    about = About(
        model=subject.model,
        part=part,
        engine=f"{engine.name} {engine.version}, {engine.precision}, {threads}",
        command=shlex.join(["fleetnet", *sys.argv[1:]]),
        made=f"{now:%Y-%m-%d %H:%M %Z}",
        version=fleetnet.__version__,
        seen=seen,
        environment=_environment(subject),
        documents={"Recipe": subject.recipe, "Provenance": subject.provenance},
        history=subject.history,
        epoch=subject.epoch,
        slices=slices,
        notes=notes,
        no_heat=subject.no_network,
    )
    explain = None if subject.no_network else subject.grad_cam()
    preprocess = subject.classifier.preprocess
    write_report(path, evaluation, figures, source, preprocess, about, explain)


def _environment(subject: Subject) -> dict[str, str]:
    classifier = subject.classifier
    preprocess = classifier.preprocess
    return {
        "model": f"{subject.model}, {count(len(classifier.classes), 'class')}, "
        f"{classifier.activation}",
        "input": f"short side to {preprocess.resize}, centre {preprocess.crop}×{preprocess.crop}, "
        f"{preprocess.interpolation}",
        "engine": f"{classifier.engine.name} {classifier.engine.version}",
        "fleetnet": fleetnet.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": machine(),
    }
