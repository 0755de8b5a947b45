"""From a bundle in fp32 to one that also holds its network in int8."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fleetnet.bundle import (
    Artifact,
    Bundle,
    check_only_listed,
    check_replaceable,
    write_bundle,
)
from fleetnet.errors import BundleError, FleetnetError, nearest
from fleetnet.evaluation.overlap import remembered, trained_images_of
from fleetnet.export.quantize.finetuned import Finetuned
from fleetnet.export.quantize.quantizers import QUANTIZERS
from fleetnet.export.quantize.samples import Samples
from fleetnet.export.quantize.session import Result, Session, WeightBits
from fleetnet.files import Standing
from fleetnet.inference.judging import AgreementJudge, Judge, confidence_judge
from fleetnet.reporting import Begin

WEIGHT_BITS: WeightBits = 7
"""One bit fewer than int8 has: see ``docs/quantization.md``."""
ANY_DIFFERENCE = 1.0
"""Tolerance of a file for which the agreement is what counts: no probability differs by more."""


def quantize_bundle(
    bundle: Bundle,
    samples: Samples,
    source: str,
    *,
    output: Path | None = None,
    engines: Sequence[str] | None = None,
    agreement: float | None = None,
    judge: Judge | None = None,
    weight_bits: WeightBits = WEIGHT_BITS,
    finetuned: Finetuned | None = None,
    begin: Begin = lambda _what, _steps: lambda _done: None,
) -> tuple[Bundle, list[Result]]:
    """Add a bundle's network in int8, for one engine or several, and write the bundle.

    The bundle is replaced as a whole, or, if anything fails, left as it was.

    Args:
        bundle: a folder; the answers of its fp32 network are the reference.
        samples: images for calibration and for validation.
        source: where they are from, for the record.
        output: where to write; None for the bundle's own place.
        engines: of :data:`fleetnet.export.quantize.quantizers.QUANTIZERS`; None for all of them.
        agreement: share of the validation images that must get the same answer, above 0, at most
            1, in place of a judge.
        judge: says whether int8 loses too much; if there is neither, half a point of top-1 may be
            lost, as far as the probabilities in fp32 let expect.
        weight_bits: 7, which every processor multiplies exactly, or 8, for those with VNNI and Arm.
        finetuned: what to quantise in place of the bundle's network, which stays the reference.
        begin: called with each step that takes long.

    Raises:
        VerificationError: too much is lost, however many layers are kept in fp32.
        BundleError: the bundle is damaged or no folder, or holds what the manifest does not list.
        OvertakenError: another process has written there in the meantime.
        FleetnetError: a value out of range, or the place cannot be written to.
    """
    engines = tuple(QUANTIZERS) if engines is None else engines
    replacing = check_request(bundle, output, engines, agreement)
    contents = _contents(bundle)
    judge = judge or judge_of(bundle, agreement)
    opened = Session(bundle, samples, judge, weight_bits, begin, finetuned)
    with contextlib.closing(opened) as session:
        results = [session.quantize(engine) for engine in engines]
    artifacts = {artifact.key: artifact for artifact in bundle.artifacts}
    for result in results:
        made = Artifact.of(
            result.quantized.format,
            result.quantized.contents,
            precision="int8",
            verification=(result.comparison.record(source, ANY_DIFFERENCE),),
            quantization=result.quantization,
        )
        artifacts[made.key] = made
        contents.update(result.quantized.contents)
    if finetuned is not None and len(finetuned.learnt):
        # Also where the network in fp32 has not seen them: a bundle has one list.
        images = np.union1d(trained_images_of(bundle), finetuned.learnt)
        made, listed = remembered(images)
        artifacts[made.key] = made
        contents.update(listed)
    manifest = bundle.manifest.with_artifacts(artifacts.values(), str(bundle.path))
    files = {file.name: contents[file.name] for made in artifacts.values() for file in made.files}
    return write_bundle(output or bundle.path, manifest, files, replacing), results


def judge_of(bundle: Bundle, agreement: float | None = None) -> Judge:
    """Return what judges a bundle's int8 without labels: by agreement where that is asked for."""
    if agreement is not None:
        return AgreementJudge(agreement, bundle.manifest.model.activation)
    return confidence_judge(bundle.manifest)


def check_engines(engines: Sequence[str]) -> None:
    """Refuse an engine for which there is no int8.

    Raises:
        FleetnetError: names it, and those that there are.
    """
    for engine in engines:
        if engine in QUANTIZERS.broken:
            QUANTIZERS.find(engine)  # raises the error that says why it cannot be loaded
        if engine not in QUANTIZERS:
            raise FleetnetError(
                f"no int8 for the engine '{engine}'{nearest(engine, QUANTIZERS)} "
                f"(known: {', '.join(QUANTIZERS)})",
                code="unknown-quantiser",
                given=engine,
                known=list(QUANTIZERS),
            )


def check_request(
    bundle: Bundle, output: Path | None, engines: Sequence[str], agreement: float | None = None
) -> Standing:
    """Refuse at once what :func:`quantize_bundle` would refuse, except damaged files.

    Returns:
        What is at the place where the bundle is to be written.

    Raises:
        BundleError: the bundle is no folder, or the folder has a file that is not in the manifest
            and would be lost.
        FleetnetError: a value out of range, or ``output`` holds something else.
    """
    if agreement is not None and not 0 < agreement <= 1:
        raise FleetnetError(f"agreement is {agreement}; it must be above 0 and at most 1")
    check_engines(engines)
    if bundle.path.is_file():
        raise BundleError(f"{bundle.path} is only an ONNX file: quantise the bundle's folder")
    if output is not None and output.resolve() != bundle.path.resolve():
        return check_replaceable(output)
    check_only_listed(bundle, None)
    return bundle.found


def _contents(bundle: Bundle) -> dict[str, bytes]:
    """Read and check all artifacts, for the bundle that replaces this one."""
    return {
        content.path.name: content.data
        for artifact in bundle.artifacts
        for content in bundle.contents_of(artifact)
    }
