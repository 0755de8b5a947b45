"""Which of several ways to quantise goes on, and what one that fails does to the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError
from fleetnet.evaluation.labelled_judge import LabelledJudge
from fleetnet.export.quantize.layers import Layer
from fleetnet.export.quantize.quantizer import Quantized, Quantizer, QuantizerKind, Unquantized
from fleetnet.export.quantize.quantizers import QUANTIZERS
from fleetnet.export.quantize.samples import Samples
from fleetnet.export.quantize.session import Session
from fleetnet.inference.comparison import run_in_batches
from fleetnet.inference.engines import Logits, Pixels, Setup, open_engine
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine
from fleetnet.inference.judging import AgreementJudge, Judge

Answers = Mapping[int, Logits]


class Changed(OnnxRuntimeEngine):
    """The network in fp32 with other logits for some of the images, counted as they come."""

    def __init__(self, content: bytes, setup: Setup, answers: Answers) -> None:
        super().__init__(content, setup)
        self._answers, self._seen = answers, 0

    def outputs(self, pixels: Pixels) -> dict[str, Logits]:
        logits = super().outputs(pixels)["logits"].copy()
        for row in range(len(logits)):
            logits[row] = self._answers.get(self._seen + row, logits[row])
        self._seen += len(logits)
        return {"logits": logits}


@dataclass
class MadeUp:
    """Changes the answers that its recipe says, or fails where that is an error."""

    content: bytes
    tool: str
    does: Answers | Exception
    engine = "onnxruntime"

    def quantize(self, kept: Sequence[Layer]) -> Quantized:
        if isinstance(self.does, Exception):
            raise self.does
        answers = self.does
        return Quantized(
            "onnx",
            {"model.int8.onnx": self.content},
            lambda threads: Changed(self.content, Setup("int8", threads), answers),
        )


def session_of(
    bundle: Bundle,
    samples: Samples,
    judge: Judge,
    recipes: Mapping[str, Answers | Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> Session:
    """Return a session that has one quantiser, with recipes of our own."""

    def make(network: Unquantized) -> Quantizer:
        return MadeUp(network.content, network.recipe, recipes[network.recipe])

    kind = QuantizerKind("onnxruntime", make, recipes=tuple(recipes))
    monkeypatch.setattr(QUANTIZERS, "_found", {"onnxruntime": kind})
    return Session(bundle, samples, judge, 7, lambda *_: lambda _: None)


@pytest.fixture(scope="module")
def expected(taught: Bundle, drawn: Samples) -> Logits:
    """The answers in fp32 on the validation images."""
    with open_engine("onnxruntime", taught, 1) as engine:
        return run_in_batches(engine, drawn.validation)


def other(logits: Logits, places: Sequence[int]) -> Answers:
    """Say the next class of some images."""
    return {place: np.roll(logits[place], 1) for place in places}


def tool_of_best(session: Session, recipes: Mapping[str, Any]) -> str:
    makers = [lambda recipe=recipe: session.quantizer("onnxruntime", recipe) for recipe in recipes]
    found = session.best(makers)
    assert found.others == len(recipes) - 1
    return found.quantizer.tool


def test_the_guard_s_own_measure_says_which_goes_on(
    taught: Bundle, drawn: Samples, expected: Logits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More answers may change and less be lost, where fp32 was wrong of them."""
    assert len(expected) == 40
    labels = expected.argmax(1)
    labels[:4] = np.roll(expected, 2, axis=1)[:4].argmax(1)  # neither fp32 nor the other class
    recipes = {
        "three that were right": other(expected, range(10, 13)),
        "two that were right and four that were wrong": other(expected, range(6)),
    }
    first, second = recipes
    by_labels = LabelledJudge(labels)
    assert by_labels.judge(expected, expected).judgement.fp32 == 0.9
    for judge, best in ((by_labels, second), (AgreementJudge(0.99), first)):
        session = session_of(taught, drawn, judge, recipes, monkeypatch)
        assert tool_of_best(session, recipes) == best


def test_of_equals_the_one_with_more_of_the_same_answers_goes_on(
    taught: Bundle, drawn: Samples, expected: Logits, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = expected.argmax(1)
    labels[0] = np.roll(expected[0], 2).argmax()
    recipes = {
        "another wrong one too": other(expected, [0, 10, 11, 12]),
        "three": other(expected, [10, 11, 12]),
    }
    session = session_of(taught, drawn, LabelledJudge(labels), recipes, monkeypatch)
    assert tool_of_best(session, recipes) == "three"


def test_a_recipe_that_fails_does_not_end_the_others(
    taught: Bundle, drawn: Samples, expected: Logits, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, broken = BundleError("the first fails"), BundleError("the last fails")
    recipes: dict[str, Answers | Exception] = {"fails": failing, "whole": {}, "never": broken}
    session = session_of(taught, drawn, AgreementJudge(0.99), recipes, monkeypatch)
    result = session.quantize("onnxruntime")
    assert (result.quantization.tool, result.attempts) == ("whole", 1)

    recipes = {"fails": failing, "changed": other(expected, [3]), "fails too": broken}
    session = session_of(taught, drawn, AgreementJudge(1.0), recipes, monkeypatch)
    makers = [lambda recipe=recipe: session.quantizer("onnxruntime", recipe) for recipe in recipes]
    assert session.best(makers).quantizer.tool == "changed"

    recipes = {"fails": failing, "fails too": broken}
    session = session_of(taught, drawn, AgreementJudge(1.0), recipes, monkeypatch)
    with pytest.raises(BundleError, match="the first fails"):
        session.quantize("onnxruntime")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_what_a_tool_raises_is_an_error_of_one_line(
    taught: Bundle, drawn: Samples, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no such\noperator")

    monkeypatch.setattr("nncf.quantize", fails)
    monkeypatch.setattr(QDQQuantizer, "quantize_model", fails)
    session = Session(taught, drawn, 0.9, 7, lambda *_: lambda _: None)
    with pytest.raises(BundleError, match=r"cannot quantise .*: no such operator$"):
        session.quantizer(engine).quantize(())
