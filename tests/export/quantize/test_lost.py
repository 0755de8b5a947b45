"""int8 by what it loses: what passes although answers change, and what is refused."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import Run
from export.quantize.damage import bundle_with, with_outlier
from fleetnet.bundle import MANIFEST, Bundle, Calibration
from fleetnet.data.sources import open_source
from fleetnet.errors import DataError, FleetnetError, VerificationError
from fleetnet.evaluation.labelled_images import held_out_images, judge_again, labelled_judge
from fleetnet.evaluation.labelled_judge import LabelledJudge
from fleetnet.export.quantize.bundle import quantize_bundle
from fleetnet.export.quantize.layers import Layer
from fleetnet.export.quantize.quantizer import Quantized, QuantizerKind, Unquantized
from fleetnet.export.quantize.quantizers import QUANTIZERS
from fleetnet.export.quantize.samples import Samples, draw_labelled_samples
from fleetnet.inference.engines import Engine, Logits, Pixels, Setup, open_engine
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine
from fleetnet.inference.judging import judge_without_labels, sentence
from fleetnet.inference.verification import verify_here
from made_up_int8 import cell_of
from samples import make_folder

pytestmark = pytest.mark.slow

TURNED = 4
"""How many of forty answers the made-up int8 changes."""


@pytest.fixture(scope="module")
def labelled(taught: Bundle, others: Path) -> Samples:
    samples, part = draw_labelled_samples(open_source(str(others)), taught)
    assert part == "all 60 images of folder shapes"
    return samples


def judge_of(samples: Samples, bundle: Bundle, max_loss: float = 0.005) -> LabelledJudge:
    assert samples.labels is not None
    return labelled_judge(samples.labels, bundle.manifest, max_loss=max_loss)


class Turning(OnnxRuntimeEngine):
    """The network in fp32, except that the first images get another answer."""

    turned = False

    def outputs(self, pixels: Pixels) -> dict[str, Logits]:
        found = super().outputs(pixels)
        if not self.turned:
            self.turned = True
            logits = found["logits"].copy()
            logits[:TURNED] = np.roll(logits[:TURNED], 1, axis=1)
            return {"logits": logits}
        return found


class TurningQuantizer:
    engine, tool = "onnxruntime", "made up"

    def __init__(self, network: Unquantized) -> None:
        self._content = network.content

    def quantize(self, kept: Sequence[Layer]) -> Quantized:
        def opened(threads: int) -> Engine:
            return Turning(self._content, Setup("int8", threads))

        return Quantized("onnx", {"model.int8.onnx": self._content}, opened)


@pytest.fixture
def turning(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"onnxruntime": QuantizerKind("onnxruntime", TurningQuantizer)}
    monkeypatch.setattr(QUANTIZERS, "_found", kinds)
    monkeypatch.setattr("fleetnet.export.quantize.session.rank", lambda layers, *_: layers)


@pytest.fixture(scope="module")
def unsure(taught: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network that is right but, by its temperature, hardly prefers what it says."""
    path = tmp_path_factory.mktemp("unsure") / "b.bundle"
    shutil.copytree(taught.path, path)
    warm = Calibration(temperature=5000, images=9, ece_before=0.1, ece_after=0.1, source="s")
    manifest = taught.manifest.model_copy(update={"calibration": warm})
    (path / MANIFEST).write_text(manifest.to_json(), "utf-8")
    return Bundle.load(path)


@pytest.mark.usefixtures("turning")
def test_answers_that_fp32_hardly_preferred_may_change(
    unsure: Bundle, taught: Bundle, drawn: Samples, tmp_path: Path
) -> None:
    with pytest.raises(VerificationError, match=r"the same answer on 90\.00%"):
        quantize_bundle(unsure, drawn, "s", output=tmp_path / "b.bundle", agreement=0.99)
    written, (result,) = quantize_bundle(unsure, drawn, "s", output=tmp_path / "b.bundle")
    artifact = written.find(format="onnx", precision="int8")
    assert artifact is not None
    assert artifact.quantization is not None
    assert artifact.quantization.agreement == result.comparison.agreement == 0.9
    judgement = Bundle.load(written.path).manifest.artifacts[-1].verification[0].judgement
    assert judgement is not None
    assert (judgement.judged_by, judgement.metric, judgement.images) == ("confidence", "top1", 40)
    assert 0 <= judgement.loss < judgement.high <= judgement.allowed == 0.005
    # Where fp32 is sure, the same answers are refused.
    with pytest.raises(VerificationError, match=r"expected to lose .* nothing is written") as error:
        quantize_bundle(taught, drawn, "s", output=tmp_path / "c.bundle")
    assert "larger max_loss=" in str(error.value)
    assert error.value.fields["judgement"]["refuted"]
    assert not (tmp_path / "c.bundle").exists()


