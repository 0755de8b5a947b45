"""The module in Node.js: what it refuses, what it takes, and its probabilities."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.web.conftest import write_folder
from fleetnet.bundle import Bundle, Calibration
from fleetnet.export.web.modules import joined
from fleetnet.inference.engines import open_engine
from fleetnet.inference.probabilities import to_probabilities

pytestmark = pytest.mark.slow

REFUSALS = """
import { readFileSync } from "node:fs";
import { Classifier } from "./fleetnet.mjs";
const found = [];
for (const changes of JSON.parse(readFileSync(0))) {
  const whole = JSON.parse(readFileSync("fleetnet.json"));
  const manifest = typeof changes === "string" ? changes : whole;
  for (const [path, value] of typeof changes === "string" ? [] : changes) {
    const names = path.split(".");
    const last = names.pop();
    names.reduce((inside, name) => (inside[name] ??= {}), manifest)[last] = value;
  }
  const [model, core] = ["model.onnx", "fleetnet-core.wasm"].map((name) => readFileSync(name));
  const files = { manifest, model, core };
  found.push(await Classifier.open(files).then(() => "opened", (error) => error.message));
}
process.stdout.write(JSON.stringify(found));
process.exit();
"""

ANSWERS = """
import { readFileSync } from "node:fs";
import { Classifier } from "./fleetnet.mjs";
const classifier = await Classifier.open(process.argv[1]);
const data = new Uint8Array(readFileSync(0));
const picture = { data, width: 40, height: 30 };
const { logits, probabilities, predictions } = await classifier.classify(picture, { topK: 2 });
const failures = [];
const wrong = [
  { data, width: 41, height: 30 }, { data: "text", width: 1, height: 1 }, null, 3,
  { data, width: 0, height: 30 }, { data, width: 1e9, height: 1e9 }, new Uint8Array(5),
];
for (const source of wrong) {
  failures.push(await classifier.classify(source).then(() => "taken", (error) => error.message));
}
process.stdout.write(JSON.stringify({
  logits: [...logits], probabilities: [...probabilities], predictions, failures,
  engine: classifier.engine,
}));
await classifier.close();
"""


def test_what_would_change_answers_unnoticed_is_refused(
    small: Path, in_node: Callable[..., Any]
) -> None:
    cases: dict[str, Any] = {
        "opened": [],
        "no manifest": [["format", "other"]],
        "format_version 4.0": [["format_version", "4.0"]],
        "unknown interpolation": [["preprocess.interpolation", "lanczos"]],
        "unknown preprocess.flip": [["preprocess.flip", True]],
        "sample_bits 7": [["preprocess.sample_bits", 7]],
        "no host can": [["preprocess.crop", 5000]],
        "unknown activation": [["model.activation", "sparsemax"]],
        "no name for each": [["classes", ["one"]]],
        "temperature 0": [["calibration.temperature", 0]],
        "no ONNX graph": [["artifacts", []]],
        "is not the file": [["artifacts.0.files.0.sha256", "0" * 64]],
        "no plain name": [["artifacts.0.files.0.name", "../model.onnx"]],
        "self-test": [["self_test.logits", [[9, -9, 9, -9]]]],
        "not valid JSON": "{",
    }
    found = in_node(REFUSALS, small, json.dumps(list(cases.values())).encode())
    for words, told in zip(cases, found, strict=True):
        assert words in told
    # Newer minor versions add what may be ignored.
    newer = [[["format_version", "2.9"], ["news", 1]]]
    assert in_node(REFUSALS, small, json.dumps(newer).encode()) == ["opened"]


@pytest.mark.parametrize(
    ("activation", "temperature"), [("softmax", None), ("softmax", 0.37), ("sigmoid", 0.37)]
)
def test_probabilities_are_those_of_python(
    small: Path,
    tmp_path: Path,
    in_node: Callable[..., Any],
    activation: Any,
    temperature: float | None,
) -> None:
    manifest = Bundle.load(small).manifest
    calibration = temperature and Calibration(
        temperature=temperature, images=1, ece_before=0, ece_after=0, source="made up"
    )
    model = manifest.model.model_copy(update={"activation": activation})
    manifest = manifest.model_copy(
        update={"model": model, "calibration": calibration or None, "self_test": None}
    )
    folder = write_folder(tmp_path / "web", manifest, (small / "model.onnx").read_bytes())
    picture = np.random.default_rng(1).integers(0, 256, (30, 40, 3), np.uint8)
    found = in_node(ANSWERS, folder, picture.tobytes())
    with open_engine("onnxruntime", Bundle.load(folder), 1) as engine:
        logits = engine.run(manifest.preprocess(picture)[None])[0]
    np.testing.assert_allclose(found["logits"], logits, atol=1e-4)
    expected = to_probabilities(
        np.asarray(found["logits"], np.float32), activation, manifest.temperature
    )
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-7)
    assert [one["index"] for one in found["predictions"]] == list(np.argsort(-expected)[:2])
    assert found["predictions"][0]["class"] == manifest.classes[int(expected.argmax())]
    assert "taken" not in found["failures"]
    assert all(len(told.splitlines()) == 1 for told in found["failures"])
    assert found["engine"]["name"] == "WebAssembly"


def test_modules_share_one_scope() -> None:
    sources = {
        "a.mjs": 'import { b } from "./b.mjs";\nimport { c } from "./c.mjs";\n\n'
        "export const a = b + c;\n",
        "b.mjs": 'import { c } from "./c.mjs";\n\nexport const b = c;\n',
        "c.mjs": 'import { readFile } from "node:fs";\n\nexport const c = 1;\n',
    }
    assert joined("a.mjs", sources) == (
        'import { readFile } from "node:fs";\n\nconst c = 1;\n\nconst b = c;\n\n'
        "export const a = b + c;\n"
    )
