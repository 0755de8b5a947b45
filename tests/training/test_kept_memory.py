"""Memory is kept while a network trains, and given back after it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetnet.data.sources import open_source
from fleetnet.training import kept_memory, trainer
from fleetnet.training.callbacks import Callback
from fleetnet.training.kept_memory import memory_kept
from fleetnet.training.recipe import Recipe
from samples import TINY

PAGES = 16 * 2**20 // 4096

glibc_only = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="memory is kept where glibc is"
)

MEASURE = """
import json, resource
import numpy as np
from fleetnet.training.kept_memory import memory_kept

def faults(rounds=5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        np.empty(16 * 2**20, np.uint8).fill(1)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / rounds

def resident():
    return int(open("/proc/self/statm").read().split()[1])

with memory_kept() as kept:
    first = faults(1)
    later, held = faults(), resident()
after = resident()
print(json.dumps([kept, first, later, held, after]))
"""


def measured(**environment: str) -> tuple[bool, float, float, int, int]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE],
        env={"PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    kept, first, later, held, after = json.loads(done.stdout)
    return kept, first, later, held, after


@glibc_only
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_large_arrays_take_the_same_memory_again() -> None:
    kept, first, later, held, after = measured()
    assert kept
    # Pages may be huge ones; but memory that is taken anew is filled anew, page by page.
    assert first > 0
    assert later < first / 4
    assert held - after > PAGES / 2


@glibc_only
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GLIBC_TUNABLES", "glibc.malloc.mmap_max=65536"),
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("MALLOC_MMAP_MAX_", "65536"),
    ],
)
def test_what_the_user_says_of_memory_stays(variable: str, value: str) -> None:
    assert measured(**{variable: value})[0] is False


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(_: None) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", other)
    with memory_kept() as kept:
        assert kept is False


def test_a_system_without_handles_of_a_process_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(_: None) -> object:
        raise TypeError

    monkeypatch.setattr(ctypes, "CDLL", none)
    assert kept_memory._glibc() is None


def test_a_run_keeps_memory_until_its_end(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    @contextlib.contextmanager
    def noted() -> Iterator[bool]:
        said.append("kept")
        yield True
        said.append("given back")

    class Noting(Callback):
        def on_train_start(self, _: object) -> None:
            said.append("training")

    monkeypatch.setattr(trainer, "memory_kept", noted)
    recipe = Recipe.load(overrides=[*TINY, "epochs=1", "device=cpu"])
    trainer.train(
        open_source(str(shapes)), "mobilenetv2_x0_25", recipe, tmp_path, callbacks=[Noting()]
    )
    assert said == ["kept", "training", "given back"]
