"""A trained network of any kind, opened to be evaluated, explained or reported on.

Use :class:`fleetnet.Classifier` to get answers only. This module also says where the network came
from, and gives access to its layers.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fleetnet.bundle import Bundle, Judgement, while_replaced
from fleetnet.data.contents import NONE, Contents
from fleetnet.data.sources import Source
from fleetnet.errors import PYTORCH, FleetnetError, needing, require
from fleetnet.evaluation.about import About
from fleetnet.evaluation.history import EpochFigures, clean_history, read_history
from fleetnet.evaluation.overlap import trained_images_of
from fleetnet.evaluation.report_file import check_report
from fleetnet.evaluation.results import Results
from fleetnet.export.cached import bundle_of
from fleetnet.inference.automatic import Computing, computing
from fleetnet.inference.classifier import AUTO, Classifier
from fleetnet.inference.engines import CPU, REFERENCE, Mode, find_device
from fleetnet.inference.judging import on_record
from fleetnet.reporting import Fetched, Say
from fleetnet.weights.subject import find_subject

if TYPE_CHECKING:
    from torch import nn

    from fleetnet.evaluation.explain import GradCam
    from fleetnet.models.base import Network
    from fleetnet.training.checkpoint import Checkpoint

BATCH = 8
"""Default of how many images the engine gets at once."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A classifier and what is known of where it came from.

    Attributes:
        classifier: ready to answer.
        model: the network's name.
        trained_on: what is known of the data it was trained on.
        trained_images: the contents of the images it was trained on; empty if not known.
        recipe: the one that it was trained with.
        provenance: what else a bundle says about its origin.
        history: of the training.
        epoch: how many epochs it was trained for.
        network: builds the network itself.
        no_network: why the network cannot be built; empty if it can.
        bundle: SHA-256 of the bundle that it was opened of; None if it was none.
        judgement: what that bundle has on record of what its engine loses in fewer bits.
    """

    classifier: Classifier
    model: str
    trained_on: dict[str, Any]
    recipe: dict[str, Any]
    network: Callable[[], nn.Module]
    trained_images: Contents = field(default_factory=lambda: NONE)
    provenance: dict[str, Any] = field(default_factory=dict)
    history: list[EpochFigures] = field(default_factory=list)
    epoch: int | None = None
    no_network: str = ""
    bundle: str | None = None
    judgement: Judgement | None = None

    @property
    def loss(self) -> str:
        """What is on record of what the engine loses in fewer bits, in words; empty in fp32."""
        engine = self.classifier.engine
        if engine.precision == "fp32":
            return ""
        return on_record(self.judgement, engine.name, engine.precision)

    def grad_cam(self) -> GradCam:
        """Return the function that shows where in an image a class is found.

        Raises:
            FleetnetError: there is no network to look into, or PyTorch is not installed.
        """
        if self.no_network:
            raise FleetnetError(self.no_network)
        from fleetnet.evaluation.explain import GradCam

        # Whatever build_model builds is a Network; its annotation promises no more than a module.
        return GradCam(cast("Network", self.network()), self.classifier.preprocess)

    def write_report(
        self, path: Path, source: Source, results: Results, *, command: str = ""
    ) -> None:
        """Write what an evaluation of the network found as one HTML file.

        Where there is a network to look into, the report has heat maps.

        Args:
            path: the ``.html`` file, which is then either whole or unchanged.
            source: of the images, some of which are read again.
            results: of this network.
            command: that made the evaluation, for the reader to repeat it.

        Raises:
            FleetnetError: as :func:`fleetnet.evaluation.report_file.check_report` and
                :func:`fleetnet.evaluation.report.write_report`.
        """
        check_report(path)
        from fleetnet.evaluation.report import write_report

        about = About.of(
            self.classifier,
            self.model,
            results.part,
            command,
            loss=self.loss,
            seen=results.seen,
            documents={"Recipe": self.recipe, "Provenance": self.provenance},
            history=self.history,
            epoch=self.epoch,
            slices=results.slices,
            notes=results.notes,
            no_heat=self.no_network,
        )
        explain = None if self.no_network else self.grad_cam()
        preprocess = self.classifier.preprocess
        write_report(path, results.evaluation, results.figures, source, preprocess, about, explain)


def open_trained(
    word: str | Path,
    engine: str | None = None,
    threads: int | None = None,
    batch_size: int | None = None,
    *,
    precision: str | None = None,
    images: Callable[[], Iterable[Path | bytes]] = list,
    device: str | None = None,
    say: Say = lambda _: None,
    fetched: Fetched = lambda _have, _total: None,
    trying: Say = lambda _: None,
    chosen: Callable[[Computing], None] = lambda _: None,
) -> TrainedNetwork:
    """Open a trained network to run in ``engine``.

    Weights run in PyTorch as they are, unless another engine or precision is asked for. Anything
    else runs as a bundle, which is made if there is none.

    Args:
        word: see :mod:`fleetnet.weights.subject`.
        engine: its name, ``auto`` for the fastest, or None for the default.
        threads: how many to compute with; None for all there are.
        batch_size: how many images at once; None for :data:`BATCH`, or for what ``auto`` chose.
        precision: by name, or None for fp32.
        images: returns real images, which ``auto`` may need to find the fastest.
        device: to compute on, as the engine's runtime names it; None for the processor.
        say: called with what is being done, a line each.
        fetched: called with a download's progress.
        trying: called with what ``auto`` is trying.
        chosen: called with what computes a bundle.

    Raises:
        FleetnetError: there is no such network, or it cannot be used.
    """
    subject = find_subject(word)
    if (
        subject.kind != "weights"
        or engine not in (None, REFERENCE)
        or precision not in (None, "fp32")
    ):
        bundle = bundle_of(subject, say=say, fetched=fetched)
        mode: Mode = "throughput" if engine == AUTO else "latency"
        found = computing(
            bundle,
            mode,
            images,
            engine=engine,
            precision=precision,
            threads=threads,
            batch_size=batch_size,
            device=device,
            say=trying,
        )
        chosen(found)
        return while_replaced(bundle, functools.partial(_open_bundle, chosen=found, mode=mode))
    return _open_checkpoint(
        subject.path, threads, batch_size or BATCH, CPU if device is None else device, say
    )


def _open_bundle(bundle: Bundle, chosen: Computing, mode: Mode) -> TrainedNetwork:
    manifest = bundle.manifest
    provenance = manifest.provenance
    # Exact, so that a bundle's figures are the same as in its training.
    classifier = Classifier(
        bundle,
        engine=chosen.engine,
        precision=chosen.precision,
        threads=chosen.threads,
        batch_size=chosen.batch_size or BATCH,
        mode=mode,
        exact=True,
        device=chosen.device,
    )

    def network() -> nn.Module:
        from fleetnet.inference.engines.torch import load_network

        return load_network(bundle)

    epoch = provenance.get("epoch")
    return TrainedNetwork(
        classifier=classifier,
        model=manifest.model.name,
        trained_on=_dict(provenance.get("data")),
        trained_images=trained_images_of(bundle),
        recipe=_dict(provenance.get("recipe")),
        provenance={key: provenance[key] for key in provenance if key not in ("recipe", "history")},
        history=clean_history(provenance.get("history")) or read_history(bundle.path.parent),
        epoch=epoch if isinstance(epoch, int) else None,
        network=network,
        no_network=_no_network(bundle),
        bundle=bundle.hash,
        judgement=bundle.judgement(classifier.engine.name, classifier.engine.precision),
    )


def _no_network(bundle: Bundle) -> str:
    if bundle.find(format="safetensors") is None:
        return (
            f"{bundle.path} has no weights to look into: heat maps take a checkpoint, or the "
            "folder of a bundle that has them"
        )
    if not all(map(importlib.util.find_spec, ("torch", "safetensors"))):
        return str(require("PyTorch", "train", "showing where the network looks"))
    return ""


def _open_checkpoint(
    path: Path, threads: int | None, batch_size: int, device: str, say: Say
) -> TrainedNetwork:
    checkpoint = _load_checkpoint(path, say)
    place = find_device(REFERENCE, device)
    from fleetnet.inference.engines.torch import TorchEngine, placed

    network = checkpoint.network()
    computing_it = network if place == CPU else placed(copy.deepcopy(network), place)
    classifier = Classifier.from_engine(
        TorchEngine(computing_it, checkpoint.preprocess, threads),
        checkpoint.preprocess,
        checkpoint.classes,
        batch_size=batch_size,
        activation=checkpoint.activation,
    )
    history = clean_history(checkpoint.history)
    return TrainedNetwork(
        classifier=classifier,
        model=checkpoint.model,
        trained_on=checkpoint.data,
        trained_images=checkpoint.trained_images,
        recipe=checkpoint.recipe,
        history=history or read_history(path.parent),
        epoch=checkpoint.epoch,
        network=lambda: network,
    )


def _load_checkpoint(path: Path, say: Say) -> Checkpoint:
    with needing(PYTORCH, "train", "reading a checkpoint"):
        from fleetnet.training.adopt import read_checkpoint
    return read_checkpoint(path, say=say)


def _dict(value: Any) -> dict[str, Any]:
    """Return a part of a bundle's provenance, which may contain anything."""
    return value if isinstance(value, dict) else {}
