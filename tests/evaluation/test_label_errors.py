import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.evaluation.label_errors import (
    find_label_issues,
    find_multi_label_issues,
    normalised_margins,
    worst_mistakes,
)


def separable(images: int, classes: int, seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a good network, and the true labels."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, images)
    truth[:classes] = np.arange(classes)
    logits = rng.normal(size=(images, classes)) * noise + 5 * np.eye(classes)[truth]
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True), truth


@given(
    st.integers(100, 200), st.integers(2, 6), st.integers(0, 10_000), st.sampled_from([0.0, 0.3])
)
def test_wrong_labels_are_found_and_right_ones_left_alone(
    images: int, classes: int, seed: int, noise: float
) -> None:
    probabilities, truth = separable(images, classes, seed, noise)
    labels = truth.copy()
    flipped = np.random.default_rng(seed).choice(images, 4, replace=False)
    labels[flipped] = (labels[flipped] + 1) % classes
    issues = find_label_issues(probabilities, labels)
    found = {issue.position for issue in issues}
    # An image that is less surely of its class than most are is not confidently anything.
    assert found <= set(flipped) if noise else found == set(flipped)
    for issue in issues:
        assert issue.given == labels[issue.position]
        assert issue.suggested == truth[issue.position]
    margins = [issue.margin for issue in issues]
    assert margins == sorted(margins)
    assert all(0 <= margin < 0.5 for margin in margins)


def test_the_confident_joint_of_a_small_example() -> None:
    """Worked by hand: thresholds are 0.6 for class 0 and 0.65 for class 1."""
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]])
    labels = np.array([0, 0, 0, 1, 1])
    (issue,) = find_label_issues(probabilities, labels)
    assert (issue.position, issue.given, issue.suggested) == (1, 0, 1)
    assert np.isclose(issue.margin, (0.3 - 0.7 + 1) / 2)


def test_a_class_without_labels_is_never_suggested() -> None:
    probabilities = np.array([[0.1, 0.2, 0.7], [0.2, 0.1, 0.7], [0.6, 0.2, 0.2], [0.2, 0.7, 0.1]])
    issues = find_label_issues(probabilities, np.array([0, 1, 0, 1]))
    assert all(issue.suggested != 2 for issue in issues)


def test_equal_answers_for_all_images_cast_no_doubt_on_labels() -> None:
    probabilities = np.full((50, 3), 1 / 3, np.float32)
    labels = np.arange(50) % 3
    assert all(issue.margin == 0.5 for issue in find_label_issues(probabilities, labels))
    one_sided = np.tile(np.array([0.7, 0.3], np.float32), (49, 1))
    assert not find_label_issues(one_sided, np.zeros(49, int))


def test_multi_label_issues_name_the_class() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((80, 3)) < 0.5
    probabilities = np.where(truth, 0.95, 0.05)
    labels = truth.copy()
    labels[7, 1] = ~labels[7, 1]
    ((index, issue),) = find_multi_label_issues(probabilities, labels)
    assert (index, issue.position) == (1, 7)
    assert issue.given == labels[7, 1]


def test_margins() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]])
    assert np.allclose(normalised_margins(probabilities, np.array([0, 1])), [0.75, 0.0])


def test_the_worst_mistakes_are_the_surest() -> None:
    right = np.array([True, False, False, True, False])
    nll = np.array([9.0, 1.0, 3.0, 0.1, 2.0])
    assert worst_mistakes(right, nll, 2).tolist() == [2, 4]
    assert worst_mistakes(np.ones(5, bool), nll, 2).tolist() == []
