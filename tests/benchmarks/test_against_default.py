"""The default recipe beside a search: it is told its size and says what it reached."""

import json
import subprocess
import sys
from pathlib import Path

from fleetnet.training.checkpoint import Checkpoint
from samples import ROOT


def test_the_default_recipe_trains_at_the_size_that_is_asked_for(
    shapes: Path, tmp_path: Path
) -> None:
    script = ROOT / "benchmarks" / "auto" / "against_default.py"
    options = ["--data", str(shapes), "--only", "default", "--epochs", "1", "--size", "32"]
    options += ["--json", str(tmp_path / "found.json")]
    subprocess.run([sys.executable, script, tmp_path / "runs", *options], check=True, timeout=300)
    found = json.loads((tmp_path / "found.json").read_text())["default"]
    assert found["epochs"] == 1
    assert 0 <= found["top1"] <= 1
    assert found["processor_s"] > 0
    checkpoint = Checkpoint.load(tmp_path / "runs" / "default32" / "last.ckpt")
    assert checkpoint.preprocess.crop == 32
