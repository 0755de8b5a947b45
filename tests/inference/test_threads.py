"""One engine, one classifier, many threads: each gets its own answers, until it is closed."""

import asyncio
import contextlib
import functools
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

from at_once import at_once
from compiling import takes_a_compiler
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.engines import ENGINES, Engine, Logits, Mode, Pixels, open_engine
from fleetnet.inference.engines import openvino as openvino_engine
from fleetnet.inference.engines.torch import TorchEngine
from fleetnet.inference.prediction import Prediction
from fleetnet.inference.verify import prepare
from fleetnet.preprocess import Preprocess

NATIVE = [name for name in ENGINES if name != "torch-compiled"]
MODES = get_args(Mode)
THREADS = 8
CALLS = 1000
# The last comes seldom: it is one size more than OpenVINO keeps compiled.
SIZES = [1, 2, 3, 4, 6]
WEIGHTS = [30, 30, 20, 20, 1]
TOLERANCE = 1e-4

each_engine_and_mode = pytest.mark.parametrize(
    ("name", "mode"),
    [
        # PyTorch's own threads make it the slowest here.
        pytest.param(name, mode, marks=[pytest.mark.slow] if name == "torch" else [])
        for name, mode in itertools.product(NATIVE, MODES)
    ],
)


@pytest.fixture(scope="module")
def images(bundle: Bundle, shapes: Path) -> Pixels:
    return prepare(sorted(shapes.glob("*/*")), bundle.manifest.preprocess)


def chosen(count: int, k: int, seed: int, weights: list[int] | None = None) -> list[int]:
    """Return ``k`` of the numbers below ``count``."""
    p = None if weights is None else np.array(weights) / sum(weights)
    return [int(n) for n in np.random.default_rng(seed).choice(count, k, p=p)]


def threads_of(name: str) -> int:
    """Return enough for two batches at once; PyTorch's threads wait busily for each other."""
    return 1 if name == "torch" else 2


class Answers:
    """What an engine answers to batches when nobody else is there."""

    def __init__(self, engine: Engine, images: Pixels, sizes: list[int]) -> None:
        self.batches = [images[start : start + size] for size in sizes for start in (0, 9, 18)]
        self.expected = [engine.run(batch) for batch in self.batches]
        for one, other in itertools.combinations(self.expected, 2):
            # Else an answer to another batch might pass for the right one.
            assert len(one) != len(other) or np.abs(one - other).max() > 10 * TOLERANCE

    def check(self, number: int, answer: Logits) -> None:
        expected = self.expected[number]
        assert answer.shape == expected.shape
        assert np.abs(answer - expected).max() <= TOLERANCE


