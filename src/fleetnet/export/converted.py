"""A network in a format of other runtimes: a folder of files, verified, and what to do with them.

The folder is a bundle of its own with that one artifact, so its manifest says all that the files do
not: classes, preprocessing, where the network is from, and how far its answers are.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

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
from fleetnet.errors import DataError, FleetnetError, VerificationError, one_line
from fleetnet.evaluation.labelled_images import labelled_judge, read_labelled
from fleetnet.evaluation.losses import Labels
from fleetnet.export.cached import bundle_of
from fleetnet.export.converted_engine import ConvertedEngine, compared
from fleetnet.export.description import README, description
from fleetnet.export.fixed_batch import check_batch
from fleetnet.export.held_out import held_out_part
from fleetnet.export.int8 import in_int8, real_images
from fleetnet.export.targets import Files, Target, find_target
from fleetnet.export.verification_images import images_to_verify_with
from fleetnet.files import Standing
from fleetnet.image_files import check_given, find_images
from fleetnet.inference.comparison import Comparison, judged
from fleetnet.inference.engines import Pixels
from fleetnet.inference.judging import AGREEMENT as BY_AGREEMENT
from fleetnet.inference.judging import MAX_LOSS, AgreementJudge, Judge, confidence_judge, sentence
from fleetnet.inference.metric import TOP1
from fleetnet.inference.pictures import MADE_UP, made_up_pictures
from fleetnet.inference.verify import AGREEMENT, prepare
from fleetnet.labels import printable
from fleetnet.left_out import LeftOut
from fleetnet.reporting import Begin, Fetched, Say
from fleetnet.training.adopt import read_checkpoint
from fleetnet.weights.subject import Subject, file_of, find_subject

IMAGES, LABELLED = 128, 1000
"""Defaults of how many images a conversion is verified with, and of how many that have labels."""
SEED = 0
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
    limit: int | None = None,
    tolerance: float = TOLERANCE,
    max_loss: float = MAX_LOSS,
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
        limit: verify with at most this many images; None for 128, or with fewer bits and held-out
            images, whose labels are known, for 1,000.
        tolerance: largest difference of a probability to allow in fp32, where every top-1 has to be
            the same too.
        max_loss: share of top-1 that fewer bits may lose, by the labels of held-out images, or by
            how sure fp32 was of each answer that changed; of made-up pictures 99 % must get the
            same answer, and of int8 that is calibrated here, of real ones too.
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
    say(f"converting to {target.title} in {precision}")
    quantization, shown = None, None
    if calibrated is not None:
        drawn, origin = real_images(
            subject, bundle, images, IMAGES if limit is None else limit, left_out, begin
        )
        say(f"{drawn.summary} ({origin})")
        files, quantization = in_int8(target, bundle, batch, drawn, begin)
        shown = _Shown(drawn.validation, origin, by_agreement=True)
    else:
        files = _files_of(target, bundle, precision, batch)
        if target.load is not None:
            shown = _images(subject, bundle, images, limit, left_out, labelled=precision != "fp32")
    artifact = _artifact_of(target, files, precision, batch)
    samples: Files = {}
    if shown is not None:
        if target.samples is not None:
            _check_real(target, shown.origin)
            samples = target.samples(shown.pixels)
        judge = None if precision == "fp32" else shown.judge(bundle.manifest, max_loss)
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
    shown: _Shown,
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
    _check(comparison, target, tolerance)
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
    try:
        return target.convert(bundle, precision, batch)
    except FleetnetError:
        raise
    except Exception as error:
        # Every converter raises its own errors.
        raise FleetnetError(
            f"{bundle.path} cannot be converted to {target.title}: {one_line(error)}"
        ) from None


def _artifact_of(target: Target, files: Files, precision: str, batch: int | None) -> Artifact:
    try:
        return Artifact.of(target.format, files, precision=precision, batch=batch)
    except ValueError as error:
        reason = one_line(error).partition(" [type=")[0]
        raise FleetnetError(f"the target '{target.name}' gives odd files: {reason}") from None


class _Shown(NamedTuple):
    """Images to verify with: what a record calls them, and their labels if those are known.

    ``by_agreement`` where int8 was searched by the same answers, which judge it then.
    """

    pixels: Pixels
    origin: str
    labels: Labels | None = None
    by_agreement: bool = False

    def judge(self, manifest: Manifest, max_loss: float) -> Judge:
        """Return what judges fewer bits on them."""
        if self.labels is not None:
            return labelled_judge(self.labels, manifest, TOP1, max_loss)
        if self.by_agreement or MADE_UP in self.origin:
            # Of made-up pictures nobody knows how sure a network should be.
            return AgreementJudge(AGREEMENT, manifest.model.activation)
        return confidence_judge(manifest, TOP1, max_loss)


def _images(
    subject: Subject,
    bundle: Bundle,
    images: tuple[str, ...],
    limit: int | None,
    left_out: LeftOut | None,
    *,
    labelled: bool,
) -> _Shown:
    """Return the images to verify with, with their labels if those are wanted and known."""
    preprocess = bundle.manifest.preprocess
    most = IMAGES if limit is None else limit
    if images:
        origin = printable(", ".join(Path(image).name or image for image in images))
        return _Shown(prepare(find_images(images, left_out), preprocess, most), origin)
    if subject.kind != "weights":
        return _Shown(made_up_pictures(most, preprocess.crop), f"{most} {MADE_UP}")
    trained = read_checkpoint(file_of(subject))
    held_out = held_out_part(trained)
    if labelled and held_out is not None:
        source, indices = held_out
        shuffled = np.random.default_rng(SEED).permutation(indices)
        origin = f"held-out images of {source.description}"
        most = LABELLED if limit is None else limit
        found = read_labelled(source, shuffled, bundle.manifest, most, origin)
        return _Shown(found.pixels, origin, found.labels)
    return _Shown(*images_to_verify_with(trained, (), most, held_out, left_out, made_up=True))


def _check(comparison: Comparison, target: Target, tolerance: float) -> None:
    """Refuse answers that differ too much.

    Raises:
        VerificationError: they do; nothing was written.
    """
    required: dict[str, Any]
    if comparison.precision == "fp32":
        required = {"tolerance": tolerance}
        good, allowed = comparison.passes(tolerance), f"allowed: {tolerance:g} and 100%"
        agreed = comparison.top1_agreement
    else:
        verdict = judged(comparison)
        by_agreement = verdict.judgement.judged_by == BY_AGREEMENT
        required = {"required_agreement": AGREEMENT} if by_agreement else {}
        good, allowed = verdict.passed, f"allowed: {AGREEMENT:.0%}"
        agreed = comparison.agreement
        if not by_agreement:
            allowed = "; ".join(filter(None, (f"it {sentence(verdict.judgement)}", verdict.note)))
    if not good:
        raise VerificationError(
            f"{target.title} in {comparison.precision} does not answer as the trained network "
            f"does: probabilities differ by up to {comparison.max_abs_diff:.2g}, the most probable "
            f"class agrees on {agreed:.1%} of {count(comparison.images, 'image')} "
            f"({allowed})",
            target=target.name,
            **comparison.facts,
            **required,
        )
