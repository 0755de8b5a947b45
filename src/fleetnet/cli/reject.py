"""``fleetnet reject``: from which certainty on a bundle's answers count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import typer
from rich.table import Table

from fleetnet.amounts import count, share
from fleetnet.bundle import (
    Bundle,
    Certainty,
    Judgement,
    Rejection,
    check_only_listed,
    write_rejection,
)
from fleetnet.cli.console import (
    console,
    print_json,
    print_line,
    progress,
    say,
    warn,
    warn_left_out,
    warn_unreadable,
)
from fleetnet.cli.evaluate import select_told
from fleetnet.cli.opening import open_trained
from fleetnet.cli.sources import OptionalDataArgument, open_told, with_source_options
from fleetnet.data.sources import Source, SourceOptions
from fleetnet.data.splits import Indices
from fleetnet.errors import DataError, FleetnetError, unknown
from fleetnet.evaluation.evaluate import Evaluation, evaluate
from fleetnet.evaluation.rejection import (
    COVERAGES,
    CoverageRisk,
    Point,
    auroc,
    cross_fit,
    curve_of,
    right_of,
    scores_of,
)
from fleetnet.evaluation.selection import check_split
from fleetnet.image_files import check_given, find_images
from fleetnet.inference.certainty import SCORES, certainty
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.judging import on_record
from fleetnet.left_out import LeftOut
from fleetnet.plotting import check_plot
from fleetnet.weights.subject import find_subject


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("reject", short_help="Choose when an answer does not count.")(reject)


@with_source_options
def reject(
    model: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")],
    data: OptionalDataArgument = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, metavar="SHARE", help="Choose: of the images, accept at least this share."
        ),
    ] = None,
    risk: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Choose: accept as many as can be with at most this share of them wrong.",
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Take the threshold out again.")] = False,
    score: Annotated[
        str | None,
        typer.Option(
            "--score",
            help=f"Of what the threshold is: {', '.join(SCORES)}.  [that of the bundle's own, if "
            f"none is chosen; {SCORES[0]}]",
        ),
    ] = None,
    outliers: Annotated[
        list[str] | None,
        typer.Option(
            "--outliers",
            metavar="PATH",
            help="Files, folders or globs of images of something else: how many are rejected.",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="Which images, as for 'fleetnet evaluate'.")
    ] = "auto",
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw risk over coverage.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write.  [the bundle's own]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
    *,
    source: SourceOptions,
) -> None:
    """Choose from which certainty on an answer counts, on labelled images.

    The bundle gets the threshold, and everything that answers from it honours it: it says of an
    image that its answer is rejected. Without --coverage and --risk, nothing is written, and the
    table says what there is to choose from, and what the bundle's own threshold does. Where the
    bundle has int8, it says what the threshold does there too.
    """
    bundle = _bundle_of(model)
    if [coverage, risk, off or None].count(None) < 2:
        raise FleetnetError("--coverage, --risk and --off exclude each other: choose one")
    if off:
        _write(bundle, None, output)
        return
    asked = _Asked.of(bundle, score, coverage, risk)
    if data is None:
        raise DataError("no labelled images to choose on: give DATA")
    check_split(split)
    check_given(outliers or ())
    if plot is not None:
        check_plot(plot, ("png",))
    if asked.writes:
        check_only_listed(bundle, output)
    found = _measured(bundle, open_told(data, source), split, asked, outliers or [])
    if plot is not None:
        _draw(found, plot)
    found = found._replace(others=tuple(_others(bundle, found, asked.score)))
    if found.chosen is not None:
        _write(bundle, found.rejection(asked.score), output)
    for other in found.others:
        if other.refused:
            warn(f"{other.name}, is not measured: {other.refused}")
    if as_json:
        print_json(found.to_json(asked.score))
        return
    _print(found, asked.score)


class _Asked(NamedTuple):
    score: Certainty
    coverage: float | None
    risk: float | None

    @classmethod
    def of(
        cls, bundle: Bundle, score: str | None, coverage: float | None, risk: float | None
    ) -> _Asked:
        own = bundle.manifest.rejection
        asked = cls(SCORES[0] if score is None else _known(score), coverage, risk)
        if score is None and own is not None and not asked.writes:
            return asked._replace(score=own.score)
        return asked

    @property
    def writes(self) -> bool:
        return self.coverage is not None or self.risk is not None

    def choose(self, curve: CoverageRisk) -> Point:
        if self.risk is not None:
            return curve.at_risk(self.risk)
        return curve.at_coverage(1.0 if self.coverage is None else self.coverage)


@dataclass(frozen=True)
class _Outliers:
    scores: npt.NDArray[np.float32]
    areas: dict[Certainty, float]
    """Under the ROC curve, of every score."""

    def rejected(self, threshold: float) -> float:
        return float((self.scores < threshold).mean())


class _Other(NamedTuple):
    """What the threshold does in int8, in one engine; or why that is not known."""

    engine: str
    judgement: Judgement | None
    point: Point | None = None
    same: float = 0.0
    """Share of the images on which the decision is that of fp32."""
    refused: str = ""

    @property
    def name(self) -> str:
        return f"int8, {self.engine}"

    def to_json(self) -> dict[str, Any]:
        judgement = self.judgement and self.judgement.model_dump(mode="json")
        about = {"precision": self.name, "judgement": judgement, "refused": self.refused or None}
        if self.point is None:
            return about
        return {**about, "same_decision": self.same, **self.point.to_json()}


class _Found(NamedTuple):
    evaluation: Evaluation
    part: str
    where: tuple[Source, Indices]
    curves: dict[Certainty, CoverageRisk]
    points: list[Point]
    chosen: Point | None
    fitted: Point | None
    own: Point | None
    """What the bundle's own threshold does, if none is chosen and it is of the same score."""
    outliers: _Outliers | None
    others: tuple[_Other, ...] = ()

    def rejection(self, score: Certainty) -> Rejection:
        assert self.chosen is not None  # noqa: S101 - it is what is written
        return Rejection(
            score=score,
            threshold=self.chosen.threshold,
            coverage=self.chosen.coverage,
            risk=self.chosen.risk,
            images=self.chosen.images,
            source=self.part,
        )

    def to_json(self, score: Certainty) -> dict[str, Any]:
        def row(point: Point) -> dict[str, Any]:
            rejected = self.outliers and self.outliers.rejected(point.threshold)
            return {**point.to_json(), "outliers_rejected": rejected}

        fitted = self.fitted and {
            key: value for key, value in self.fitted.to_json().items() if key != "threshold"
        }
        return {
            "score": score,
            "images": len(self.evaluation.labels),
            "part": self.part,
            "table": [row(point) for point in self.points],
            "chosen": None if self.chosen is None else row(self.chosen),
            "own": None if self.own is None else row(self.own),
            "cross_fitted": fitted,
            "areas": {name: curve.area for name, curve in self.curves.items()},
            "outliers": None if self.outliers is None else len(self.outliers.scores),
            "auroc": None if self.outliers is None else self.outliers.areas,
            "precisions": [other.to_json() for other in self.others],
        }


