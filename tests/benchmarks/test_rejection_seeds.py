"""What rejection is worth over several bundles: its figures, its tables, and all of it, short."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.rejection.seeds import COVERAGES, measured, of_score, tables
from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.data.sources import open_source
from fleetnet.errors import FleetnetError
from fleetnet.evaluation.evaluate import Evaluation
from fleetnet.inference.certainty import SCORES
from samples import ROOT


def evaluation(images: int) -> Evaluation:
    """Answers of which the surer half is right, and the other every second time."""
    margins = np.linspace(4, 0.1, images)
    labels = np.zeros(images, np.int64)
    labels[images // 2 :: 2] = 1
    logits = np.stack([margins, np.zeros(images)], axis=1).astype(np.float32)
    return Evaluation(("good", "bad"), logits, labels, np.arange(images))


@pytest.mark.parametrize("score", SCORES)
def test_rejecting_the_unsure_leaves_fewer_wrong(score: str) -> None:
    outliers = np.full((10, 2), -9.0, np.float32)
    found = of_score(evaluation(400), outliers, score)  # type: ignore[arg-type]
    assert list(found["at"]) == ["1", "0.95", "0.9", "0.8"]
    whole = found["at"]["1"]
    assert (whole["coverage"], whole["risk"], whole["outliers_rejected"]) == (1, 0.25, 0)
    risks = [found["at"][f"{share:g}"]["risk"] for share in COVERAGES]
    assert risks == sorted(risks, reverse=True)
    assert len(set(risks)) == len(risks)
    for share in COVERAGES:
        at = found["at"][f"{share:g}"]
        assert at["coverage"] == pytest.approx(share, abs=0.05)
        assert at["outliers_rejected"] == (share < 1)
    assert found["auroc"] == 1
    assert 0 < found["area"] < 0.25


def figures(risk: float, engines: tuple[str, ...]) -> dict[str, object]:
    at = {
        f"{share:g}": {"coverage": share, "risk": risk, "outliers_rejected": None}
        for share in COVERAGES
    }
    scores = {score: {"area": risk / 2, "auroc": None, "at": at} for score in SCORES}
    other = {"0.9": {"coverage": 0.875, "risk": risk, "same": 1.0}}
    return {"scores": scores, "precisions": dict.fromkeys(engines, other)}


def test_the_tables_have_means_and_deviations() -> None:
    both = [figures(0.1, ("openvino, fp32", "openvino, int8")), figures(0.2, ("openvino, fp32",))]
    shown = tables(both, "energy").splitlines()
    assert "| `energy` | 95% | 95.00 ± 0.00 % | 15.00 ± 7.07 % | – |" in shown
    assert "| `max-logit` | 0.0750 ± 0.0354 | – |" in shown
    assert (
        "| openvino, fp32 | 90% | 87.50 ± 0.00 % | 15.00 ± 7.07 % | 100.00 ± 0.00 % | 2 |" in shown
    )
    assert "| openvino, int8 | 90% | 87.50 % | 10.00 % | 100.00 % | 1 |" in shown


def test_all_of_it_short(bundle: Bundle, shapes: Path, tmp_path: Path) -> None:
    other = shutil.copytree(bundle.path, tmp_path / "other.bundle")
    (tmp_path / "noise").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / "noise" / f"{number}.png")
    words = [bundle.path, other, "--data", shapes, "--outliers", tmp_path / "noise",
             "--engines", "onnxruntime", "--json", tmp_path / "found.json"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.rejection.seeds", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "held-out images" in done.stderr
    assert "| onnxruntime, fp32 | 80% |" in done.stdout
    one, same = json.loads((tmp_path / "found.json").read_text())["bundles"]
    assert one["outliers"] == 3
    assert {**one, "bundle": ""} == {**same, "bundle": ""}
    for at in one["precisions"]["onnxruntime, fp32"].values():
        assert at["same"] == pytest.approx(1, abs=0.2)


def test_a_network_of_several_classes_is_refused(
    bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    several = Path(shutil.copytree(bundle.path, tmp_path / "several.bundle"))
    values = json.loads((several / MANIFEST).read_text())
    values["model"]["activation"] = "sigmoid"
    (several / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(FleetnetError, match="any number of classes, and rejects none"):
        measured(several, open_source(str(shapes)), [], [], "energy")
