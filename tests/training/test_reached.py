"""What is said of teachers on the held-out images, and of a student that knows more."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from fleetnet.data.sources import open_source
from fleetnet.training.distillation.reached import compare_with_teachers, tell_teachers
from fleetnet.training.trainer import TrainResult

RIGHT, WRONG, NOTHING = 0.0, -9.0, -np.log(3)


def test_images_that_cannot_be_read_do_not_count(shapes: Path) -> None:
    source = open_source(str(shapes))
    held_out = np.array([0, 13, 25, 35])
    answers = np.full((4, 3), NOTHING, np.float32)
    labels = [source.samples[int(index)].label for index in held_out]
    answers[:3] = WRONG
    for row, label in enumerate(labels[:2]):
        answers[row, label] = RIGHT
    answers[2, (labels[2] + 1) % 3] = RIGHT
    said: list[str] = []
    assert tell_teachers(source, held_out, answers, 2, said.append) == pytest.approx(2 / 3)
    assert said == ["the 2 teachers together: top-1 66.67% on 3 held-out images"]
    answers[:] = NOTHING
    assert tell_teachers(source, held_out, answers, 1, said.append) is None
    assert len(said) == 1


@pytest.mark.parametrize(("teachers", "told"), [(0.5, 1), (0.75, 0), (None, 0)])
def test_a_student_that_knows_more_is_told_of(teachers: float | None, told: int) -> None:
    said: list[str] = []
    result = cast("TrainResult", SimpleNamespace(history=[SimpleNamespace(top1=0.75)]))
    compare_with_teachers(result, teachers, said.append)
    assert len(said) == told
    if told:
        assert "top-1 75.00%, the teacher's is 50.00%" in said[0]
