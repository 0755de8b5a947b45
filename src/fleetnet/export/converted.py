"""A network in a format of other runtimes: a folder of files, verified, and what to do with them.

The folder is a bundle of its own with that one artifact, so its manifest says all that the files do
not: classes, preprocessing, where the network is from, and how far its answers are.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fleetnet.amounts import count
from fleetnet.bundle import (
    MANIFEST,
    Artifact,
    Bundle,
    Manifest,
    Verification,
    check_replaceable,
    write_bundle,
)
from fleetnet.data.sources import Source
from fleetnet.errors import DataError, FleetnetError, VerificationError, one_line
from fleetnet.export.cached import bundle_of
from fleetnet.export.converted_engine import ConvertedEngine, compared
from fleetnet.export.converting import converting
from fleetnet.export.description import README, description
from fleetnet.export.fixed_batch import check_batch
from fleetnet.export.int8 import in_int8, real_images
from fleetnet.export.layers_apart import first_apart
from fleetnet.export.quantize.apart import Apart
from fleetnet.export.shown import Allowed, Given, Shown, images_to_show
from fleetnet.export.targets import Files, Target, find_target
from fleetnet.files import Standing
from fleetnet.image_files import check_given
from fleetnet.inference.comparison import Comparison, judged
from fleetnet.inference.judging import AGREEMENT as BY_AGREEMENT
from fleetnet.inference.judging import Judge
from fleetnet.inference.pictures import MADE_UP
from fleetnet.left_out import LeftOut
from fleetnet.reporting import Begin, Fetched, Say
from fleetnet.weights.subject import Subject, find_subject

TOLERANCE = 1e-3
"""Largest difference of a probability that a conversion to fp32 may make."""


def export_to(
    model: str | Path | Subject,
    to: str,
    output: str | Path,
    *,
    batch: int | None = None,
    chip: str | None = None,
    images: Iterable[str] = (),
    data: Source | None = None,
    limit: int | None = None,
    tolerance: float = TOLERANCE,
    allowed: Allowed = Allowed(),  # noqa: B008 - it cannot be changed
    left_out: LeftOut | None = None,
    say: Say = lambda _: None,
    begin: Begin = lambda _what, _steps: lambda _done: None,
    fetched: Fetched = lambda _have, _total: None,
) -> Bundle:
    """Convert a network for other runtimes, refusing to write one whose answers differ.

    Args:
        model: see :mod:`fleetnet.weights.subject`; what is no bundle is made one in the cache.
        to: a target's name, as :data:`fleetnet.export.targets.TARGETS` has it, or with a precision
            behind a colon.
        output: folder to make; an older one is replaced.
        batch: the only batch size that the files take; None if they take any.
        chip: that the files are for, where a target makes them for one; None for its first.
        images: files, folders and globs to verify with; if empty, held-out images of the data that
            a checkpoint was trained on if it still is there, else made-up pictures.
        data: labelled images to verify with, by whose labels fewer bits are judged; those that the
            network was not trained on. With int8, ``images`` beside it only calibrate.
        limit: verify with at most this many images; None for 128, or with fewer bits and images
            whose labels are known, for 1,000.
        tolerance: largest difference of a probability to allow in fp32, where every top-1 has to be
            the same too.
        allowed: what fewer bits may lose, by labels where they are known, or by how sure fp32 was
            of each answer that changed; of made-up pictures 99 % must get the same answer.
        left_out: counts what is skipped in ``images``.
        say: called with what is being done, in a line.
        begin: called with the packages that a target's environment takes, if that has to be made.
        fetched: called with a download's progress.

    Returns:
        A bundle with the converted network as its only artifact; without a record of verification
        where nothing here can run it.

    Raises:
        VerificationError: the answers differ.
        FleetnetError: no such target; the model, images or output cannot be used.
    """
    target, precision = find_target(to)
    if chip is not None:
        target = target.for_chip(chip)
    target.check_installed()
    calibrated = target.int8 if precision == "int8" else None
    if target.one_size or (calibrated is not None and calibrated.one_size):
        batch = batch or 1
    if batch is not None:
        check_batch(batch)
    if limit is not None and limit < 1:
        raise DataError(f"cannot verify with {limit} images: at least one is needed")
    output, images = Path(output), tuple(images)
    subject = model if isinstance(model, Subject) else find_subject(model)
    replacing = check_replaceable(output, target.version_folder)
    older = (output / target.version_folder / MANIFEST).is_file()
    check_given(images)
    bundle = bundle_of(subject, images=images, say=say, fetched=fetched)
    if target.environment is not None:
        target.environment.make(say, begin)
    allowed.check(bundle.manifest, precision)
    converting = f"converting to {target.title} in {precision}"
    given = Given(images, data, limit, left_out)
    quantization, shown, judge = None, None, None
    if calibrated is not None:
        drawn, origin = real_images(subject, bundle, given, begin)
        say(f"{drawn.summary} ({origin})")
        judge = allowed.judge(bundle.manifest, origin, drawn.labels)
        say(converting)
        files, quantization = in_int8(target, bundle, batch, drawn, judge, begin)
        shown = Shown(drawn.validation, origin, drawn.labels)
    else:
        if target.load is not None:
            shown = images_to_show(subject, bundle, given, labelled=precision != "fp32")
            if precision != "fp32":
                judge = allowed.judge(bundle.manifest, shown.origin, shown.labels)
        say(converting)
        files = _files_of(target, bundle, precision, batch)
    artifact = _artifact_of(target, files, precision, batch)
    samples: Files = {}
    if shown is not None:
        if target.samples is not None:
            _check_real(target, shown.origin)
            samples = target.samples(shown.pixels)
        record = _verified(target, bundle, files, artifact, shown, judge, tolerance, say)
        artifact = artifact.model_copy(
            update={"verification": (record,), "quantization": quantization}
        )
    manifest = bundle.manifest.with_artifacts([artifact], str(output))
    made_by = {"converters": target.converters} if target.converters else {}
    made_for = {"chip": target.chip} if target.chip else {}
    provenance = {**manifest.provenance, **made_by, **made_for}
    manifest = manifest.model_copy(update={"provenance": provenance})
    written = _write(output, target, manifest, files, samples, replacing)
    if older:
        say(f"{output} replaces the bundle that was there")
    return written


def _verified(
    target: Target,
    bundle: Bundle,
    files: Files,
    artifact: Artifact,
    shown: Shown,
    judge: Judge | None,
    tolerance: float,
    say: Say,
) -> Verification:
    """Compare the converted network with the bundle's, and return what is recorded of it.

    Raises:
        VerificationError: the answers differ.
    """
    precision, batch = artifact.precision or "fp32", artifact.batch
    say(f"verifying on {count(len(shown.pixels), 'image')} ({shown.origin})")
    with ConvertedEngine(target, files, precision, batch) as converted:
        comparison = compared(converted, bundle, shown.pixels, judge)
    good, allowed, required = _standing(comparison, tolerance)
    if not good:
        apart = first_apart(target, bundle, files, precision, batch, shown.pixels)
        raise _refusal(target, comparison, allowed, required, apart)
    if comparison.verdict and comparison.verdict.note:
        say(comparison.verdict.note)
    return comparison.record(shown.origin, tolerance if precision == "fp32" else 1.0)


def _write(
    output: Path,
    target: Target,
    manifest: Manifest,
    files: Files,
    samples: Files,
    replacing: Standing,
) -> Bundle:
    page = {README: description(target, manifest).encode()}
    beside = target.beside(files, manifest) if target.beside is not None else {}
    beside = {**beside, **samples}
    if not target.version_folder:
        return write_bundle(output, manifest, {**page, **beside, **files}, replacing)
    around = target.around(manifest) if target.around is not None else {}
    return write_bundle(
        output,
        manifest,
        {**beside, **files},
        replacing,
        inside=target.version_folder,
        around={**page, **around},
    )


def _check_real(target: Target, origin: str) -> None:
    """Refuse to hand made-up pictures to tools that calibrate.

    Raises:
        DataError: the images are such.
    """
    if MADE_UP in origin:
        raise DataError(
            f"{target.title}: their tools calibrate on images like those to come, and made-up "
            "pictures are none: give some of yours, images=",
            arguments=["images"],
        )


def page_of(bundle: Bundle) -> Path:
    """Return the page that says how to run converted files, where :func:`export_to` put it."""
    around = (folder / README for folder in (bundle.path, *bundle.path.parents))
    return next(page for page in around if page.is_file())


def _files_of(target: Target, bundle: Bundle, precision: str, batch: int | None) -> Files:
    with converting(bundle, target):
        return target.convert(bundle, precision, batch)


def _artifact_of(target: Target, files: Files, precision: str, batch: int | None) -> Artifact:
    try:
        return Artifact.of(target.format, files, precision=precision, batch=batch)
    except ValueError as error:
        reason = one_line(error).partition(" [type=")[0]
        raise FleetnetError(f"the target '{target.name}' gives odd files: {reason}") from None


def _standing(comparison: Comparison, tolerance: float) -> tuple[bool, str, dict[str, Any]]:
    """Return whether answers are near enough, what is allowed, and that as facts of an error."""
    if comparison.precision == "fp32":
        allowed = f"allowed: {tolerance:g} and 100%"
        return comparison.passes(tolerance), allowed, {"tolerance": tolerance}
    verdict = judged(comparison)
    if verdict.judgement.judged_by == BY_AGREEMENT:
        wanted = 1 - verdict.judgement.allowed
        return verdict.passed, f"allowed: {100 * wanted:g}%", {"required_agreement": wanted}
    return verdict.passed, f"it {verdict}", {}


def _refusal(
    target: Target,
    comparison: Comparison,
    allowed: str,
    required: dict[str, Any],
    apart: Apart | None,
) -> VerificationError:
    """Return the error of answers that differ too much, and of the layer where that begins."""
    in_fp32 = comparison.precision == "fp32"
    agreed = comparison.top1_agreement if in_fp32 else comparison.agreement
    return VerificationError(
        f"{target.title} in {comparison.precision} does not answer as the trained network "
        f"does: probabilities differ by up to {comparison.max_abs_diff:.2g}, the most probable "
        f"class agrees on {agreed:.1%} of {count(comparison.images, 'image')} "
        f"({allowed}){f'; {apart}' if apart else ''}",
        target=target.name,
        layer=apart.layer if apart else None,
        **comparison.facts,
        **required,
    )
