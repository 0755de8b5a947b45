"""What fewer bits are said to lose where there are no labels."""

import numpy as np
import pytest

from fleetnet.bundle import Bundle, Judgement
from fleetnet.errors import FleetnetError
from fleetnet.inference.engines import Logits
from fleetnet.inference.judging import (
    AgreementJudge,
    ConfidenceJudge,
    Verdict,
    judge_without_labels,
    judged_by,
    lost,
    sentence,
)
from fleetnet.inference.metric import Metric

CLASSES = ("cat", "dog", "owl")


def logits_of(*probabilities: tuple[float, ...]) -> Logits:
    return np.log(np.array(probabilities, np.float64)).astype(np.float32)


def sure_and_unsure(images: int = 400) -> Logits:
    """Return answers of which every second one is a near tie."""
    return logits_of(*[(0.98, 0.01, 0.01), (0.36, 0.35, 0.29)] * (images // 2))


def changed(expected: Logits, rows: slice) -> Logits:
    """Return logits with the first two classes of some images exchanged."""
    found = expected.copy()
    found[rows, :2] = expected[rows, 1::-1]
    return found


def judge(expected: Logits, found: Logits, judge: ConfidenceJudge | None = None) -> Verdict:
    return (judge or ConfidenceJudge()).judge(expected, found)


def test_other_answers_to_near_ties_cost_next_to_nothing() -> None:
    expected = sure_and_unsure()
    found = changed(expected, slice(1, 40, 2))
    verdict = judge(expected, found)
    assert verdict.judgement.loss == pytest.approx(20 * 0.01 / 400, rel=1e-3)
    assert verdict.passed
    assert not verdict.refuted
    # Plain agreement refuses the same answers: 5 % of them are others.
    assert not AgreementJudge(0.99).judge(expected, found).passed


def test_other_answers_where_fp32_was_sure_cost_an_image_each() -> None:
    expected = sure_and_unsure()
    found = changed(expected, slice(0, 40, 2))
    verdict = judge(expected, found)
    assert verdict.judgement.loss == pytest.approx(20 * 0.97 / 400, rel=1e-3)
    assert not verdict.passed
    assert verdict.refuted


def test_few_sure_mistakes_are_neither_shown_nor_refuted() -> None:
    expected = sure_and_unsure()
    verdict = judge(expected, changed(expected, slice(0, 2, 2)))
    assert (verdict.passed, verdict.refuted) == (False, False)


def test_answers_that_are_no_numbers_lose_all() -> None:
    expected = sure_and_unsure()
    verdict = judge(expected, expected * np.float32(np.nan))
    assert verdict.judgement.loss == pytest.approx((0.98 + 0.36) / 2, rel=1e-3)
    assert verdict.refuted
    odd = judge(expected * np.float32(np.nan), expected)
    assert not odd.passed
    assert odd.to_json()["loss"] is None


def test_a_network_that_has_learnt_nothing_may_not_answer_otherwise() -> None:
    expected = logits_of(*[(0.334, 0.333, 0.333)] * 200)
    tenth = judge(expected, changed(expected, slice(0, 20)))
    assert (tenth.passed, tenth.note) == (True, "")
    few = judge(expected, changed(expected, slice(0, 24)))
    assert (few.passed, few.refuted) == (False, False)
    assert few.note == "only 88.0% of the answers are the same"
    half = judge(expected, changed(expected, slice(0, 100)))
    assert (half.passed, half.refuted) == (False, True)


def test_recall_counts_the_images_that_are_probably_of_the_class() -> None:
    expected = logits_of(*[(0.9, 0.1), (0.2, 0.8)] * 100)
    found = changed(expected, slice(0, 20, 2))  # ten that were cats are dogs now
    metric = Metric.of("recall:cat", ("cat", "dog"), "softmax")
    verdict = judge(expected, found, ConfidenceJudge(metric, 0.05))
    assert verdict.judgement.loss == pytest.approx(10 * 0.9 / (100 * 1.1), rel=1e-3)
    assert verdict.judgement.of_class == "cat"
    other = Metric.of("recall:dog", ("cat", "dog"), "softmax")
    assert judge(expected, found, ConfidenceJudge(other)).judgement.loss < 0
    assert not verdict.passed


def test_with_several_labels_all_of_an_image_count() -> None:
    expected = np.log(np.array([[4.0, 9.0], [1 / 9, 0.25]])).astype(np.float32)
    found = expected.copy()
    found[0, 0] = -1
    exact = ConfidenceJudge(Metric.of("top1", ("a", "b"), "sigmoid"), activation="sigmoid")
    verdict = judge(expected, found, exact)
    # 0.8 × 0.9 is what the first image had, 0.2 × 0.9 what it has.
    assert verdict.judgement.loss == pytest.approx(0.6 * 0.9 / 2, rel=1e-3)
    assert verdict.judgement.metric == "exact_match"


def test_a_temperature_changes_how_sure_fp32_was() -> None:
    expected = sure_and_unsure()
    found = changed(expected, slice(0, 40, 2))
    cooler = judge(expected, found, ConfidenceJudge(temperature=4.0))
    assert cooler.judgement.loss < judge(expected, found).judgement.loss


def test_agreement_counts_answers() -> None:
    expected = sure_and_unsure(100)
    found = changed(expected, slice(0, 2))
    verdict = AgreementJudge(0.98).judge(expected, found)
    assert verdict.passed
    assert verdict.judgement.loss == pytest.approx(0.02)
    assert verdict.judgement.low < 0.02 < verdict.judgement.high < 0.07
    strict = AgreementJudge(0.99).judge(expected, found)
    assert (strict.passed, strict.refuted) == (False, False)
    assert AgreementJudge(0.99).judge(expected, changed(expected, slice(0, 30))).refuted


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("accuracy", "metric='accuracy' is none of top1, recall:CLASS"),
        ("recall", "none of"),
        ("top1:cat", "none of"),
        ("recall:dgo", "the network has no class 'dgo', did you mean 'dog'"),
        ("roc_auc", "none of"),
    ],
)
def test_an_unknown_metric_is_refused_in_one_line(word: str, words: str) -> None:
    with pytest.raises(FleetnetError) as refused:
        Metric.of(word, CLASSES, "softmax")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_ranks_take_labels() -> None:
    metric = Metric.of("roc_auc", CLASSES[:2], "softmax")
    assert metric.title == "ROC-AUC of 'dog'"
    with pytest.raises(FleetnetError, match="takes labelled images"):
        ConfidenceJudge(metric)


