"""int8 for other runtimes: the guard, with a tool of our own and with those of the targets."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import conftest
from fleetnet.bundle import Bundle
from fleetnet.errors import DataError, VerificationError
from fleetnet.export import int8
from fleetnet.export.converted import export_to
from fleetnet.export.program import PROGRAM, exported_program, program_of
from fleetnet.export.quantize import samples, session
from fleetnet.export.quantize.layers import Layer, layers_of, read_graph
from fleetnet.export.quantize.samples import Samples
from fleetnet.export.separate import Worker, convert
from fleetnet.export.shown import Allowed, Given
from fleetnet.export.targets import TARGETS, Files, Run, executorch
from fleetnet.export.targets.target import Imitated, Int8, Quantize, as_npy
from fleetnet.inference.engines import Pixels, open_engine
from fleetnet.weights.subject import find_subject
from users_environments import borrowed

pytestmark = pytest.mark.slow

Give = Callable[[Bundle, Sequence[str]], bytes]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare on as many images as the tests have."""
    monkeypatch.setattr(int8, "LEAST", 40)
    monkeypatch.setattr(session, "IMAGES", 2)  # rank by so many


def odd(monkeypatch: pytest.MonkeyPatch, give: Give) -> list[tuple[Any, ...]]:
    """Make a target known that is our ONNX, with a tool for int8 of our own; return its calls."""
    called: list[tuple[Any, ...]] = []

    def calibrate(
        bundle: Bundle, batch: int | None, pixels: Pixels, layers: Sequence[Layer]
    ) -> Quantize:
        called.append((batch, len(pixels), [layer.name for layer in layers]))

        def quantize(kept: Sequence[str]) -> Files:
            called.append(tuple(kept))
            return {"model.onnx": give(bundle, kept)}

        return quantize

    monkeypatch.setattr(TARGETS, "_found", dict(TARGETS))
    TARGETS.add(
        replace(
            TARGETS["onnx"],
            name="odd",
            title="Odd",
            precisions=("fp32", "int8"),
            int8=Int8("numpy", calibrate),
        )
    )
    return called


def graph(bundle: Bundle) -> bytes:
    return bundle.content(format="onnx").data


def other(bundle: Bundle) -> bytes:
    """Return the graph with another order of the classes."""
    model = read_graph(graph(bundle), "the graph")
    layer = layers_of(model, "the graph")[-1]
    (node,) = (node for node in model.graph.node if node.name == layer.nodes[0])
    for tensor in model.graph.initializer:
        if tensor.name in node.input[1:]:
            tensor.raw_data = (-np.frombuffer(tensor.raw_data, np.float32)).tobytes()
    return bytes(model.SerializeToString())


