import json

import numpy as np
import pytest

from evaluation.made_up import multi, single
from fleetnet.evaluation.evaluate import Evaluation
from fleetnet.evaluation.figures import summarise


def test_two_classes_have_curves_and_all_figures_are_json() -> None:
    evaluation, _ = single(60, ("a", "b"))
    figures = summarise(evaluation, resamples=200)
    values = json.loads(json.dumps(figures.to_json(), allow_nan=False))
    assert figures.curves is not None
    assert {
        "images", "top1", "top5", "classes", "confusion", "balanced_accuracy", "macro_precision",
        "macro_f1", "roc_auc", "average_precision", "ece", "nll", "brier", "per_class",
        "reliability", "temperature", "intervals",
    } == set(values)  # fmt: skip
    for key in ("top1", "balanced_accuracy", "macro_f1", "roc_auc", "nll", "brier"):
        low, high = values["intervals"][key]
        assert low <= values[key] <= high
        assert low < high
    assert values["top1"] == figures.right.mean()


def test_without_resamples_there_are_no_intervals() -> None:
    evaluation, _ = single(20, ("a", "b", "c"))
    figures = summarise(evaluation, resamples=0)
    assert all(figure.interval is None for figure in figures.headline)
    assert figures.curves is None
    assert figures["roc_auc"].title == "ROC-AUC, one vs rest"


def test_top5_is_given_for_more_than_five_classes() -> None:
    few, many = (single(20, "abcdefg"[:count])[0] for count in (5, 7))
    assert "top5" not in [figure.key for figure in summarise(few, resamples=0).headline]
    assert "top5" in [figure.key for figure in summarise(many, resamples=0).headline]


def test_the_temperature_changes_probabilities_and_not_ranks() -> None:
    evaluation, _ = single(100, ("a", "b", "c"))
    hot = Evaluation(
        evaluation.classes, evaluation.logits, evaluation.labels, evaluation.indices, (), 4.0
    )
    before, after = (summarise(one, resamples=0) for one in (evaluation, hot))
    for key in ("top1", "macro_f1", "roc_auc"):
        if key != "roc_auc":
            assert before[key].value == after[key].value
    assert before["nll"].value != after["nll"].value
    assert np.allclose(hot.probabilities().sum(axis=1), 1)
    assert hot.probabilities().max() < evaluation.probabilities().max()
    # What is left to scale is less by that factor.
    assert before.temperature is not None
    assert after.temperature is not None
    assert after.temperature.temperature == pytest.approx(before.temperature.temperature / 4, 1e-4)


def test_one_image_has_every_figure_that_is_defined() -> None:
    evaluation = Evaluation(
        ("a", "b"), np.array([[2.0, 1.0]], np.float32), np.array([0]), np.array([0])
    )
    values = summarise(evaluation, resamples=10).to_json()
    assert values["top1"] == 1.0
    assert values["roc_auc"] is None
    assert values["temperature"] is None
    json.dumps(values, allow_nan=False)


def test_multi_label_figures() -> None:
    evaluation, _ = multi(50, ("a", "b", "c"))
    figures = summarise(evaluation, resamples=50)
    values = json.loads(json.dumps(figures.to_json(), allow_nan=False))
    assert values["mean_average_precision"] == figures["mean_average_precision"].value
    assert values["exact_match"] == figures.right.mean()
    assert set(values["intervals"]) >= {"exact_match", "nll", "brier"}
    assert len(values["per_class"]) == 3
    with pytest.raises(ValueError, match="multi_label_metrics"):
        _ = evaluation.metrics
