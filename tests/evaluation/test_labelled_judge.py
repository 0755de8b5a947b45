"""What fewer bits lose by the labels, what is shown by how many images, and what is refused."""

import numpy as np
import numpy.typing as npt
import pytest

from fleetnet.errors import DataError
from fleetnet.evaluation.labelled_judge import LabelledJudge
from fleetnet.evaluation.paired import loss_of_share
from fleetnet.inference.engines import Logits
from fleetnet.inference.metric import Metric

CLASSES = ("bad", "good")
Labels = npt.NDArray[np.int64]


def answers(images: int, right: float = 0.8, margin: float = 4.0) -> tuple[Logits, Labels]:
    """Return logits of which a share is right, each as sure of itself, and the labels."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, images)
    said = np.where(rng.random(images) < right, labels, 1 - labels)
    logits = np.where(np.eye(2)[said] > 0, margin / 2, -margin / 2)
    return logits.astype(np.float32), labels


def turned(logits: Logits, rows: npt.NDArray[np.intp]) -> Logits:
    found = logits.copy()
    found[rows] = found[rows, ::-1]
    return found


def rows_of(logits: Logits, labels: Labels, *, right: int, wrong: int = 0) -> npt.NDArray[np.intp]:
    """Return the first so many that are answered right, and wrong."""
    is_right = logits.argmax(1) == labels
    return np.append(np.flatnonzero(is_right)[:right], np.flatnonzero(~is_right)[:wrong])


def test_changes_that_cancel_out_are_no_loss_if_images_are_many() -> None:
    logits, labels = answers(4000)
    found = turned(logits, rows_of(logits, labels, right=40, wrong=40))
    verdict = LabelledJudge(labels).judge(logits, found)
    judgement = verdict.judgement
    assert (verdict.passed, verdict.refuted, verdict.note) == (True, False, "")
    assert (judgement.judged_by, judgement.metric, judgement.loss) == ("labels", "top1", 0.0)
    assert (judgement.low, judgement.high) == loss_of_share(40, 40, 4000)
    assert judgement.fp32 == judgement.found == pytest.approx(0.8, abs=0.02)
    assert judgement.fp32_nll == pytest.approx(judgement.nll)
    assert judgement.ece is not None
    assert judgement.ece == pytest.approx(judgement.fp32_ece)


def test_right_answers_that_are_lost_are_refused_by_the_labels() -> None:
    logits, labels = answers(1000)
    found = turned(logits, rows_of(logits, labels, right=30, wrong=2))
    verdict = LabelledJudge(labels).judge(logits, found)
    assert (verdict.passed, verdict.refuted) == (False, True)
    assert verdict.judgement.loss == pytest.approx(0.028)
    assert verdict.judgement.found is not None
    assert verdict.judgement.fp32 is not None
    assert verdict.judgement.fp32 - verdict.judgement.found == pytest.approx(0.028)
    assert LabelledJudge(labels, allowed=0.05).judge(logits, found).passed


def test_too_few_images_say_how_many_it_takes_and_leave_it_to_confidence() -> None:
    logits, labels = answers(300, right=0.51, margin=0.05)
    found = turned(logits, rows_of(logits, labels, right=3, wrong=3))
    verdict = LabelledJudge(labels).judge(logits, found)
    assert verdict.passed
    assert verdict.judgement.judged_by == "confidence"
    assert verdict.judgement.fp32 == verdict.judgement.found
    assert "300 labelled images cannot show whether 0.50 points of top-1 or less" in verdict.note
    assert "that takes some 2,2" in verdict.note
    sure = answers(300, margin=6.0)[0]
    found = turned(sure, rows_of(sure, labels, right=3, wrong=3))
    refused = LabelledJudge(labels).judge(sure, found)
    assert not refused.passed
    assert "how sure fp32 was" in refused.note


def test_too_few_images_that_speak_against_it_are_not_left_to_confidence() -> None:
    logits, labels = answers(300, right=0.51, margin=0.05)
    found = turned(logits, rows_of(logits, labels, right=4))
    verdict = LabelledJudge(labels).judge(logits, found)
    assert (verdict.passed, verdict.judgement.judged_by) == (False, "labels")
    assert "that takes" not in verdict.note
    one = LabelledJudge(labels).judge(logits, turned(logits, rows_of(logits, labels, right=1)))
    assert (one.passed, one.judgement.judged_by) == (True, "confidence")


def test_recall_is_judged_on_the_images_of_its_class() -> None:
    logits, labels = answers(6000)
    rows = rows_of(logits, labels, right=300)
    bad = rows[labels[rows] == 0]
    found = turned(logits, bad)
    of_bad = Metric.of("recall:bad", CLASSES, "softmax")
    verdict = LabelledJudge(labels, of_bad).judge(logits, found)
    assert verdict.refuted
    assert verdict.judgement.loss == pytest.approx(len(bad) / (labels == 0).sum())
    assert verdict.judgement.of_class == "bad"
    of_good = Metric.of("recall:good", CLASSES, "softmax")
    assert LabelledJudge(labels, of_good).judge(logits, found).passed
    with pytest.raises(DataError, match="no image of the 4 that judge is of the class 'bad'"):
        LabelledJudge(np.ones(4, np.int64), of_bad).judge(logits[:4], found[:4])


def test_ranks_are_judged_even_where_no_answer_changes() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 1500)
    score = labels + rng.normal(0, 0.5, 1500)
    logits = np.c_[np.zeros(1500), score + 5].astype(np.float32)
    noisy = np.c_[np.zeros(1500), score + 5 + rng.normal(0, 0.6, 1500)].astype(np.float32)
    metric = Metric.of("roc_auc", CLASSES, "softmax")
    assert LabelledJudge(labels).judge(logits, noisy).passed
    verdict = LabelledJudge(labels, metric).judge(logits, noisy)
    assert verdict.refuted
    assert verdict.judgement.loss > 0.02
    assert LabelledJudge(labels, metric).judge(logits, logits * 0.5).passed
    few = LabelledJudge(labels[:60], metric).judge(logits[:60], noisy[:60])
    assert not few.passed


def test_several_labels_an_image_have_to_be_right_together() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((2000, 3)) < 0.5
    logits = np.where(labels, 3.0, -3.0).astype(np.float32)
    found = logits.copy()
    found[:40, 1] *= -1
    metric = Metric.of("top1", ("a", "b", "c"), "sigmoid")
    verdict = LabelledJudge(labels, metric, activation="sigmoid").judge(logits, found)
    assert verdict.refuted
    assert verdict.judgement.metric == "exact_match"
    assert verdict.judgement.loss == pytest.approx(0.02)


def test_answers_that_are_no_numbers_are_never_right() -> None:
    logits, labels = answers(400)
    broken = logits * np.float32(np.nan)
    verdict = LabelledJudge(labels).judge(logits, broken)
    assert verdict.refuted
    assert verdict.judgement.found == 0
    assert verdict.to_json()["passed"] is False


def test_a_network_that_is_less_sure_than_it_is_right_is_taken_to_be_surer() -> None:
    logits, labels = answers(300, right=0.97, margin=0.05)
    found = turned(logits, rows_of(logits, labels, right=2, wrong=2))
    verdict = LabelledJudge(labels).judge(logits, found)
    assert (verdict.passed, verdict.judgement.judged_by) == (False, "confidence")
    # As sure as it is right, 97 %, each of the four costs nearly an image.
    assert verdict.judgement.loss == pytest.approx(4 * 0.94 / 300, rel=0.1)
    assert LabelledJudge(labels, temperature=1.3).judge(logits, found).judgement.loss == (
        pytest.approx(verdict.judgement.loss, rel=1e-3)
    )
