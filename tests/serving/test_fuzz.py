"""A little of what ``make serve-fuzz`` does for as long as it is asked to."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples import ROOT
from serving.fuzzing import TARGETS, run, seeds

SEEDS = seeds()


@st.composite
def changed(draw: st.DrawFn, name: str) -> bytes:
    """Inputs that clients send, with a few bytes changed, added, or taken away."""
    data = bytearray(draw(st.sampled_from(SEEDS[name])))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(data)))
        gone = draw(st.integers(0, 4))
        data[place : place + gone] = draw(st.binary(max_size=4))
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_what_clients_send_is_read(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_any_bytes_are_read_or_refused(name: str, data: st.DataObject) -> None:
    run(name, data.draw(changed(name) | st.binary(max_size=100)))


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="make serve-fuzz installs it"
)
@pytest.mark.parametrize("name", [*TARGETS, "brpc"])
def test_bytes_that_lead_somewhere_new_are_read_or_refused(name: str, tmp_path: Path) -> None:
    program = ["serving.fuzz_brpc"] if name == "brpc" else ["serving.fuzz", name, str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, "-m", *program, "-runs=1000", "-seed=1"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
