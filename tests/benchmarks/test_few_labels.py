"""What distillation gives where few images have labels: its table, and all of it, short."""

import json
from pathlib import Path

import pytest

from benchmarks.distillation.few_labels import (
    KINDS,
    epochs_for,
    main,
    table,
    write_cells,
    write_copies,
)
from fleetnet.data.sources import open_source


def test_the_table_has_means_deviations_and_the_gain_of_each_seed() -> None:
    figures = {kind: [0.7, 0.8, 0.9] for kind in KINDS} | {"tuned": [0.71, 0.81, 0.91]}
    *_, row = table({"0.25": figures}).splitlines()
    assert row == "| 25% | 80.0 ± 10.0 | 80.0 ± 10.0 | 80.0 ± 10.0 | 81.0 ± 10.0 | +1.0 ± 0.0 |"


def test_few_labels_make_an_epoch_as_long_as_many_do(tmp_path: Path) -> None:
    for name in ("train/a/0.png", "train/b/1.png", "val/a/2.png"):
        (tmp_path / "cells" / name).parent.mkdir(parents=True)
        (tmp_path / "cells" / name).write_bytes(name.encode())
    write_copies(tmp_path / "cells", tmp_path / "copies", 4)
    found = sorted(path.relative_to(tmp_path / "copies") for path in tmp_path.glob("copies/*/*/*"))
    assert [path.parts[0] for path in found] == ["train"] * 8 + ["val"]
    assert (tmp_path / "copies" / "train" / "b" / "1-3.png").read_bytes() == b"train/b/1.png"
    assert epochs_for(800, 1968) == 13


def test_any_folder_gives_a_share_of_labels_and_a_pool(shapes: Path, tmp_path: Path) -> None:
    source = open_source(str(shapes))
    write_cells(tmp_path / "half", source, 0, 0.5)
    parts = {
        name: sorted(tmp_path.glob(f"half/{name}")) for name in ("cells/train/*/*", "cells/val/*/*")
    }
    more = sorted((tmp_path / "half" / "more").iterdir())
    train, val = parts.values()
    assert {path.parent.name for path in train} == set(source.classes)
    assert abs(len(train) - len(more)) <= len(source.classes)
    numbers = sorted(int(path.stem) for path in (*train, *val, *more))
    assert numbers == list(range(len(source.samples)))


@pytest.mark.slow
def test_all_of_it_runs_and_goes_on(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "found.json"
    words = [str(tmp_path / "study"), "--data", str(shapes), "--seeds", "0", "--shares", "0.5"]
    words += ["--steps", "1", "--teacher-steps", "1", "--json", str(file)]
    words += ["--teacher", "MobileNetV2_x0_25", "--teacher-weights", "none"]
    main(words)
    figures = json.loads(file.read_text())["0.5"]
    assert set(figures) == set(KINDS)
    assert all(0 <= value <= 1 for values in figures.values() for value in values)
    assert "| 50% |" in capsys.readouterr().out
    trained = sorted((tmp_path / "study").rglob("last.ckpt"))
    assert [path.parent.name for path in trained] == ["alone", "distilled", "finetuned", "teacher"]
    written = [path.stat().st_mtime_ns for path in trained]
    main(words)
    assert [path.stat().st_mtime_ns for path in trained] == written
    assert json.loads(file.read_text())["0.5"] == figures