def _known(score: str) -> Certainty:
    found = next((one for one in SCORES if one == score), None)
    if found is None:
        raise unknown("score", score, SCORES)
    return found


def _bundle_of(model: str) -> Bundle:
    subject = find_subject(model)
    if subject.kind != "bundle" or subject.path is None:
        raise FleetnetError(f"{model} is no bundle: make one with 'fleetnet export' first")
    return Bundle.load(subject.path)


def _write(bundle: Bundle, rejection: Rejection | None, output: Path | None) -> Bundle:
    written = write_rejection(bundle, rejection, output)
    if rejection is None:
        say(f"{written.path} rejects nothing any more")
    else:
        say(f"{written.path} rejects answers with {rejection.score} below {rejection.threshold:g}")
    return written


def _measured(
    bundle: Bundle, images: Source, split: str, asked: _Asked, outliers: list[str]
) -> _Found:
    """Answer the images, in fp32, and rank them by how certain the network is."""
    trained = open_trained(str(bundle.path))
    if trained.classifier.activation != "softmax":
        bundle.manifest.with_rejection(_any_rejection(asked.score))  # raises the error that says so
    selection = select_told(images, split, trained)
    with trained.classifier as classifier, progress() as bar:
        task = bar.add_task("evaluating", total=len(selection.indices))
        evaluation = evaluate(
            classifier, images, selection.indices, lambda count: bar.advance(task, count)
        )
        outside = _outliers(classifier, evaluation, asked.score, outliers) if outliers else None
    warn_unreadable(evaluation.unreadable)
    curves = {name: curve_of(evaluation, name) for name in SCORES}
    curve = curves[asked.score]
    chosen = asked.choose(curve) if asked.writes else None
    own = None if asked.writes else bundle.manifest.rejection
    scores, right = scores_of(evaluation, asked.score), right_of(evaluation)
    return _Found(
        evaluation,
        selection.description,
        (images, selection.indices),
        curves,
        [curve.at_coverage(least) for least in COVERAGES],
        chosen,
        cross_fit(scores, right, asked.choose) if chosen is not None else None,
        curve.at(own.threshold) if own is not None and own.score == asked.score else None,
        outside,
    )