def call(engine: Engine, answers: Answers, weights: list[int], seed: int) -> None:
    """Do one thread's share of the calls."""
    weights = [weight for weight in weights for _ in range(3)]
    for number in chosen(len(weights), CALLS // THREADS, seed, weights):
        answers.check(number, engine.run(answers.batches[number]))


@contextlib.contextmanager
def opening_and_closing(bundle: Bundle, images: Pixels) -> Iterator[None]:
    """Have a thread open, use and close engines all the while."""
    done = threading.Event()
    failures: list[Exception] = []

    def churn() -> None:
        for name in itertools.cycle(NATIVE):
            if done.is_set():
                return
            try:
                with open_engine(name, bundle, 1) as engine:
                    engine.run(images[:2])
            except Exception as error:
                failures.append(error)
                return

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert not failures


@pytest.mark.slow
@each_engine_and_mode
def test_each_thread_gets_its_own_answers(
    name: str, mode: Mode, bundle: Bundle, images: Pixels
) -> None:
    with open_engine(name, bundle, threads_of(name), mode=mode) as engine:
        answers = Answers(engine, images, SIZES)
        with opening_and_closing(bundle, images):
            at_once([functools.partial(call, engine, answers, WEIGHTS, n) for n in range(THREADS)])


@takes_a_compiler
def test_compiled_pytorch_is_compiled_under_threads(bundle: Bundle, images: Pixels) -> None:
    """The second size is compiled by whichever thread asks first; the modes are the same."""
    with open_engine("torch-compiled", bundle, 1) as engine:
        batches = [images[:1], images[9:10], images[:2], images[9:11]]
        with open_engine("torch", bundle, 1) as eager:
            expected = [eager.run(batch) for batch in batches]

        def work(seed: int) -> None:
            for number in chosen(len(batches), CALLS // THREADS, seed):
                answer = engine.run(batches[number])
                assert np.allclose(answer, expected[number], atol=1e-3)

        with opening_and_closing(bundle, images):
            at_once([functools.partial(work, seed) for seed in range(THREADS)])


@each_engine_and_mode
def test_iterations_share_an_engine(name: str, mode: Mode, bundle: Bundle, images: Pixels) -> None:
    """Some go to their end, some are abandoned, some get an error from their caller."""
    with open_engine(name, bundle, threads_of(name), mode=mode) as engine:
        answers = Answers(engine, images, SIZES[:3])
        count = len(answers.batches)

        def batches(order: list[int], error: int) -> Iterator[Pixels]:
            for place, number in enumerate(order):
                if place == error:
                    raise ZeroDivisionError
                yield answers.batches[number]

        def work(seed: int) -> None:
            for turn in range(8):
                order = chosen(count, 8, 8 * seed + turn)
                end, error = [0, 1, 4, 9][(seed + turn) % 4], [2, 5, 9][turn % 3]
                iteration = engine.run_all(batches(order, error))
                for number in order[: min(end, error)]:
                    answers.check(number, next(iteration))
                if end > error:
                    with pytest.raises(ZeroDivisionError):
                        next(iteration)
                elif end > len(order):
                    assert next(iteration, None) is None

        at_once([functools.partial(work, seed) for seed in range(THREADS)])
        for number, batch in enumerate(answers.batches):
            answers.check(number, engine.run(batch))


@each_engine_and_mode
def test_an_engine_may_be_asked_while_it_is_iterated(
    name: str, mode: Mode, bundle: Bundle, images: Pixels
) -> None:
    with open_engine(name, bundle, threads_of(name), mode=mode) as engine:
        answers = Answers(engine, images, SIZES[:2])
        iterations = [engine.run_all(answers.batches) for _ in range(5)]
        for number in range(len(answers.batches)):
            for iteration in iterations:
                answers.check(number, next(iteration))
                answers.check(0, engine.run(answers.batches[0]))


@each_engine_and_mode
def test_a_closed_engine_says_so(name: str, mode: Mode, bundle: Bundle, images: Pixels) -> None:
    engine = open_engine(name, bundle, threads_of(name), mode=mode)
    begun, not_begun = (engine.run_all(images[:6, None]) for _ in range(2))
    first = next(begun)
    with engine as same:
        assert same is engine
    engine.close()
    closed = rf"^this engine '{name}' is closed: open another$"
    with pytest.raises(FleetnetError, match=closed):
        engine.run(images[:1])
    with pytest.raises(FleetnetError, match=closed):
        next(not_begun)
    # What has begun, is finished.
    found = np.concatenate([first, *begun])
    with open_engine(name, bundle, threads_of(name), mode=mode) as other:
        assert np.allclose(found, np.concatenate([*other.run_all(images[:6, None])]), atol=1e-4)


@each_engine_and_mode
def test_closing_an_engine_harms_no_running_call(
    name: str, mode: Mode, bundle: Bundle, images: Pixels
) -> None:
    engine = open_engine(name, bundle, threads_of(name), mode=mode)
    answers = Answers(engine, images, SIZES[:2])

    def until_closed(seed: int) -> str:
        for number in itertools.cycle(range(len(answers.batches))):
            try:
                answer = engine.run(answers.batches[number])
            except FleetnetError as error:
                return str(error)
            answers.check(number, answer)
        raise AssertionError

    def close() -> str:
        time.sleep(0.05)
        engine.close()
        return ""

    calls: list[Callable[[], str]] = [functools.partial(until_closed, n) for n in range(4)]
    messages = at_once([*calls, close, close])
    assert set(messages) == {f"this engine '{name}' is closed: open another", ""}


def listed(images: Pixels, seed: int) -> list[Pixels]:
    """Return some images as a caller gives them, each of them known by its place."""
    return [images[n] for n in chosen(len(images), 7 + seed, seed)]


def check(found: list[Prediction], expected: list[Prediction]) -> None:
    assert [one.source for one in found] == [one.source for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.logits is not None
        assert other.logits is not None
        assert np.abs(one.logits - other.logits).max() <= TOLERANCE
        assert [score.label for score in one.top] == [score.label for score in other.top]


@each_engine_and_mode
def test_a_classifier_is_shared(name: str, mode: Mode, bundle: Bundle, images: Pixels) -> None:
    with Classifier(
        bundle, engine=name, mode=mode, threads=threads_of(name), batch_size=2
    ) as classifier:
        lists = [listed(images, seed) for seed in range(THREADS)]
        expected = [list(classifier.predict(one)) for one in lists]

        def work(number: int) -> None:
            for _ in range(3):
                check(list(classifier.predict(lists[number])), expected[number])
                next(classifier.predict(lists[number]))  # and no more of it

        at_once([functools.partial(work, number) for number in range(THREADS)])


@pytest.mark.parametrize("mode", MODES)
def test_tasks_share_a_classifier(mode: Mode, bundle: Bundle, shapes: Path) -> None:
    paths = sorted(shapes.glob("*/*"))
    with Classifier(bundle, mode=mode, threads=2) as classifier:
        expected = list(classifier.predict(paths))

        async def predict(path: Path) -> list[Prediction]:
            return await asyncio.to_thread(lambda: list(classifier.predict(path)))

        async def predict_all() -> list[list[Prediction]]:
            return await asyncio.gather(*map(predict, paths))

        found = asyncio.run(predict_all())
    check([one for (one,) in found], expected)


def test_a_closed_classifier_says_so_and_closes_what_it_opened(
    bundle: Bundle, images: Pixels
) -> None:
    with Classifier(bundle, threads=1) as classifier:
        begun = classifier.predict(list(images[:3]))
        assert next(begun).ok
    classifier.close()
    assert [one.ok for one in begun] == [True, True]
    with pytest.raises(FleetnetError, match=r"^this classifier is closed: open another$"):
        next(classifier.predict(images[0]))
    with pytest.raises(FleetnetError, match=r"^this engine 'openvino' is closed: open another$"):
        classifier.engine.run(images[:1])


def test_an_engine_outlives_the_classifier_that_it_was_given_to(
    bundle: Bundle, images: Pixels
) -> None:
    with open_engine("onnxruntime", bundle, 1) as engine:
        with Classifier.from_engine(engine, bundle.manifest.preprocess, ("a", "b", "c")) as made:
            (answer,) = made.predict(images[0])
        with pytest.raises(FleetnetError, match="this classifier is closed"):
            next(made.predict(images[0]))
        assert answer.ok
        assert engine.run(images[:1]).shape == (1, 3)


def test_a_batch_size_is_compiled_once(
    bundle: Bundle, images: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[int] = []
    one = openvino_engine.core()

    def compile_slowly(model: Any, *arguments: Any) -> Any:
        compiled.append(model.input(0).shape[0])
        time.sleep(0.1)
        return one.compile_model(model, *arguments)

    with open_engine("openvino", bundle, 1) as engine:
        slow = SimpleNamespace(compile_model=compile_slowly)
        monkeypatch.setattr(openvino_engine, "core", lambda: slow)
        at_once([functools.partial(engine.run, images[: 1 + n % 2]) for n in range(THREADS)])
    assert sorted(compiled) == [1, 2]


def test_openvino_has_one_core_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def make_slowly() -> object:
        time.sleep(0.05)
        made.append(object())
        return made[-1]

    # No second one is made here, for the reason that core() gives.
    ov = SimpleNamespace(Core=make_slowly, Type=vars(openvino_engine)["ov"].Type)
    monkeypatch.setattr(openvino_engine, "ov", ov)
    fresh = functools.cache(openvino_engine._core.__wrapped__)
    monkeypatch.setattr(openvino_engine, "_core", fresh)
    assert len({id(core) for core in at_once([openvino_engine.core] * THREADS)}) == 1
    assert len(made) == 1


class Looking(nn.Module):
    """Takes its time, and notes whether it was in training meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Dropout().eval()
        self.scale = nn.Parameter(torch.ones(1))
        self.seen: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            time.sleep(0.005)
            self.seen.append(self.training)
        return x.mean((2, 3)) * self.scale


def test_a_network_in_training_mode_answers_in_evaluation_mode() -> None:
    network = Looking()
    engine = TorchEngine(network, Preprocess(8, 8))
    pixels = np.zeros((1, 8, 8, 3), np.uint8)

    def late(seconds: float) -> None:
        time.sleep(seconds)
        engine.run(pixels)

    at_once([functools.partial(late, 0.004 * number) for number in range(4)])
    assert network.seen == [False] * 12
    assert network.training
    assert not network.frozen.training, "what is frozen stays so"


@pytest.mark.slow
def test_openvino_learns_about_numpy_in_one_thread() -> None:
    """Without core(), this never ends."""
    code = f"""
import sys, threading
from fleetnet.inference.engines import openvino
sys.setswitchinterval(1e-6)
barrier = threading.Barrier({THREADS})
def work():
    barrier.wait()
    openvino.core()
    openvino.ov.Type.u8.to_dtype()
threads = [threading.Thread(target=work) for _ in range({THREADS})]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.slow
def test_engines_are_opened_first_by_many_threads(bundle: Bundle) -> None:
    """The libraries themselves are loaded by whichever thread needs them first."""
    code = f"""
import sys, threading, subprocess
import numpy as np
from fleetnet import Bundle
from fleetnet.inference.engines import open_engine
bundle = Bundle.load({str(bundle.path)!r})
barrier, failures = threading.Barrier(9), []
def work(name):
    barrier.wait()
    try:
        with open_engine(name, bundle, 1) as engine:
            engine.run(np.zeros((1, 64, 64, 3), np.uint8))
    except BaseException as error:
        failures.append(error)
threads = [threading.Thread(target=work, args=(name,)) for name in {NATIVE!r} * 3]
for thread in threads: thread.start()
for thread in threads: thread.join()
subprocess.run(["true"], check=True)
print(failures, "openvino_telemetry" in sys.modules)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert (ended.returncode, ended.stdout) == (0, "[] False\n"), ended.stderr
