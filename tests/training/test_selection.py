"""The images that are most surely of the class that they seem to be."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fleetnet.training.distillation.selection import best_of_each_class

SCORES = arrays(
    np.float32, st.tuples(st.integers(0, 30), st.just(3)), elements=st.floats(-4, 0, width=16)
)


@given(SCORES, st.integers(1, 8))
def test_the_surest_of_each_class_are_chosen(scores: np.ndarray, most: int) -> None:
    chosen = best_of_each_class(scores, most)
    seems = scores.argmax(1) if len(scores) else np.empty(0, int)
    wanted = []
    for label in range(3):
        members = [row for row in range(len(scores)) if seems[row] == label]
        wanted += sorted(members, key=lambda row: -scores[row].max())[:most]
    assert chosen.tolist() == sorted(wanted)
    assert best_of_each_class(scores, None).tolist() == list(range(len(scores)))
