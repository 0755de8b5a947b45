"""Which answers every host has to reject: the set's cases, and what is right for them.

Expected scores are computed with fifty decimal digits, apart from the code that every host of
Python runs, which they have to test.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from fleetnet.bundle import Certainty
from fleetnet.conformance.description import RejectionCase, RejectionCases, Value

TOLERANCE = 2.5e-7
"""Two steps of single precision at most: in double precision systems' exponentials differ in the
last bit, which moves a score by one step at most."""
DIGITS = 50
_TEMPERATURE = 4.0
_NAN: Value = "NaN"
_INF: Value = "Infinity"
_LEAST: Value = "-Infinity"
_ODD: tuple[tuple[Value, ...], ...] = (
    (_NAN, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, _NAN),
    (_INF, 0.0, 0.0, _NAN),
    (_INF, 0.0, 0.0, 0.0),
    (0.0, _INF, _INF, _LEAST),
    (_LEAST, _LEAST, _LEAST, _LEAST),
    (_LEAST, 0.0, 0.0, 0.0),
    (1e30, 1e30, 1e30, 1e30),
    (-1e30, -1e30, -1e30, -1e30),
    (0.0, 0.0, 0.0, 0.0),
)
_LOGIT_SCORES: tuple[Certainty, ...] = ("energy", "max-logit")
_JUDGED: tuple[tuple[Certainty, float], ...] = (
    ("energy", 1.0),
    ("max-logit", 1.0),
    ("probability", 1.0),
    ("probability", _TEMPERATURE),
)
_FAR = (-10000.0, -10000.0, -10000.0)
"""Logits whose exponentials vanish beside that of another."""
_STEP = 2.0**-22
"""Between 2.5 and its neighbours in single precision."""


def cases(answers: Sequence[Sequence[float]]) -> RejectionCases:
    """Return the set's cases.

    Args:
        answers: the logits of its pictures, in their order.
    """
    return RejectionCases(tolerance=TOLERANCE, cases=(*_of_pictures(answers), *_of_odd_answers()))


def _of_pictures(answers: Sequence[Sequence[float]]) -> list[RejectionCase]:
    """Return a case for each score, the threshold in the widest gap of its middle third."""
    found = []
    for score, temperature in _JUDGED:
        ranked = np.sort([exact_score(row, score, temperature) for row in answers])
        third = len(ranked) // 3
        gap = third + int(np.diff(ranked[third:-third]).argmax())
        threshold = round(float(ranked[gap : gap + 2].mean()), 4)
        name = score if temperature == 1 else f"{score}-temperature"
        note = "of the pictures"
        found.append(_case(name, note, score, threshold, answers, temperature, own=False))
    return found


def _of_odd_answers() -> list[RejectionCase]:
    """Return cases of what hosts get wrong: special values, and where exactly the border is."""
    numbers = "logits that are infinite, or not numbers"
    equal = "a score that is equal to the threshold is accepted"
    quarter = 0.25 + 2.0**-40
    border = (math.log(4) + float(np.float32(math.log(4)))) / 2
    even = ((0.0, 0.0, 0.0, 0.0),)
    return [
        _case("energy-odd", numbers, "energy", 0.5, _ODD),
        _case("max-logit-odd", numbers, "max-logit", -0.5, _ODD),
        _case("probability-odd", numbers, "probability", 0.3, _ODD),
        _case("energy-equal", equal, "energy", 5.0, [(5.0, *_FAR), (4.0, *_FAR)]),
        _case(
            "max-logit-equal",
            equal,
            "max-logit",
            2.5,
            [(1.0, step, 0.0, -1.0) for step in (2.5, 2.5 - _STEP, 2.5 + _STEP)],
        ),
        _case("probability-equal", equal, "probability", 0.25, even),
        _case(
            "threshold-is-double",
            "in single precision the threshold would be the score",
            "probability",
            quarter,
            even,
        ),
        _case(
            "score-is-single",
            "in double precision the score would be below the threshold",
            "energy",
            border,
            even,
        ),
        *(
            _case(
                f"{score}-temperature",
                "a temperature counts for probability alone",
                score,
                2.6,
                [(2.5, 0.0, -1.0, 0.0), (3.0, 0.0, -1.0, 0.0)],
                _TEMPERATURE,
            )
            for score in _LOGIT_SCORES
        ),
    ]


def exact_score(logits: Sequence[Value], score: Certainty, temperature: float) -> float:
    """Return the score of logits, rounded to single precision.

    Logits count as single precision has them, as every engine gives them.
    """
    row = [float(np.float32(float(value))) for value in logits]
    largest = max(row)
    if any(map(math.isnan, row)) or (score == "probability" and math.isinf(largest)):
        return math.nan
    if score == "max-logit" or math.isinf(largest):
        return largest
    with decimal.localcontext(prec=DIGITS):
        by = Decimal(temperature) if score == "probability" else Decimal(1)
        total = sum(((Decimal(value) - Decimal(largest)) / by).exp() for value in row)
        exact = 1 / total if score == "probability" else Decimal(largest) + Decimal(total).ln()
    return float(np.float32(float(exact)))


def _case(
    name: str,
    note: str,
    score: Certainty,
    threshold: float,
    logits: Sequence[Sequence[Value]],
    temperature: float = 1.0,
    *,
    own: bool = True,
) -> RejectionCase:
    scores = [exact_score(row, score, temperature) for row in logits]
    return RejectionCase(
        name=name,
        note=note,
        score=score,
        temperature=temperature,
        threshold=threshold,
        logits=tuple(tuple(row) for row in logits) if own else (),
        scores=tuple(map(_written, scores)),
        rejected=tuple(not found >= threshold for found in scores),
    )


def _written(score: float) -> Value:
    """Return a score as the set has it, with the fewest digits that single precision needs."""
    if math.isnan(score):
        return "NaN"
    if math.isinf(score):
        return "Infinity" if score > 0 else "-Infinity"
    return float(str(np.float32(score)))