@pytest.mark.usefixtures("turning")
def test_labels_that_say_otherwise_count_more_than_how_sure_it_was(
    unsure: Bundle, labelled: Samples, tmp_path: Path
) -> None:
    with pytest.raises(VerificationError, match=r"loses 10\.00 points of top-1.*by the labels"):
        quantize_bundle(
            unsure, labelled, "s", output=tmp_path / "b", judge=judge_of(labelled, unsure)
        )
    judge = judge_of(labelled, unsure, max_loss=0.25)
    written, (result,) = quantize_bundle(unsure, labelled, "s", output=tmp_path / "b", judge=judge)
    values = result.to_json()
    assert values["judgement"]["judged_by"] == "labels"
    assert values["judgement"]["passed"]
    judgement = written.manifest.artifacts[-1].verification[0].judgement
    assert judgement is not None
    assert (judgement.fp32, judgement.found) == (1.0, 0.9)
    assert judgement.nll is not None
    assert judgement.fp32_nll is not None
    assert judgement.nll > judgement.fp32_nll


def test_a_network_that_does_not_bear_int8_is_refused_or_kept_in_fp32(
    taught: Bundle, labelled: Samples, tmp_path: Path
) -> None:
    graph = with_outlier(taught.file(format="onnx").read_bytes())
    outlier = bundle_with(taught, graph, tmp_path / "outlier.bundle")
    _, (result,) = quantize_bundle(
        outlier,
        labelled,
        "s",
        output=tmp_path / "b.bundle",
        engines=("onnxruntime",),
        judge=judge_of(labelled, outlier),
    )
    assert result.quantization.kept_layers
    assert result.comparison.verdict is not None
    assert result.comparison.verdict.passed


def test_ranges_of_images_that_are_too_dark_are_refused(
    taught: Bundle, labelled: Samples, tmp_path: Path
) -> None:
    dark = replace(labelled, calibration=np.ones_like(labelled.calibration))
    with pytest.raises(VerificationError, match=r"loses .* points of top-1|expected to lose"):
        quantize_bundle(
            taught,
            dark,
            "s",
            output=tmp_path / "b.bundle",
            engines=("onnxruntime",),
            judge=judge_of(labelled, taught),
        )
    assert not (tmp_path / "b.bundle").exists()


def test_verification_repeats_the_judgement_with_labels_and_without(
    taught: Bundle, labelled: Samples, tmp_path: Path
) -> None:
    written, (result,) = quantize_bundle(
        taught,
        labelled,
        "s",
        output=tmp_path / "b.bundle",
        engines=("onnxruntime",),
        judge=judge_of(labelled, taught, max_loss=0.2),
    )
    assert labelled.labels is not None
    again = judge_again(labelled.labels)
    report = verify_here(written, labelled.validation, tolerance=1e-3, judge_of=again)
    (comparison,) = report.fewer_bits
    assert report.passed
    assert comparison.verdict is not None
    assert result.comparison.verdict is not None
    assert comparison.verdict.judgement.allowed == 0.2
    assert comparison.verdict.judgement.fp32 == result.comparison.verdict.judgement.fp32
    values = report.to_json()["fewer_bits"][0]
    assert values["passed"]
    assert values["judgement"]["allowed"] == 0.2
    # Labels by which int8 is wrong and fp32 right would fail it; these say the opposite.
    wrong = judge_again(1 - labelled.labels.clip(0, 1))
    assert verify_here(written, labelled.validation, tolerance=1e-3, judge_of=wrong).passed
    report = verify_here(
        written, labelled.validation, tolerance=1e-3, judge_of=judge_without_labels
    )
    (comparison,) = report.fewer_bits
    assert comparison.verdict is not None
    assert comparison.verdict.judgement.judged_by == "confidence"


def test_the_data_it_was_trained_on_is_divided_as_in_training(bundle: Bundle, shapes: Path) -> None:
    source = open_source(str(shapes))
    with pytest.raises(DataError, match="images are too few to quantise with"):
        draw_labelled_samples(source, bundle)
    held_out = held_out_images(source, bundle, 100)
    assert "held-out" in held_out.part
    assert len(held_out.labels) == len(held_out.pixels) < len(source.samples) / 2
    with open_engine("onnxruntime", bundle, 1) as engine:
        said = engine.run(held_out.pixels).argmax(1)
    assert np.mean(said == held_out.labels) == pytest.approx(
        bundle.manifest.metrics["held_out"]["top1"], abs=0.02
    )


