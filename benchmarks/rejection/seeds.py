"""What rejection is worth over several networks, such as those of several seeds.

    python -m benchmarks.rejection.seeds BUNDLE... --data DATA [--label L] [--outliers FOLDER]

Prints, as mean ± standard deviation over the bundles, what each score gives at some coverages, and
what a threshold that was chosen in fp32 does in every other precision that the bundles have.

Each bundle answers the images that ``fleetnet reject`` takes: the held-out ones of the data that it
was trained on. Of these, one half is measured with the threshold that was chosen on the other, both
ways. For other precisions the threshold is chosen on all of them, as ``fleetnet reject`` does it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.bundle import Bundle, Certainty
from fleetnet.data.sources import Source, open_source
from fleetnet.errors import DataError, FleetnetError
from fleetnet.evaluation.evaluate import Evaluation, evaluate
from fleetnet.evaluation.rejection import (
    CoverageRisk,
    auroc,
    curve_of,
    fit_halves,
    right_of,
    scores_of,
)
from fleetnet.evaluation.selection import select_images
from fleetnet.image_files import find_images
from fleetnet.inference.certainty import SCORES, certainty
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.comparison import machine
from fleetnet.inference.engines import Logits, installed_engines, precisions
from fleetnet.left_out import LeftOut
from fleetnet.trained import BATCH, open_trained

COVERAGES = (1.0, 0.95, 0.9, 0.8)
"""With the first, nothing is rejected."""
ENGINES = ("openvino", "onnxruntime")
Figures = dict[str, Any]


def main(words: Sequence[str] | None = None) -> None:
    """Measure what the command line names, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--data", required=True)
    parser.add_argument("--label")
    parser.add_argument("--outliers", type=Path, metavar="FOLDER")
    parser.add_argument("--score", choices=SCORES, default=SCORES[0], help="of other precisions")
    parser.add_argument("--engines", nargs="+", default=ENGINES)
    parser.add_argument("--json", type=Path, metavar="FILE", help="to write every figure to")
    given = parser.parse_args(words)
    source = open_source(given.data, given.label)
    outliers = [] if given.outliers is None else list(find_images([str(given.outliers)], LeftOut()))
    engines = [name for name in given.engines if name in installed_engines()]
    found = []
    for path in given.bundles:
        found.append(measured(path, source, outliers, engines, given.score))
        print(f"{path}: {found[-1]['part']}", file=sys.stderr, flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps({"machine": machine(), "bundles": found}, indent=1) + "\n")
    print(tables(found, given.score))


def measured(
    path: Path,
    source: Source,
    outliers: Sequence[str | Path],
    engines: Iterable[str],
    score: Certainty,
) -> Figures:
    """Return what each score gives of one bundle, and what other precisions do.

    Args:
        path: of the bundle.
        source: of its images.
        outliers: pictures of something else; may be none.
        engines: whose precisions are compared.
        score: of what the threshold is there.

    Raises:
        FleetnetError: it cannot be opened, its images may have several classes, or a logit is not
            a number.
    """
    trained = open_trained(path)
    if trained.classifier.activation != "softmax":
        raise FleetnetError(f"{path} gives an image any number of classes, and rejects none")
    selection = select_images(source, "auto", trained.trained_on, trained.trained_images)
    with trained.classifier as classifier:
        evaluation = evaluate(classifier, source, selection.indices)
        answers = classifier.predict(outliers, top_k=1)
        outside = [one.logits for one in answers if one.logits is not None]
    if outliers and not outside:
        raise DataError("none of the outliers could be read", arguments=["outliers"])
    strange = np.stack(outside) if outside else None
    return {
        "bundle": str(path),
        "part": selection.description,
        "images": len(evaluation.labels),
        "outliers": len(outside),
        "scores": {name: of_score(evaluation, strange, name) for name in SCORES},
        "precisions": _in_other_precisions(Bundle.load(path), source, evaluation, engines, score),
    }


def of_score(evaluation: Evaluation, outliers: Logits | None, score: Certainty) -> Figures:
    """Return what a score gives: the area, the AUROC, and what is at each coverage.

    Args:
        evaluation: of the images.
        outliers: their logits, ``float32[M, K]``.
        score: its name.
    """
    inside, right = scores_of(evaluation, score), right_of(evaluation)
    outside = None
    if outliers is not None:
        outside = certainty(outliers, score, evaluation.temperature)
    return {
        "area": CoverageRisk.of(inside, right).area,
        "auroc": None if outside is None else auroc(inside, outside),
        "at": {f"{share:g}": _cross_fitted(inside, right, outside, share) for share in COVERAGES},
    }


