from pathlib import Path

import pytest

from fleetnet.benchmark import machine
from fleetnet.benchmark.machine import available_memory, load_average, this_machine
from made_up_results import MACHINE


def test_this_machine() -> None:
    here = this_machine(["openvino", "torch"])
    assert here.processors >= 1
    assert set(here.versions) == {"fleetnet", "Python", "openvino", "torch"}
    assert here.date[:2] == "20"
    assert not here.busy
    assert this_machine([], load=100.0 * here.processors).busy
    assert (load_average() or 0.0) >= 0.0
    assert here.processor in here.line
    assert "+cpu" not in here.line


def test_the_line_under_a_table() -> None:
    assert MACHINE.line == (
        "A Processor of 64 Bits, Linux x86_64, 2 processors, Some Linux 12; fleetnet 0.1.0, "
        "Python 3.11.7, openvino 2026.1.0; 2026-11-22"
    )
    assert not MACHINE.busy


def test_memory_is_the_least_of_the_system_and_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(machine, "_MEMINFO", meminfo)
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    assert available_memory() == 4 * 2**30  # the system does not say
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable: 1000 kB\n")
    assert available_memory() == 1_024_000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert available_memory() == 1_024_000
    (tmp_path / "memory.max").write_text("500000\n")
    assert available_memory() == 100_000
    (tmp_path / "memory.max").write_text("300000\n")
    assert available_memory() == 0
