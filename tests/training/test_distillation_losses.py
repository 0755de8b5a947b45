"""The losses of distillation against formulas that are written out, in double precision."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import entropy
from torch import Tensor

from fleetnet.training.distillation.losses import (
    DIVERGENCES,
    attention,
    decoupled,
    jensen_shannon,
    kullback_leibler,
    symmetric_kullback_leibler,
)

Matrix = npt.NDArray[np.float64]
LOGITS = arrays(np.float64, (3, 4), elements=st.floats(-8, 8))
TEMPERATURES = st.sampled_from([0.5, 1.0, 4.0])


def tensors(one: Matrix, two: Matrix) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(one), torch.from_numpy(two)


@settings(deadline=None, max_examples=50)
@given(LOGITS, LOGITS, TEMPERATURES)
def test_divergences_are_what_scipy_computes(ours: Matrix, theirs: Matrix, heat: float) -> None:
    p, q = softmax(theirs / heat, 1), softmax(ours / heat, 1)
    kl, back = entropy(p, q, axis=1).mean(), entropy(q, p, axis=1).mean()
    both = tensors(ours, theirs)
    found = float(kullback_leibler(*both, heat))
    assert found == pytest.approx(heat**2 * kl, rel=1e-6, abs=1e-9)
    found = float(symmetric_kullback_leibler(*both, heat))
    assert found == pytest.approx(heat**2 * (kl + back) / 2, rel=1e-6, abs=1e-9)
    js = np.square(jensenshannon(p, q, axis=1)).mean()
    found = float(jensen_shannon(*both, heat))
    # SciPy takes the root of a difference of numbers close to each other.
    assert found == pytest.approx(heat**2 * js, rel=1e-5, abs=1e-7)
    assert -1e-12 <= found <= heat**2 * math.log(2) + 1e-12


@settings(deadline=None, max_examples=50)
@given(LOGITS, LOGITS, TEMPERATURES, st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_decoupled_parts_are_those_of_the_paper(
    ours: Matrix, theirs: Matrix, heat: float, classes: list[int]
) -> None:
    p, q = softmax(theirs / heat, 1), softmax(ours / heat, 1)
    target, others = [], []
    for row, label in enumerate(classes):
        keep = np.arange(4) != label
        pair = [[each[row, label], each[row, keep].sum()] for each in (p, q)]
        target.append(entropy(*pair))
        others.append(entropy(p[row, keep], q[row, keep]))  # SciPy makes each sum to 1
    both, at_hand = tensors(ours, theirs), torch.tensor(classes)
    found = float(decoupled(*both, heat, at_hand, alpha=2, beta=3))
    wanted = heat**2 * (2 * np.mean(target) + 3 * np.mean(others))
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_decoupled_parts_sum_up_to_the_whole() -> None:
    """KL = target + (1 - p of the class at hand) · others, equation 7 of the paper."""
    rng = np.random.default_rng(0)
    ours, theirs = tensors(*rng.normal(size=(2, 1, 5)))
    label = torch.tensor([2])
    target = decoupled(ours, theirs, 1.0, label, alpha=1, beta=0)
    others = decoupled(ours, theirs, 1.0, label, alpha=0, beta=1)
    rest = 1 - theirs.softmax(1)[0, 2]
    torch.testing.assert_close(kullback_leibler(ours, theirs), target + rest * others)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_gradients_are_the_numeric_ones_and_end_where_the_answers_agree(name: str) -> None:
    loss = DIVERGENCES[name]  # type: ignore[index]
    rng = np.random.default_rng(1)
    ours, theirs = tensors(*rng.normal(size=(2, 2, 3)))
    assert torch.autograd.gradcheck(lambda z: loss(z, theirs, 2.0), ours.requires_grad_())
    same = theirs.clone().requires_grad_()
    loss(same, theirs + 5, 1.0).backward()  # type: ignore[no-untyped-call]  # a constant more changes no probability
    torch.testing.assert_close(same.grad, torch.zeros_like(theirs), rtol=0, atol=1e-12)


def test_near_the_teacher_js_is_a_quarter_of_kl_and_skl_is_kl() -> None:
    rng = np.random.default_rng(2)
    theirs, step = tensors(*rng.normal(size=(2, 4, 5)))
    near = theirs + 1e-4 * step
    kl = kullback_leibler(near, theirs)
    torch.testing.assert_close(jensen_shannon(near, theirs), kl / 4, rtol=1e-3, atol=0)
    torch.testing.assert_close(symmetric_kullback_leibler(near, theirs), kl, rtol=1e-3, atol=0)


@pytest.mark.parametrize("loss", [*DIVERGENCES.values(), decoupled])
def test_certain_answers_give_numbers(loss: object) -> None:
    ours = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    theirs = torch.tensor([[-200.0, 200.0, 0.0]])
    more = [torch.tensor([1])] if loss is decoupled else []
    found = loss(ours, theirs, 1.0, *more)  # type: ignore[operator]
    found.backward()
    assert found.isfinite()
    assert ours.grad is not None
    assert ours.grad.isfinite().all()


def test_attention_is_where_a_map_is_bright_whatever_its_channels() -> None:
    rng = np.random.default_rng(3)
    theirs, other = tensors(rng.normal(size=(2, 6, 4, 4)), rng.normal(size=(2, 3, 4, 4)))
    assert float(attention(theirs[:, [5, 0, 3, 1, 2, 4]] * -7, theirs)) == pytest.approx(0)
    a, b = (m.square().sum(1).reshape(2, 16).numpy() for m in (other, theirs))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert float(attention(other, theirs)) == pytest.approx((2 - 2 * cosine).mean())
    spread = other.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert float(attention(spread, other)) == pytest.approx(0)
