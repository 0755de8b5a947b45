"""Images with several labels, from the file that lists them to a prediction."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetnet.data.sources import Source, SourceOptions, open_source
from fleetnet.data.splits import split
from fleetnet.errors import DataError
from fleetnet.evaluation.evaluate import evaluate
from fleetnet.evaluation.multilabel import MultiLabelMetrics
from fleetnet.export.bundle import export_bundle
from fleetnet.inference.classifier import Classifier
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.recipe import Recipe
from fleetnet.training.trainer import train
from samples import TINY, draw, encode

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Pictures with a circle, stripes, both or neither."""
    root = tmp_path_factory.mktemp("several")
    rng = np.random.default_rng(5)
    rows = ["image,labels"]
    for number in range(48):
        circle, stripes = number % 2, number // 2 % 2
        picture = Image.fromarray(rng.integers(0, 90, (80, 96, 3), dtype=np.uint8))
        if circle:
            picture.paste(draw("circle", rng).crop((0, 0, 48, 80)), (0, 0))
        if stripes:
            picture.paste(draw("stripes", rng).crop((48, 0, 96, 80)), (48, 0))
        (root / f"{number}.png").write_bytes(encode(picture, "PNG"))
        labels = "|".join(["circle"] * circle + ["stripes"] * stripes)
        rows.append(f"{number}.png,{labels}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return open_source(str(root / "labels.csv"), options=SourceOptions(multi_label="names"))


def test_a_list_is_trained_on_exported_and_predicted(source: Source, tmp_path: Path) -> None:
    assert source.multi_label
    settings = Recipe.load(overrides=[*TINY, "epochs=3", "augment.mixup=0.2"])
    result = train(source, "MobileNetV2_x0_25", settings, tmp_path / "run")
    assert isinstance(result.metrics, MultiLabelMetrics)
    assert result.history[-1].mean_average_precision == result.metrics.mean_average_precision
    checkpoint = Checkpoint.load(result.last)
    assert checkpoint.activation == "sigmoid"

    bundle = export_bundle(result.last, tmp_path / "several.bundle", calibrate=True)
    assert bundle.manifest.model.activation == "sigmoid"
    assert bundle.manifest.calibration is not None
    for engine in ("openvino", "onnxruntime", "torch"):
        classifier = Classifier(bundle, engine=engine)
        prediction = next(classifier.predict(source.read(0)))
        assert prediction.logits is not None
        scaled = prediction.logits / bundle.manifest.temperature
        expected = 1 / (1 + np.exp(-scaled.astype(np.float64)))
        got = {score.index: score.probability for score in prediction.top}
        assert [got[0], got[1]] == pytest.approx(expected.tolist(), abs=1e-6)
        held_out = split(source, settings.data.val_fraction, settings.seed).val
        measured = evaluate(classifier, source, held_out).multi_label_metrics
        # Two images whose scores are next to each other may change places by rounding.
        assert measured.mean_average_precision == pytest.approx(
            result.metrics.mean_average_precision, abs=0.05
        )


def test_a_single_label_model_is_not_evaluated_on_multi_label_data(
    source: Source, bundle: object
) -> None:
    with pytest.raises(DataError):
        evaluate(Classifier(bundle), source, np.arange(4))  # type: ignore[arg-type]
