"""JavaScript rejects what Python rejects."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fleetnet
from fleetnet.bundle import Bundle
from fleetnet.conformance.description import DESCRIPTION
from fleetnet.conformance.files import ConformanceSet, find_set
from fleetnet.inference.certainty import SCORES, certainty, is_rejected

SITE = Path(fleetnet.__file__).parent / "export" / "web" / "site"
PROGRAM = """
import { readFileSync } from "node:fs";
import { Classifier } from "./fleetnet.mjs";
import { certaintyOf } from "./probabilities.mjs";
import { checkedManifest } from "./manifest.mjs";
const { rows, scores, manifests, thresholds } = JSON.parse(readFileSync(0));
const text = (value) => (Number.isFinite(value) ? value : String(value));
const number = (value) => (typeof value === "string" ? Number(value) : value);
const logits = rows.map((row) => Float32Array.from(row, number));
const said = manifests.map((manifest) => {
  try { checkedManifest(manifest); return "taken"; } catch (error) { return error.message; }
});
const network = { engine: null };
const judged = scores.map((score, place) => logits.map((row) => {
  const rejection = { score, threshold: thresholds[place] };
  const manifest = { ...manifests[0], rejection, calibration: { temperature: 1.7 } };
  return new Classifier(manifest, null, network, 1).judged(row).rejected;
}));
const found = scores.map((score) => logits.map((row) => text(certaintyOf(row, score, 1.7))));
const plain = new Classifier({ ...manifests[0], rejection: undefined }, null, network, 1);
process.stdout.write(JSON.stringify({ found, judged, said, plain: plain.judged(logits[0]) }));
"""


def ran(given: dict[str, Any], program: str = PROGRAM) -> Any:
    node = shutil.which("node")
    if node is None:
        pytest.skip("apt-get install nodejs: Node.js is not here")
    command = [node, "--input-type=module", "--eval", program]
    done = subprocess.run(
        command, input=json.dumps(given), capture_output=True, text=True, cwd=SITE, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def manifest_with(rejection: Any, version: str = "3.0", **changes: Any) -> dict[str, Any]:
    manifest = Bundle.load(find_set() / "network.onnx").manifest
    values: dict[str, Any] = json.loads(manifest.to_json())
    values["model"] |= changes
    return {**values, "format_version": version, "rejection": rejection}


def test_scores_and_decisions_are_those_of_python() -> None:
    rows = np.random.default_rng(3).normal(scale=4, size=(300, 7)).astype(np.float32)
    odd = np.array(
        [[1e30] * 7, [-1e30] * 7, [np.inf, *[0] * 6], [-np.inf] * 7, [np.nan, *[0] * 6], [0.0] * 7],
        np.float32,
    )
    rows = np.concatenate([rows, odd])
    expected = [certainty(rows, score, 1.7) for score in SCORES]
    thresholds = []
    for scores in expected:
        ordered = np.sort(scores[:300].astype(np.float64))
        gap = 100 + int(np.diff(ordered[100:200]).argmax())
        thresholds.append(float(ordered[gap : gap + 2].mean()))
    given = [[one if np.isfinite(one) else words(one) for one in row] for row in rows.tolist()]
    rejection = {"score": "energy", "threshold": 0.5}
    found = ran(
        {
            "rows": given,
            "scores": SCORES,
            "thresholds": thresholds,
            "manifests": [manifest_with(rejection)],
        }
    )
    for place, score in enumerate(SCORES):
        here = np.array([float(value) for value in found["found"][place]])
        np.testing.assert_allclose(here, expected[place], rtol=2e-7, err_msg=score)
        decisions = [is_rejected(float(one), thresholds[place]) for one in expected[place]]
        assert found["judged"][place] == decisions
        assert 50 < sum(decisions) < 250
    assert found["said"] == ["taken"]
    assert found["plain"] == {"rejected": False, "score": None}


IN_THE_SET = """
import { readFileSync } from "node:fs";
import { Classifier } from "./fleetnet.mjs";
const { manifest, set } = JSON.parse(readFileSync(0));
const text = (value) => (Number.isFinite(value) ? value : String(value));
const pictures = set.pictures.filter((picture) => picture.logits).map((picture) => picture.logits);
const found = set.rejection.cases.map((one) => {
  const { score, threshold, temperature = 1, logits = pictures } = one;
  const judging = { ...manifest, rejection: { score, threshold }, calibration: { temperature } };
  const classifier = new Classifier(judging, null, { engine: null }, 1);
  return logits.map((row) => {
    const judged = classifier.judged(Float32Array.from(row, Number));
    return { ...judged, score: text(judged.score) };
  });
});
process.stdout.write(JSON.stringify(found));
"""


def test_it_rejects_what_the_conformance_set_says() -> None:
    described = ConformanceSet.load()
    given = json.loads((described.path / DESCRIPTION).read_text("utf-8"))
    rejection = {"score": "energy", "threshold": 0.5}
    found = ran({"manifest": manifest_with(rejection), "set": given}, IN_THE_SET)
    expected = described.description.rejection
    for case, judged in zip(expected.cases, found, strict=True):
        assert [one["rejected"] for one in judged] == list(case.rejected), case.name
        np.testing.assert_allclose(
            [float(one["score"]) for one in judged],
            [float(score) for score in case.scores],
            rtol=expected.tolerance,
            err_msg=case.name,
        )
    assert sum(map(len, found)) > 250


def words(value: float) -> str:
    return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def test_a_manifest_that_it_cannot_honour_is_refused() -> None:
    good = {"score": "energy", "threshold": 0.5}
    cases = {
        "taken": manifest_with(good, "3.1"),
        "is of version 3.0, not of 2.1": manifest_with(good, "2.1"),
        "unknown score": manifest_with({**good, "score": "beauty"}),
        "without a threshold": manifest_with({"score": "energy"}),
        "any number of classes": manifest_with(good, activation="sigmoid"),
        "this reads 2.x and 3.x": manifest_with(good, "4.0"),
    }
    given = {"rows": [[0]], "scores": [], "thresholds": [], "manifests": list(cases.values())}
    for wanted, told in zip(cases, ran(given)["said"], strict=True):
        assert wanted in told