def _cross_fitted(
    scores: npt.NDArray[np.float32],
    right: npt.NDArray[np.bool_],
    outside: npt.NDArray[np.float32] | None,
    share: float,
) -> Figures:
    """Return coverage and risk, each half by the other's threshold, and outliers by both."""
    if share == 1:
        taken = np.ones(len(right), bool)
        rejected = [0.0]
    else:
        taken = np.zeros(len(right), bool)
        halves = fit_halves(scores, right, lambda curve: curve.at_coverage(share))
        for half in halves:
            taken[half.images] = scores[half.images] >= half.threshold
        rejected = [
            float((outside < half.threshold).mean()) for half in halves if outside is not None
        ]
    return {
        "coverage": float(taken.mean()),
        "risk": float((~right[taken]).sum() / max(int(taken.sum()), 1)),
        "outliers_rejected": None if outside is None else statistics.mean(rejected),
    }


def _in_other_precisions(
    bundle: Bundle,
    source: Source,
    evaluation: Evaluation,
    engines: Iterable[str],
    score: Certainty,
) -> Figures:
    """Return by ``ENGINE, PRECISION`` what the thresholds do that were chosen in fp32."""
    curve, found = curve_of(evaluation, score), {}
    thresholds = {share: curve.at_coverage(share).threshold for share in COVERAGES if share < 1}
    reference = scores_of(evaluation, score)
    for engine in engines:
        for precision in precisions(engine, bundle):
            with Classifier(
                bundle, engine=engine, precision=precision, batch_size=BATCH, exact=True
            ) as classifier:
                other = evaluate(classifier, source, evaluation.indices)
            scores, there = scores_of(other, score), curve_of(other, score)
            found[f"{engine}, {precision}"] = {
                f"{share:g}": {
                    "coverage": there.at(threshold).coverage,
                    "risk": there.at(threshold).risk,
                    "same": float(((scores < threshold) == (reference < threshold)).mean()),
                }
                for share, threshold in thresholds.items()
            }
    return found


def tables(found: Sequence[Figures], score: str) -> str:
    """Return everything as Markdown: a table of the scores, their areas, and the precisions."""
    return "\n\n".join((_of_scores(found), _of_areas(found), _of_precisions(found, score)))


def _of_scores(found: Sequence[Figures]) -> str:
    lines = [
        "| score | coverage wanted | coverage | wrong | outliers rejected |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for score in SCORES:
        for share in COVERAGES:
            points = [one["scores"][score]["at"][f"{share:g}"] for one in found]
            cells = (_over(points, key) for key in ("coverage", "risk", "outliers_rejected"))
            lines.append(f"| `{score}` | {share:.0%} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _of_areas(found: Sequence[Figures]) -> str:
    lines = ["| score | area under risk over coverage | AUROC |", "| --- | ---: | ---: |"]
    for score in SCORES:
        figures = [one["scores"][score] for one in found]
        cells = (_over(figures, key, _plain) for key in ("area", "auroc"))
        lines.append(f"| `{score}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _of_precisions(found: Sequence[Figures], score: str) -> str:
    lines = [
        f"| engine, precision | coverage in fp32, by `{score}` | coverage | wrong | decided as in "
        "fp32 | networks |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    names = dict.fromkeys(name for one in found for name in one["precisions"])
    for name in names:
        there = [one["precisions"][name] for one in found if name in one["precisions"]]
        for share in there[0]:
            points = [one[share] for one in there]
            cells = (_over(points, key) for key in ("coverage", "risk", "same"))
            lines.append(f"| {name} | {float(share):.0%} | {' | '.join(cells)} | {len(there)} |")
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _plain(number: float) -> str:
    return f"{number:.4f}"


def _over(figures: Sequence[Figures], key: str, written: Callable[[float], str] = _percent) -> str:
    """Return the mean of a figure over the bundles, and its standard deviation."""
    values = [one[key] for one in figures]
    if None in values:
        return "–"
    unit = " %" if written is _percent else ""
    spread = f" ± {written(statistics.stdev(values))}" if len(values) > 1 else ""
    return f"{written(statistics.mean(values))}{spread}{unit}"


if __name__ == "__main__":
    try:
        main()
    except FleetnetError as error:
        sys.exit(f"error: {error}")
