"""Measuring everything goes on where it was interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from fleetnet.benchmark import everything
from fleetnet.benchmark.choice import candidates
from fleetnet.benchmark.everything import AT_ONCE, measure_everything
from fleetnet.benchmark.measured import Measurement, read_measured
from fleetnet.cache import CACHE_VARIABLE
from made_up_results import MACHINE


def test_what_was_measured_is_not_measured_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    asked: list[str] = []

    def measure(names: Sequence[str], size: int, *_: object) -> list[Measurement]:
        if len(asked) == 2 * AT_ONCE and not read_measured():
            pytest.fail("nothing was written after the first networks")
        if interrupting.now and len(asked) >= 2 * AT_ONCE:
            raise KeyboardInterrupt
        asked.extend(names)
        return [Measurement(name, size, "openvino", "fp32", 1, 0.01, 1, 1, 1) for name in names]

    interrupting = SimpleNamespace(now=True)
    monkeypatch.setattr(everything, "_measure", measure)
    with pytest.raises(KeyboardInterrupt):
        measure_everything(MACHINE)
    assert [one.model for one in read_measured(MACHINE)] == asked
    interrupting.now = False
    said: list[str] = []
    found = measure_everything(MACHINE, say=said.append)
    wanted = {(one.model, one.size) for one in candidates()}
    assert {(one.model, one.size) for one in found} == wanted
    assert len(asked) == len(set(asked)) == len(wanted)
    assert said[0] == f"{len(wanted)} networks, of which {2 * AT_ONCE} were measured before"
    assert measure_everything(MACHINE) == found
    assert len(asked) == len(wanted)
