"""The default recipe beside a search, each on its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.auto import against_default
from fleetnet.bundle import Bundle
from fleetnet.data.sources.files import ImageFiles
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.search import opening
from fleetnet.training.search.candidates import Candidate
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


def test_the_search_has_so_much_time_and_ends_with_a_bundle(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second is an image that is read, so that it takes the same steps on every machine."""
    reads, read = [0], ImageFiles.read

    def counted(source: ImageFiles, index: int) -> bytes:
        reads[0] += 1
        return read(source, index)

    rates = ("optimizer.lr=1e-5", "optimizer.lr=0.001")
    tried = [Candidate("MobileNetV2_x0_25", 32, "short", (rate,)) for rate in rates]
    monkeypatch.setattr(ImageFiles, "read", counted)
    monkeypatch.setattr(against_default, "processor", lambda: float(reads[0]))
    monkeypatch.setattr(opening, "candidates", lambda _side: tried)
    file = tmp_path / "found.json"
    words = [str(tmp_path / "runs"), "--data", str(shapes), "--only", "auto", "--seconds", "600"]
    words += ["--set", "batch_size=8", "--json", str(file)]
    with pytest.MonkeyPatch.context() as patch:
        # A search that was stopped before its page was written is not complete.
        patch.setattr(against_default, "write_page", stopped)
        with pytest.raises(KeyboardInterrupt):
            against_default.main(words)
    against_default.main(words)
    assert (tmp_path / "runs" / "auto" / "search.html").exists()
    found = json.loads(file.read_text())
    assert list(found) == ["auto"]
    assert found["auto"]["tried"] == 2
    assert found["auto"]["images"] == 9
    assert 300 < found["auto"]["processor_s"] <= 660
    assert Bundle.load(tmp_path / "runs" / "auto" / "model.bundle").artifacts[0].verification
    against_default.main(words)
    assert json.loads(file.read_text()) == found


def stopped(*_: object) -> None:
    raise KeyboardInterrupt
