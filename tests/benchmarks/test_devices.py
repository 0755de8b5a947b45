"""The table of export targets: what it says of each, and where it is put."""

from __future__ import annotations

import pytest

from benchmarks.devices.table import BEGIN, END, put, table
from fleetnet.bundle import Verification
from fleetnet.export.devices import Device
from fleetnet.export.targets import TARGETS
from samples import ROOT

RECORD = Verification(
    engine="onnxruntime",
    engine_version="1.2",
    images=7,
    source="photos",
    max_abs_diff=2e-6,
    top1_agreement=1.0,
    tolerance=1e-3,
    latency_ms=3.14,
    machine="a machine",
)


def test_every_target_gets_its_row() -> None:
    found = [
        Device(TARGETS["onnx"], "fp32", RECORD, 2_000_000),
        Device(TARGETS["coreml"], "fp32", None, 1_000),
        Device(TARGETS["mnn"], "fp16", refused="it differs | much"),
    ]
    about, _, _, _, *rows = table("a/model", found).splitlines()
    assert about == "`a/model` on a machine, one thread; 7 images (photos)."
    assert rows == [
        "| `onnx:fp32` | 2.0e-06 | 100.0% | – | 2.00 MB | 3.1 ms | onnxruntime 1.2 |",
        "| `coreml:fp32` | – | – | – | 1.0 kB | – | not run here |",
        "| `mnn:fp16` | – | – | – | – | – | it differs / much |",
    ]


def test_it_replaces_what_was_there() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert put(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    with pytest.raises(ValueError, match="the page has no"):
        put("nothing", "new")
    put((ROOT / "docs" / "devices.md").read_text("utf-8"), "new")
