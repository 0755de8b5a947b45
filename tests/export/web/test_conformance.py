"""The module in Chromium and in Node.js over the conformance set."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.web.conftest import classified, opened, served
from fleetnet.conformance.description import Entry
from fleetnet.conformance.files import ConformanceSet
from fleetnet.inference.probabilities import softmax

pytestmark = pytest.mark.slow

NOT_READ = "browsers do not read TIFF"
REFUSED = {"jpeg-without-end": "cut off"}
"""What a browser cannot tell from a file that lacks a part of its picture."""

PLAIN = {"sha256": "", "preprocess": {"resize": 27, "crop": 24, "interpolation": "bilinear"}}

IN_NODE = """
import { readFileSync } from "node:fs";
import { Classifier } from "./fleetnet.mjs";
const classifier = await Classifier.open(process.argv[1]);
const found = [];
for (const { content, preprocess } of JSON.parse(readFileSync(0))) {
  classifier.manifest.preprocess = preprocess;
  try {
    const input = await classifier.input(Buffer.from(content, "base64"));
    found.push({ input: Buffer.from(input).toString("base64") });
  } catch (error) {
    found.push({ error: error.message });
  }
}
process.stdout.write(JSON.stringify(found));
await classifier.close();
"""


@pytest.fixture(scope="module")
def page(browser: Any, small: Path) -> Iterator[Any]:
    with served(small) as address, opened(browser, address) as page:
        yield page


def wanted(conformance: ConformanceSet) -> Iterator[tuple[Entry, bytes, list[dict[str, Any]]]]:
    """Yield pictures with the inputs of those, large JPEGs not being decoded smaller."""
    for picture in conformance.description.pictures:
        content = conformance.read(picture.file, picture.sha256, picture.bytes)
        exact = [one for one in picture.inputs if one.exact]
        yield (
            picture,
            content,
            [{"sha256": one.sha256, "preprocess": one.preprocess.to_json()} for one in exact],
        )


def test_chromium_gives_the_pixels_or_refuses(page: Any, conformance: ConformanceSet) -> None:
    equal = 0
    for picture, content, inputs in wanted(conformance):
        for one in inputs:
            (found,) = classified(page, [content], one["preprocess"])
            if "error" in found:
                assert REFUSED.get(picture.name, NOT_READ) in found["error"], picture.name
                assert picture.name in REFUSED or picture.file.endswith("tif")
                continue
            data = base64.b64decode(found["input"])
            assert hashlib.sha256(data).hexdigest() == one["sha256"], picture.name
            equal += 1
        if picture.error is not None:
            (found,) = classified(page, [content])
            assert "error" in found, picture.name
            assert len(found["error"].splitlines()) == 1
    assert equal > 150


def test_chromium_gives_the_answers(page: Any, conformance: ConformanceSet) -> None:
    description = conformance.description
    compared = 0
    for picture, content, _ in wanted(conformance):
        one = description.network_input(picture)
        if one is None or not picture.logits:
            continue
        (found,) = classified(page, [content], one.preprocess.to_json())
        if "error" in found:
            continue
        expected = softmax(np.asarray(picture.logits, np.float32))
        np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
        compared += 1
    assert compared > 40


def test_node_gives_the_pixels_of_what_it_decodes(
    small: Path, conformance: ConformanceSet, in_node: Callable[..., Any]
) -> None:
    cases = [
        (picture, one, content)
        for picture, content, inputs in wanted(conformance)
        if picture.file.endswith(("png", "gif"))
        for one in inputs or [PLAIN]
    ]  # fmt: skip
    given = [
        {"content": base64.b64encode(content).decode(), "preprocess": one["preprocess"]}
        for _, one, content in cases
    ]
    answers = in_node(IN_NODE, small, json.dumps(given).encode())
    for (picture, one, _), found in zip(cases, answers, strict=True):
        if picture.error is not None:
            assert "error" in found, picture.name
            continue
        data = base64.b64decode(found["input"])
        assert hashlib.sha256(data).hexdigest() == one["sha256"], picture.name
    assert len(cases) > 60