def test_a_bundles_judgement_is_repeated(bundle: Bundle) -> None:
    manifest = bundle.manifest
    name = manifest.classes[0]
    said = Judgement(
        metric="recall", of_class=name, judged_by="labels", images=9, loss=0.0, low=-0.1, high=0.1,
        allowed=0.2,
    )  # fmt: skip
    again = judge_without_labels(said, manifest)
    assert isinstance(again, ConfidenceJudge)
    assert (again.metric.class_name, again.allowed) == (name, 0.2)
    for unknown in ({"metric": "beauty"}, {"of_class": "?"}, {"metric": "roc_auc"}):
        again = judge_without_labels(said.model_copy(update=unknown), manifest)
        assert isinstance(again, ConfidenceJudge)
        assert again.metric.name == "top1"


def test_a_judgement_is_a_sentence() -> None:
    expected = sure_and_unsure()
    said = judge(expected, changed(expected, slice(1, 40, 2))).judgement
    assert sentence(said) == (
        "is expected to lose 0.05 points of top-1, below 0.07 with 95% confidence, 0.50 allowed, "
        "by how sure fp32 is on 400 images"
    )
    assert (lost(said), judged_by(said)) == ("0.05<0.07", "top-1 by confidence")
    assert (lost(None), judged_by(None)) == ("–", "–")
    same = AgreementJudge(0.98).judge(expected, expected).judgement
    assert sentence(same) == "gives the same answer on 100.00% of 400 images, 98.00% are wanted"
    assert judged_by(same) == "agreement"
