"""The comparison of servers runs, and what it asks of ours gets right answers or is shed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samples import ROOT

COMPARE = ROOT / "benchmarks" / "serving" / "compare.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="servers are held still by a signal")
def test_fleetnet_under_load_by_every_protocol(tmp_path: Path) -> None:
    """Ten times what it can answer is shed, and nothing is lost or cut."""
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(5)
    for number in range(4):
        pixels = generator.integers(0, 256, (9, 12, 3), np.uint8)
        Image.fromarray(pixels).resize((400, 300)).save(folder / f"{number}.jpg", quality=90)
    file = tmp_path / "figures.json"
    command: list[str | Path] = [sys.executable, COMPARE, folder, "--quick", "--json", file]
    command += ["--only", "Fleetnet", "--model", "MobileNetV2_x0_25"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text("utf-8"))
    titles = {f"Fleetnet, {protocol}" for protocol in ("REST", "gRPC", "bRPC")}
    assert figures["same"] == dict.fromkeys(titles, 1.0)
    for title in titles:
        assert f"| {title} |" in done.stdout
        for (load,) in figures["rows"][title].values():
            *_, outcomes = load
            assert outcomes.keys() == {"answered"}
        *_, outcomes = figures["overload"][title]
        assert outcomes["answered"] > 0
        assert outcomes.keys() <= {"answered", "shed", "never sent"}