def _any_rejection(score: Certainty) -> Rejection:
    return Rejection(score=score, threshold=0, coverage=1, risk=0, images=1, source="")


def _outliers(
    classifier: Classifier, evaluation: Evaluation, score: Certainty, paths: list[str]
) -> _Outliers:
    left_out = LeftOut()
    answers = classifier.predict(find_images(paths, left_out), top_k=1)
    logits = [one.logits for one in answers if one.logits is not None]
    warn_left_out(left_out)
    if not logits:
        raise DataError("none of the outliers could be read", arguments=["outliers"])
    outside = {name: certainty(np.stack(logits), name, evaluation.temperature) for name in SCORES}
    areas = {name: auroc(scores_of(evaluation, name), outside[name]) for name in SCORES}
    return _Outliers(outside[score], areas)


def _others(bundle: Bundle, found: _Found, score: Certainty) -> Iterator[_Other]:
    """Yield what the threshold does in int8, where the bundle has that: it was chosen in fp32."""
    point = found.chosen or found.own
    if point is None:
        return
    for artifact in bundle.artifacts:
        engine = {"openvino-ir": "openvino", "onnx": "onnxruntime"}.get(artifact.format)
        if engine is not None and artifact.precision == "int8" and artifact.batch is None:
            other = _Other(engine, bundle.judgement(engine, "int8"))
            # An engine that is not here, or answers with no numbers, is no reason to choose none.
            try:
                there, same = _in_int8(bundle, engine, found, score, point.threshold)
                yield other._replace(point=there, same=same)
            except FleetnetError as error:
                yield other._replace(refused=str(error))


def _in_int8(
    bundle: Bundle, engine: str, found: _Found, score: Certainty, threshold: float
) -> tuple[Point, float]:
    with Classifier(bundle, engine=engine, precision="int8", exact=True) as classifier:
        other = evaluate(classifier, *found.where)
    point = curve_of(other, score).at(threshold)
    mine, theirs = (scores_of(one, score) < threshold for one in (found.evaluation, other))
    return point, float((mine == theirs).mean())


def _draw(found: _Found, plot: Path) -> None:
    from fleetnet.evaluation.rejection_plot import draw_coverage_risk

    title = count(len(found.evaluation.labels), "image")
    curves: dict[str, CoverageRisk] = dict(found.curves.items())
    draw_coverage_risk(curves, found.chosen, title, plot)
    say(f"picture: {plot}")


def _print(found: _Found, score: Certainty) -> None:
    out = console()
    say(f"{found.part}, score {score}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for heading in ("coverage", "risk", "95 %", "threshold"):
        table.add_column(heading, justify="right")
    if found.outliers is not None:
        table.add_column("outliers rejected", justify="right")
    named = [("", point) for point in found.points]
    named += [("chosen", found.chosen)] if found.chosen is not None else []
    named += [("cross-fitted", found.fitted)] if found.fitted is not None else []
    named += [("the bundle's", found.own)] if found.own is not None else []
    in_fp32 = len(named)
    named += [(other.name, other.point) for other in found.others if other.point is not None]
    for place, (name, point) in enumerate(named):
        low, high = point.interval
        known = np.isfinite(point.threshold)
        cells = [
            name,
            share(point.coverage),
            share(point.risk),
            f"{share(low).removesuffix('%')} – {share(high)}",
            f"{point.threshold:.4f}" if known else "",
        ]
        if found.outliers is not None:
            outside = known and place < in_fp32  # in which the outliers were measured
            cells.append(share(found.outliers.rejected(point.threshold)) if outside else "")
        table.add_row(*cells)
    out.print(table)
    areas = ", ".join(f"{name} {curve.area:.4f}" for name, curve in found.curves.items())
    print_line(f"area under risk over coverage: {areas}")
    if found.outliers is not None:
        outside = count(len(found.outliers.scores), "outlier")
        areas = ", ".join(f"{name} {area:.4f}" for name, area in found.outliers.areas.items())
        print_line(f"AUROC against {outside}: {areas}")
    for other in found.others:
        if other.point is not None:
            print_line(f"{other.name}: the same decision on {share(other.same)} of the images")
        print_line(on_record(other.judgement, other.engine, "int8"))
