"""What teachers and their student get right on the held-out images."""

from __future__ import annotations

import numpy as np

from fleetnet.amounts import count
from fleetnet.data.sources import Indices, Source
from fleetnet.reporting import Say
from fleetnet.training.distillation.selection import Scores
from fleetnet.training.trainer import TrainResult


def tell_teachers(
    source: Source, held_out: Indices, answers: Scores, teachers: int, say: Say
) -> float | None:
    """Tell the teachers' top-1, and return it; None if no image could be read.

    Args:
        source: of the images, with one label each.
        held_out: indices of those that were asked about.
        answers: to them, as :func:`fleetnet.training.distillation.selection.score` gives them.
        teachers: how many were averaged.
        say: called with a line.
    """
    # An image that could not be read has the same answer for each class.
    read = np.ptp(answers, axis=1) > 0
    if not read.any():
        return None
    labels = np.array([source.samples[int(index)].label for index in held_out])
    top1 = float((answers.argmax(1) == labels)[read].mean())
    who = "the teacher" if teachers == 1 else f"the {teachers} teachers together"
    say(f"{who}: top-1 {top1:.2%} on {count(int(read.sum()), 'held-out image')}")
    return top1


def compare_with_teachers(result: TrainResult, teachers: float | None, say: Say) -> None:
    """Say so if the student got more right than the teachers, whose mistakes it was taught."""
    student = result.history[-1].top1 if result.history else 0.0
    if teachers is not None and student > teachers:
        say(
            f"the student knows more than it was taught: top-1 {student:.2%}, the teacher's is "
            f"{teachers:.2%}; a better teacher, or labels alone, may give more"
        )
