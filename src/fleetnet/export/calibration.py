"""A temperature (Guo et al. 2017) for an exported network, from its held-out images."""

from __future__ import annotations

from fleetnet.bundle import Calibration
from fleetnet.errors import DataError
from fleetnet.evaluation.evaluate import evaluate
from fleetnet.evaluation.temperature import cross_fit
from fleetnet.export.held_out import HeldOut, why_gone
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.comparison import BATCH
from fleetnet.inference.engines import Engine
from fleetnet.training.checkpoint import Checkpoint


def fit_calibration(
    trained: Checkpoint, reference: Engine, held_out: HeldOut | None
) -> Calibration:
    """Fit a temperature to the network's answers for the held-out images.

    Args:
        trained: the checkpoint that the network comes from.
        reference: the network in PyTorch.
        held_out: its held-out images, as :func:`fleetnet.export.held_out.held_out_part` finds them.

    Raises:
        DataError: there are none, they are too few, or their logits are not numbers.
    """
    if held_out is None:
        raise DataError(
            f"{why_gone(trained)}: export where they are, or without calibrate=",
            arguments=["calibrate"],
        )
    source, indices = held_out
    classifier = Classifier.from_engine(
        reference,
        trained.preprocess,
        trained.classes,
        batch_size=BATCH,
        activation=trained.activation,
    )
    evaluation = evaluate(classifier, source, indices)
    fit = cross_fit(evaluation.logits, evaluation.labels)
    if fit is None:
        raise DataError(
            f"{len(evaluation.indices)} held-out images are too few to fit a temperature to, or "
            "their logits are not numbers: export without calibrate=",
            arguments=["calibrate"],
        )
    return Calibration(
        temperature=fit.temperature,
        images=fit.images,
        ece_before=fit.ece_before,
        ece_after=fit.ece_after,
        source=f"held-out images of {source.description}",
    )