@pytest.mark.usefixtures("few")
def test_a_target_gets_images_and_the_layers_to_keep(
    taught: Bundle, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = odd(monkeypatch, lambda bundle, kept: (graph if len(kept) > 1 else other)(bundle))
    written = export_to(
        str(taught.path), "odd:int8", tmp_path / "made", images=[str(others)], limit=40
    )
    (artifact,) = written.artifacts
    (record,) = artifact.verification
    made = artifact.quantization
    assert made is not None
    (batch, images, layers), *attempts = called
    assert (artifact.precision, batch) == ("int8", None)
    assert len(attempts[0]) == 0
    assert sorted(map(len, attempts))[:3] == [0, 1, 2]
    assert len(attempts) <= int8.ATTEMPTS
    assert (made.kept_layers,) == tuple(kept for kept in attempts if len(kept) == 2)
    assert set(made.kept_layers) < set(layers)
    assert (made.layers, made.calibration_images) == (len(layers), images)
    assert made.tool == f"numpy {np.__version__}"
    assert made.weight_bits == 8
    assert (record.images, record.agreement, record.source) == (40, 1.0, others.name)
    assert record.judgement is not None
    assert (record.judgement.judged_by, record.judgement.allowed) == ("confidence", 0.005)


@pytest.mark.usefixtures("few")
def test_labels_judge_where_they_are_at_hand(
    fleetnet: conftest.Run, taught: Bundle, others: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The images are many enough to show by their labels that no more than 90 points are lost."""
    odd(monkeypatch, lambda bundle, _: graph(bundle))
    made = tmp_path / "made"
    result = fleetnet(
        "export", taught.path, "--to", "odd:int8", "-o", made, "--limit", 40, "--data", others,
        "--metric", "recall:circle", "--max-loss", 90,
    )  # fmt: skip
    assert result.code == 0, result
    (artifact,) = Bundle.load(made).artifacts
    (record,) = artifact.verification
    judgement = record.judgement
    assert judgement is not None
    assert (judgement.judged_by, judgement.images, judgement.allowed) == ("labels", 40, 0.9)
    assert (judgement.metric, judgement.of_class) == ("recall", "circle")
    assert judgement.fp32 is not None
    assert judgement.fp32 == judgement.found
    assert "loses 0.00 points of recall of 'circle'" in result.out
    assert "by the labels of 40 images" in (made / "README.md").read_text("utf-8")


@pytest.mark.usefixtures("few")
def test_agreement_judges_where_it_is_asked_for(
    taught: Bundle, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd(monkeypatch, lambda bundle, _: graph(bundle))
    written = export_to(
        str(taught.path), "odd:int8", tmp_path / "made", images=[str(others)], limit=40,
        allowed=Allowed(agreement=0.97),
    )  # fmt: skip
    (artifact,) = written.artifacts
    (record,) = artifact.verification
    assert record.judgement is not None
    assert record.judgement.judged_by == "agreement"
    assert artifact.quantization is not None
    assert artifact.quantization.agreement == 0.97


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["odd:int8", "--agreement", 1, "--max-loss", 1], "leave it out, or --max-loss"),
        (["odd", "--metric", "recall:circle"], "fp32 has to give the same answers: leave out --me"),
        (["odd:int8", "--metric", "recall:cicle"], "'cicle'"),
        (["openvino:fp16", "--metric", "recall:circle"], "made-up pictures say nothing about rec"),
        (["openvino:fp16", "--data", "D", "--images", "D"], "nothing is calibrated here"),
        (["openvino:fp16", "--images", "D", "--metric", "roc_auc:circle"], "takes labelled images"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    arguments: list[Any], words: str, fleetnet: conftest.Run, bundle: Bundle, others: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    odd(monkeypatch, lambda bundle, _: graph(bundle))
    given = [others if word == "D" else word for word in arguments]
    made = tmp_path / "made"
    fleetnet("export", bundle.path, "-o", made, "--to", *given).assert_one_line(words)
    assert not made.exists()


@pytest.mark.usefixtures("few")
def test_a_refusal_names_the_layer(
    taught: Bundle, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = odd(monkeypatch, lambda bundle, _: other(bundle))
    with pytest.raises(VerificationError) as refused:
        export_to(str(taught.path), "odd:int8", tmp_path / "made", images=[str(others)], limit=40)
    assert len(called) == 3, "calibrated once, then none kept, then as many as may be"
    assert str(refused.value).startswith("Odd in int8 is expected to lose ")
    assert "; the first layer that is off is 'classifier', by " in str(refused.value)
    assert "more images, or a larger max_loss=" in str(refused.value)
    assert "agreement=" not in str(refused.value)
    assert refused.value.to_json()["fields"]["layer"] == "classifier"
    assert not (tmp_path / "made").exists()


def test_images_have_to_be_real_and_enough(
    fleetnet: conftest.Run, bundle: Bundle, others: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    odd(monkeypatch, lambda bundle, _: graph(bundle))
    made = tmp_path / "made"
    command = ["export", bundle.path, "--to", "odd:int8", "-o", made]
    for given, words in (
        ([], "int8 takes real images to calibrate with, like those that it will see: give some, "),
        (["--images", others, "--limit", 99], "compared on at least 100 images: leave out --limit"),
        (["--images", others / "circle"], "validation at least 100 others"),
    ):
        result = fleetnet(*command, *given)
        assert result.code == 2, result
        assert words in result.err.splitlines()[-1], result
    assert not made.exists()


@pytest.mark.usefixtures("few")
def test_a_checkpoint_brings_the_images_that_were_held_out(
    checkpoint: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = find_subject(str(checkpoint))

    def images() -> tuple[samples.Samples, str]:
        return int8.real_images(
            subject, bundle, Given(limit=40), lambda _what, _steps: lambda _done: None
        )

    with pytest.raises(DataError, match="different images are too few to quantise with"):
        images()
    monkeypatch.setattr(samples, "LEAST_VALIDATION", 4)
    monkeypatch.setattr(samples, "LEAST_CALIBRATION", 2)
    monkeypatch.setattr(int8, "LEAST", 4)
    found, origin = images()
    assert origin == "the 9 held-out images of folder shapes"
    assert len(found.calibration) == 27
    assert len(found.validation) == 9
    assert found.labels is not None
    assert sorted(found.labels) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def use_environment(name: str) -> None:
    """Let the tests' cache have an environment of the user's; without one, the test is skipped."""
    environment = TARGETS[name].environment
    assert environment is not None
    if not borrowed(environment):
        pytest.skip(f"no environment '{name}': fleetnet export --to {name} makes it once")


@pytest.mark.usefixtures("few")
def test_an_imitation_is_searched_with_and_files_are_judged(
    taught: Bundle, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The imitation needs two layers kept and the files three: they are made of two, then four."""
    called = odd(monkeypatch, lambda bundle, kept: (graph if len(kept) > 2 else other)(bundle))
    target = TARGETS["odd"]
    assert target.int8 is not None
    calibrate = target.int8.calibrate
    imitated: list[int] = []

    def imitating(*given: Any) -> Quantize:
        def imitate(kept: Sequence[str]) -> Run:
            imitated.append(len(kept))
            (content,) = ((graph if len(kept) > 1 else other)(taught),)
            assert target.load is not None
            return target.load({"model.onnx": content})

        return Imitated(calibrate(*given), imitate)

    monkeypatch.setattr(TARGETS, "_found", dict(TARGETS))
    TARGETS.add(replace(target, name="imitated", int8=Int8("numpy", imitating)))
    written = export_to(
        str(taught.path), "imitated:int8", tmp_path / "made", images=[str(others)], limit=40
    )
    _, *attempts = called
    assert imitated[0] == 0
    assert min(number for number in imitated if number > 1) == 2
    assert len(imitated) <= int8.ATTEMPTS
    assert [len(kept) for kept in attempts] == [2, 4]
    (artifact,) = written.artifacts
    assert artifact.quantization is not None
    assert artifact.quantization.kept_layers == attempts[-1]


def test_executorch_is_imitated(taught: Bundle, drawn: Samples) -> None:
    """Layers are found in the program by their names, and those kept are not rounded."""
    use_environment("executorch")
    tool = TARGETS["executorch"].int8
    assert tool is not None
    layers = layers_of(read_graph(graph(taught), "the graph"), "the graph")
    made = tool.calibrate(taught, 1, drawn.calibration[:3], layers)
    assert isinstance(made, Imitated)
    pixels = drawn.validation[:2]
    with open_engine("onnxruntime", taught) as engine:
        expected = engine.run(pixels)
    names = [layer.name for layer in layers]
    off = {}
    for kept in (names, names[1:], []):
        run = made.imitate(kept)
        assert isinstance(run, Worker)
        with contextlib.closing(run):
            found = np.concatenate([run(image[None]) for image in pixels])
        off[len(kept)] = float(np.square(found - expected).mean())
    spread = float(np.square(expected - expected.mean()).mean())
    assert off[len(names)] < 1e-6 * spread
    assert 1e-6 * spread < off[len(names) - 1] < spread
    assert 1e-6 * spread < off[0]


def test_executorch_spends_its_steps_on_what_leaves_a_clamp(taught: Bundle, drawn: Samples) -> None:
    """Those for what goes in are the same, and a range many times as wide would waste them."""
    use_environment("executorch")
    given = {PROGRAM: exported_program(taught), "images.npy": as_npy(drawn.calibration[:2])}
    measured = convert(
        executorch.ENVIRONMENT, "executorch_calibrate", given, ("ranges.json",), {"batch": 1}
    )
    ranges = json.loads(measured["ranges.json"])
    nodes = program_of(taught).module().graph.nodes
    clamps = [node for node in nodes if node.target is torch.ops.aten.hardtanh.default]
    assert clamps
    for node in clamps:
        assert ranges[node.args[0].name] == ranges[node.name]
        assert 0 <= ranges[node.name][0] <= ranges[node.name][1] <= 6


@pytest.mark.skipif(os.environ.get("FLEETNET_DEVICES") != "all", reason="FLEETNET_DEVICES=all")
@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("name", "batch"), [("litert", 1), ("litert", 3), ("executorch", 1), ("mnn", 1), ("ncnn", 1)]
)
def test_targets_in_int8(
    name: str,
    batch: int,
    taught: Bundle,
    others: Path,
    tmp_path: Path,
) -> None:
    use_environment(name)
    written = export_to(
        str(taught.path), f"{name}:int8", tmp_path / "made", images=[str(others)], limit=40,
        batch=batch, allowed=Allowed(agreement=0.8),  # less than so small a network reaches
    )  # fmt: skip
    (artifact,) = written.artifacts
    (record,) = artifact.verification
    assert artifact.key == (TARGETS[name].format, "int8", batch)
    assert artifact.quantization is not None
    assert record.agreement is not None
    assert record.agreement >= 0.8
    assert record.max_abs_diff > 0
    assert artifact.bytes < 0.6 * taught.content(format="onnx").path.stat().st_size