def test_commands_judge_by_labels(
    fleetnet: Run, taught: Bundle, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    output = tmp_path / "b.bundle"
    made = fleetnet(
        "quantize", taught.path, "--data", others, "-o", output, "--engine", "onnxruntime",
        "--max-loss", "25", "--metric", "recall:circle",
    )  # fmt: skip
    assert made.code == 0, made
    assert "onnxruntime: " in made.out
    assert "points of recall of 'circle'" in made.out
    assert "% in fp32, " in made.out
    judgement = Bundle.load(output).judgement("onnxruntime", "int8")
    assert judgement is not None
    assert made.out.splitlines()[1].split()[3] == cell_of(judgement)
    verified = fleetnet("verify", output, "--data", others, "--tolerance", "1e-3")
    assert verified.code == 0, verified
    assert "points of recall of 'circle'" in verified.err
    assert "engine precision images max |Δp| same lost" in " ".join(verified.out.split())
    tuned = fleetnet(
        "tune", output, "--data", others, "--engine", "onnxruntime", "--mode", "latency",
        "--threads", "1", "--seconds", "0", "--max-loss", "25",
    )  # fmt: skip
    assert tuned.code == 0, tuned
    assert "judged by the labels of 60 images: all 60 images of folder shapes" in tuned.err
    assert "lost: points of top-1 by " in tuned.out


def test_other_images_may_calibrate_beside_those_that_judge(
    fleetnet: Run, taught: Bundle, others: Path, tmp_path: Path
) -> None:
    loose = make_folder(tmp_path / "loose", 5, seed=5)
    output = tmp_path / "b.bundle"
    made = fleetnet(
        "quantize", taught.path, "--images", loose, "--data", others, "-o", output,
        "--engine", "onnxruntime", "--max-loss", "25",
    )  # fmt: skip
    assert made.code == 0, made
    assert "15 calibration images, 60 validation images" in made.err
    artifact = Bundle.load(output).find(format="onnx", precision="int8")
    assert artifact is not None
    assert artifact.quantization is not None
    assert artifact.quantization.calibration_images == 15
    (record,) = artifact.verification
    assert record.source == "all 60 images of folder shapes"
    assert record.judgement is not None
    assert (record.judgement.judged_by, record.judgement.images) == ("labels", 60)


def test_ranks_of_a_class_are_judged_by_labels(
    fleetnet: Run, taught: Bundle, others: Path, tmp_path: Path
) -> None:
    output = tmp_path / "b.bundle"
    made = fleetnet(
        "quantize", taught.path, "--data", others, "-o", output, "--engine", "onnxruntime",
        "--max-loss", "25", "--metric", "roc_auc:circle",
    )  # fmt: skip
    assert made.code == 0, made
    judgement = Bundle.load(output).judgement("onnxruntime", "int8")
    assert judgement is not None
    assert (judgement.metric, judgement.of_class) == ("roc_auc", "circle")
    assert judgement.judged_by == "labels"
    assert judgement.fp32 is not None
    assert judgement.found is not None
    assert judgement.loss == pytest.approx(judgement.fp32 - judgement.found)
    assert judgement.high <= judgement.allowed == 0.25
    assert f"onnxruntime: {sentence(judgement)}" in made.out
    assert "ROC-AUC of 'circle'" in made.out
    verified = fleetnet("verify", output, "--data", others, "--tolerance", "1e-3")
    assert verified.code == 0, verified
    assert "ROC-AUC of 'circle'" in verified.err


def test_a_checkpoint_is_judged_by_the_data_that_it_was_trained_on(
    fleetnet: Run, checkpoint: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    verified = fleetnet("verify", checkpoint)
    assert verified.code == 0, verified
    assert "judged by the labels of 9 images: the 9 held-out images of folder" in verified.err
    fleetnet("verify", bundle.path).assert_one_line("no images: give real ones, --images, or")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["quantize", "--agreement", "0.9", "--max-loss", "1"], "--agreement wants the same"),
        (["quantize", "--metric", "recall:sqare"], "the network has no class 'sqare'"),
        (["quantize", "--metric", "roc_auc:circle"], "takes labelled images: give some, --data"),
        (["tune", "--metric", "f1"], "--metric f1 is none of top1"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    fleetnet: Run, taught: Bundle, others: Path, arguments: list[str], words: str
) -> None:
    verb, *options = arguments
    fleetnet(verb, taught.path, "--images", others, *options).assert_one_line(words)


def test_other_classes_are_refused(taught: Bundle, tmp_path: Path, others: Path) -> None:
    shutil.copytree(others, tmp_path / "others")
    (tmp_path / "others" / "circle").rename(tmp_path / "others" / "zircle")
    with pytest.raises(FleetnetError, match="the data's class 'zircle' is not among the model's"):
        draw_labelled_samples(open_source(str(tmp_path / "others")), taught)
