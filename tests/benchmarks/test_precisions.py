"""How a trained network answers in fewer bits: the whole comparison, on a small one."""

from pathlib import Path

import pytest

from benchmarks.pipeline import precisions


@pytest.mark.slow
def test_a_checkpoint_is_compared_on_its_held_out_images(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nncf")
    folder = tmp_path / "kept"
    precisions.main([str(checkpoint), "--photos", str(tmp_path / "none"), "--output", str(folder)])
    rows = [
        line.strip("| ").split(" | ")
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("| MobileNetV2_x0_25 |")
    ]
    found = {(row[2], row[3]) for row in rows}
    assert found >= {(engine, "fp32") for engine in precisions.ENGINES}
    assert found >= {(engine, "int8") for engine in precisions.ENGINES}
    for _, judged_on, _, precision, kept, same, change, ms in rows:
        assert judged_on == "6 held-out images"
        assert float(ms) > 0
        if precision == "fp32":
            assert (kept, same, change) == ("–", "100.00%", "0.0000")
        if precision == "int8":
            assert kept == "0 of 54 (0%)"
    assert [path.name for path in folder.iterdir()] == [f"{checkpoint.parent.name}.bundle"]
