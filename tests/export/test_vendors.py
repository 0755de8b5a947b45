"""What vendors' compilers get: a plain graph, and images to calibrate on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import conftest
from fleetnet.bundle import Bundle
from fleetnet.export.converted import export_to
from fleetnet.export.targets.vendors import SAMPLES, samples
from fleetnet.inference.engines import open_engine

pytestmark = pytest.mark.slow


def test_a_graph_and_images_in_two_layouts(bundle: Bundle, shapes: Path, tmp_path: Path) -> None:
    written = export_to(bundle.path, "vendors", tmp_path / "made", images=[str(shapes)], limit=5)
    (artifact,) = written.artifacts
    (record,) = artifact.verification
    assert artifact.key == ("vendors-onnx", "fp32", 1)
    assert (record.engine, record.images, record.top1_agreement) == ("onnxruntime", 5, 1.0)
    crop = bundle.manifest.preprocess.crop
    rows = np.load(written.path / "calibration" / "nhwc.npy", allow_pickle=False)
    assert (rows.shape, rows.dtype) == ((5, crop, crop, 3), np.float32)
    listed = (written.path / "calibration" / "nchw.txt").read_text().splitlines()
    planes = np.stack(
        [
            np.fromfile(written.path / name, np.float32).reshape(3, crop, crop)  # as the page says
            for name in listed
        ]
    )
    np.testing.assert_array_equal(planes.transpose(0, 2, 3, 1), rows)
    # They are what the graph takes, and what the network was verified with.
    graph = onnxruntime.InferenceSession(
        written.path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    found = np.concatenate([graph.run(["logits"], {"pixels": one[None]})[0] for one in planes])
    with open_engine("torch", bundle, 1) as reference:
        np.testing.assert_allclose(found, reference.run(rows.astype(np.uint8)), atol=1e-3)
    page = (written.path / "README.md").read_text("utf-8")
    assert "nor any accelerator ran where" in page
    assert "--input_list calibration/nchw.txt" in page


def test_made_up_pictures_calibrate_nothing(
    fleetnet: conftest.Run, bundle: Bundle, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    refused = fleetnet("export", bundle.path, "--to", "vendors", "-o", made)
    assert refused.code == 2
    assert "give some of yours, --images" in refused.err.splitlines()[-1]
    assert not made.exists()


def test_images_are_spread_over_all() -> None:
    pixels = np.arange(200, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    rows = np.frombuffer(samples(pixels)["calibration/nhwc.npy"][-SAMPLES * 12 :], "<f4")
    firsts = rows.reshape(SAMPLES, 3)[:, 0]
    assert (firsts[0], firsts[-1]) == (0, 199)
    assert len(set(firsts)) == SAMPLES
