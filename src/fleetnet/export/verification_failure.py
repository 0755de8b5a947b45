"""Why a bundle fails its verification, as far down as the layer whose output diverges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetnet.bundle import Bundle
from fleetnet.errors import VerificationError
from fleetnet.inference.comparison import BATCH, Comparison, judged
from fleetnet.inference.engines import CPU, ENGINES, Pixels
from fleetnet.inference.verification import Report, required_agreement

if TYPE_CHECKING:
    from fleetnet.export.divergence import Divergence


def failure_of(bundle: Bundle, report: Report, pixels: Pixels) -> VerificationError | None:
    """Return the error of the first comparison that failed; None if the bundle passed.

    Args:
        bundle: that was verified.
        report: what :func:`fleetnet.inference.verification.verify_here` found.
        pixels: that it was verified on, ``uint8[N, crop, crop, 3]``; the diverging layer is looked
            for on the first of them, where PyTorch and onnx are installed.
    """
    if report.failed:
        return _beyond_tolerance(bundle, report, report.failed, pixels)
    if report.refuted:
        return _loses_too_much(report.refuted)
    return None


def _beyond_tolerance(
    bundle: Bundle, report: Report, worst: Comparison, pixels: Pixels
) -> VerificationError:
    summary = (
        f"{worst.engine} differs from the trained network by up to {worst.max_abs_diff:.2g} "
        f"(allowed: {report.tolerance:g}), top-1 agrees on {worst.top1_agreement:.2%}"
    )
    facts = worst.facts | {"tolerance": report.tolerance}
    if not report.has_reference:
        return VerificationError(summary, **facts)
    try:
        from fleetnet.export.divergence import first_divergence
    except ModuleNotFoundError:
        return VerificationError(
            f"{summary} (install fleetnet[export] to learn in which layer)", **facts
        )
    from fleetnet.inference.engines.torch import load_network

    if worst.device != CPU or ENGINES[worst.engine].of_graph is None:
        return VerificationError(summary, **facts)
    layer: Divergence | None = first_divergence(
        bundle.content(format="onnx").data,
        worst.engine,
        load_network(bundle),
        bundle.manifest.preprocess,
        pixels[:BATCH],
    )
    where = f"first in layer '{layer.layer}'" if layer else "in no single layer"
    return VerificationError(f"{summary}, {where}", **facts, layer=layer.layer if layer else None)


def _loses_too_much(comparison: Comparison) -> VerificationError:
    engine, precision = comparison.engine, comparison.precision
    again = ", or quantise with images like these" if precision == "int8" else ""
    return VerificationError(
        f"{engine} in {precision} {judged(comparison)}: use precision='fp32' here{again}",
        arguments=["precision"],
        required_agreement=required_agreement(comparison),
        **comparison.facts,
    )
