"""The classifier that users of the package import: it takes any kind of trained network."""

from __future__ import annotations

import os
from collections.abc import Sequence

from fleetnet.bundle import Bundle
from fleetnet.export.cached import bundle_of
from fleetnet.inference import classifier
from fleetnet.inference.classifier import DEFAULT_ENGINE
from fleetnet.inference.engines import Mode, Precision


class Classifier(classifier.Classifier):
    """A trained network made ready to answer on this machine.

    Args:
        bundle: a :class:`fleetnet.Bundle`; the path of a bundle, of an ``.onnx`` file of one, of
            a checkpoint, a run's folder or a file of weights; or the name of a network with
            published weights, ``ReXNet_1_0`` or ``timm:ReXNet_1_0``. If it is not a bundle, one
            is made and verified in the cache the first time, which needs the extra ``export``.
        engine: as the other arguments, see :class:`fleetnet.inference.classifier.Classifier`.
        threads: likewise.
        batch_size: likewise.
        labels: likewise.
        precision: likewise.
        mode: likewise.
        exact: likewise.
        device: likewise.
        reject: likewise.

    Raises:
        FleetnetError: as :func:`fleetnet.export.cached.bundle_of`, and as that class.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str],
        *,
        engine: str = DEFAULT_ENGINE,
        threads: int | None = None,
        batch_size: int | None = None,
        labels: Sequence[str] | None = None,
        precision: Precision | None = None,
        mode: Mode = "latency",
        exact: bool = False,
        device: str | None = None,
        reject: bool | float = True,
    ) -> None:
        super().__init__(
            bundle,
            engine=engine,
            threads=threads,
            batch_size=batch_size,
            labels=labels,
            precision=precision,
            mode=mode,
            exact=exact,
            device=device,
            reject=reject,
        )

    def _load(self, word: str | os.PathLike[str]) -> Bundle:
        return bundle_of(word)
