"""What distillation gives where few images have labels: its table, and all of it, short."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.distillation.few_labels import (
    KINDS,
    epochs_for,
    table,
    write_cells,
    write_copies,
)
from fleetnet.data.sources import open_source
from samples import ROOT


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


@pytest.mark.skipif(
    os.environ.get("FLEETNET_DISTILLATION") != "all", reason="takes minutes: opted in"
)
def test_all_of_it_runs(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "distillation" / "few_labels.py"
    options = ["--seeds", "0", "--shares", "0.1", "--steps", "62", "--json", tmp_path / "x.json"]
    subprocess.run([sys.executable, script, tmp_path / "cells", *map(str, options)], check=True)
    figures = json.loads((tmp_path / "x.json").read_text())["0.1"]
    assert set(figures) == set(KINDS)
