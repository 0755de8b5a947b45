"""The two guards beside each other, on a small network and images that it was not trained on."""

from pathlib import Path

import pytest

from benchmarks.pipeline import guard
from fleetnet.data.sources import open_source
from samples import make_folder


@pytest.mark.slow
def test_both_guards_are_asked_for_good_ranges_and_bad_ones(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(guard, "ENGINES", ("onnxruntime",))
    # The network's own data has fewer images than that takes.
    more = str(make_folder(tmp_path / "more", images=20, seed=11))
    monkeypatch.setattr(guard, "open_source_spec", lambda _: open_source(more))
    guard.main([str(checkpoint), "--photos", str(tmp_path / "none")])
    rows = [line for line in capsys.readouterr().out.splitlines() if " onnxruntime | int8" in line]
    assert [row.split(" | ")[2] for row in rows] == ["int8", "int8, calibrated in the dark"]
    for row in rows:
        by_agreement, by_loss = row.split(" | ")[3:5]
        for found in (by_agreement, by_loss):
            assert found.startswith(("all layers", "refused (")) or "layers kept" in found


def test_a_folder_without_photographs_needs_no_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guard.main(["--photos", str(tmp_path / "none")])
    assert len(capsys.readouterr().out.splitlines()) == 2
