"""The program in Swift beside a Core ML package: what it is written of, and its syntax."""

from __future__ import annotations

import pytest

from export.test_native_program import ODD, changed
from fleetnet.bundle import Bundle
from fleetnet.export.native_program import CORE
from fleetnet.export.swift_program import literal, program
from fleetnet.export.targets import TARGETS
from fleetnet.preprocess import Preprocess

pytestmark = pytest.mark.slow


def test_it_is_written_of_the_bundle(bundle: Bundle) -> None:
    manifest = changed(bundle, Preprocess(40, 32, "bicubic"), "sigmoid", 1)
    files = program({}, manifest)
    assert {f"core/{name}" for name in CORE} <= set(files)
    model = files["Model.swift"].decode("ascii")
    assert "resize: 40, crop: 32," in model
    assert "interpolation: FLEETNET_BICUBIC)" in model
    assert "sigmoid = true" in model
    assert "temperature = 0.37" in model
    assert literal(ODD) in model
    assert literal("\\(x)\n\udc80") == r'"\u{5c}(x)\u{a}?"'
    how = TARGETS["coreml"].how
    assert all(name in how for name in files if name.endswith(".swift"))


def test_its_syntax(bundle: Bundle) -> None:
    reason = "pip install tree-sitter tree-sitter-swift"
    tree_sitter = pytest.importorskip("tree_sitter", reason=reason)
    swift = pytest.importorskip("tree_sitter_swift", reason=reason)
    parser = tree_sitter.Parser(tree_sitter.Language(swift.language()))
    files = program({}, changed(bundle, Preprocess(40, 32), "softmax", 1))
    for name in ("main.swift", "Model.swift"):
        assert not parser.parse(files[name]).root_node.has_error, name
