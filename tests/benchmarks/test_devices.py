"""The table of export targets: what it says of each, and where it is put."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from benchmarks.devices.apart import refusal
from benchmarks.devices.table import BEGIN, END, Done, put, table
from fleetnet.bundle import Quantization, Verification
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
ROUNDED = Quantization(
    tool="MNN 3",
    calibration_images=20,
    weight_bits=8,
    agreement=0.99,
    layers=9,
    kept_layers=("stem", "head"),
    kept_macs=0.12,
)


def test_every_target_gets_its_row() -> None:
    found = [
        Device(TARGETS["onnx"], "fp32", RECORD, 2_000_000),
        Device(TARGETS["coreml"], "fp32", None, 1_000),
        Device(TARGETS["mnn"], "fp16", refused="it differs | much"),
        Device(TARGETS["mnn"], "int8", RECORD, 500_000, quantization=ROUNDED),
    ]
    about, _, _, _, *rows = table("a/model", found).splitlines()
    assert about == "`a/model` on a machine, one thread; 7 images (photos)."
    assert rows == [
        "| `onnx:fp32` | 2.0e-06 | 100.0% | – | 2.00 MB | 3.1 ms | onnxruntime 1.2 |",
        "| `coreml:fp32` | – | – | – | 1.0 kB | – | not run here |",
        "| `mnn:fp16` | – | – | – | – | – | it differs / much |",
        "| `mnn:int8`, 2 of 9 layers (12%) not | 2.0e-06 | 100.0% | – | 0.50 MB | 3.1 ms | "
        "onnxruntime 1.2 |",
    ]


def test_it_replaces_what_was_there() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert put(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    with pytest.raises(ValueError, match="the page has no"):
        put("nothing", "new")
    put((ROOT / "docs" / "devices.md").read_text("utf-8"), "new")


def test_one_that_fails_says_so_in_a_line() -> None:
    def of(program: str, patience: float = 60) -> str:
        return refusal("m", "onnx:fp32", [], patience, ("-c", program))

    assert of("""print('[{"refused": null}]')""") == ""
    assert of("""print('[{"refused": "it differs"}]')""") == "it differs"
    assert of("import sys; sys.exit('error: no space\\n')") == "no space"
    assert of("import os; os.abort()") == "it ended with -6"
    assert of("[][0]").startswith("'fleetnet devices' failed where nobody foresaw it: IndexError")
    assert of("pass") == "it gave no figures"
    assert of("import time; time.sleep(600)", 0.2) == "not done after 0 s"


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux has them")
def test_what_a_late_one_started_is_ended_too(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    starting = (
        "import pathlib, subprocess, sys, time\n"
        "late = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(place)!r}).write_text(str(late.pid))\n"
        "time.sleep(600)\n"
    )
    patience = 1.0
    while not place.is_file():  # a busy machine takes longer to start it
        patience *= 2
        assert refusal("m", "onnx:fp32", [], patience, ("-c", starting)).startswith("not done")
    # Its end may take a moment, and nobody may be there to reap it.
    state = Path("/proc") / place.read_text() / "stat"
    while state.is_file() and state.read_text().rpartition(")")[2].split()[0] not in "ZX":
        time.sleep(0.05)


def test_it_is_gone_on_with(tmp_path: Path) -> None:
    place = tmp_path / "devices" / "table.json"
    done = Done(place, resume=True)
    assert done.refused == {}
    done.add("onnx:fp32", "")
    done.add("mnn:fp16", "it differs")
    assert Done(place, resume=True).refused == {"onnx:fp32": "", "mnn:fp16": "it differs"}
    assert Done(place, resume=False).refused == {}
