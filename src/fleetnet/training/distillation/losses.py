"""How far a student's answers are from its teacher's.

Every function takes the student's logits and the teacher's, ``float32[N, K]`` each, and returns the
mean over the images, ``float32[]``. Logarithms of probabilities are logits too. At a temperature
``T`` both are divided by it, and the loss is multiplied by its square, so that the gradients keep
their size (Hinton et al. 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fleetnet.training.recipe import DivergenceName

Divergence = Callable[[Tensor, Tensor, float], Tensor]

_HIDDEN = -1e4
"""Takes the place of a logit whose class is left out: its probability is 0, without NaN."""


def kullback_leibler(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Return KL(teacher ‖ student), the loss of Hinton et al. (2015) without its constant."""
    wanted, given = _log_probabilities(student, teacher, temperature)
    return _scaled(_divergence(wanted, given), temperature)


def symmetric_kullback_leibler(
    student: Tensor, teacher: Tensor, temperature: float = 1.0
) -> Tensor:
    """Return the mean of KL(teacher ‖ student) and KL(student ‖ teacher).

    The loss of SKL-UGI; and what PaddleClas's code of SSLD computes under the name JS.
    """
    wanted, given = _log_probabilities(student, teacher, temperature)
    both = _divergence(wanted, given) + _divergence(given, wanted)
    return _scaled(both / 2, temperature)


def jensen_shannon(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the Jensen-Shannon divergence of the two distributions, at most ln 2 at ``T`` = 1.

    Where they are close, it is a quarter of the Kullback-Leibler divergence.
    """
    wanted, given = _log_probabilities(student, teacher, temperature)
    middle = torch.logaddexp(wanted, given) - math.log(2)
    both = _divergence(wanted, middle) + _divergence(given, middle)
    return _scaled(both / 2, temperature)


def decoupled(
    student: Tensor,
    teacher: Tensor,
    temperature: float,
    classes: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    """Return the loss of decoupled knowledge distillation (Zhao et al. 2022).

    The KL divergence is a sum of two parts: of the class at hand against all others, and among the
    others, the latter weighted by how unsure the teacher is. Here each has a weight of its own.

    Args:
        student: logits.
        teacher: logits.
        temperature: of both.
        classes: ``int64[N]``, the class at hand of each image.
        alpha: weight of the class at hand against the others.
        beta: weight of what is among the others.
    """
    wanted, given = _log_probabilities(student, teacher, temperature)
    at_hand = functional.one_hot(classes, student.shape[1]).bool()
    target = _divergence(_binary(wanted, at_hand), _binary(given, at_hand))
    others = _divergence(_without(wanted, at_hand), _without(given, at_hand))
    return _scaled(alpha * target + beta * others, temperature)


DIVERGENCES: dict[DivergenceName, Divergence] = {
    "js": jensen_shannon,
    "kl": kullback_leibler,
    "skl": symmetric_kullback_leibler,
}
"""Those that need nothing but the answers; :func:`decoupled` needs the classes too."""


def attention(student: Tensor, teacher: Tensor) -> Tensor:
    """Return how far apart two feature maps look: attention transfer, Zagoruyko and Komodakis 2017.

    A map's attention is the mean of its squares over the channels, as a vector of length 1. So the
    two may have any numbers of channels, and no layer between them has to be learned.

    Args:
        student: ``float32[N, C, H, W]``.
        teacher: ``float32[N, C', H', W']``, of the same stride; if the teacher's images have
            another size, the student's attention is averaged to its maps'.

    Returns:
        The squared distance, mean over the images, from 0 to 2.
    """
    theirs = teacher.square().mean(1, keepdim=True)
    ours = student.square().mean(1, keepdim=True)
    if ours.shape[2:] != theirs.shape[2:]:
        ours = functional.adaptive_avg_pool2d(ours, (theirs.shape[2], theirs.shape[3]))
    difference = functional.normalize(ours.flatten(1)) - functional.normalize(theirs.flatten(1))
    return difference.square().sum(1).mean()


def _log_probabilities(
    student: Tensor, teacher: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the logarithms of the teacher's probabilities and of the student's."""
    wanted = functional.log_softmax(teacher / temperature, 1)
    return wanted, functional.log_softmax(student / temperature, 1)


def _divergence(wanted: Tensor, given: Tensor) -> Tensor:
    """Return KL(wanted ‖ given), mean over the images, of logarithms of probabilities."""
    return functional.kl_div(given, wanted, reduction="batchmean", log_target=True)


def _binary(logs: Tensor, at_hand: Tensor) -> Tensor:
    """Return ``float32[N, 2]``: logarithms of the probability of the class at hand and the rest."""
    rest = logs.masked_fill(at_hand, _HIDDEN).logsumexp(1)
    return torch.stack([logs[at_hand], rest], 1)


def _without(logs: Tensor, at_hand: Tensor) -> Tensor:
    """Return the logarithms of the probabilities of the other classes, if it is one of those."""
    return functional.log_softmax(logs.masked_fill(at_hand, _HIDDEN), 1)


def _scaled(loss: Tensor, temperature: float) -> Tensor:
    return loss * temperature**2
