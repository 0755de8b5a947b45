"""Accuracy against latency: what is trained, the table, the picture, and all of it, short."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.smaller.against_latency import main
from benchmarks.smaller.latency import timed
from benchmarks.smaller.plan import Piece, Plan
from benchmarks.smaller.shown import draw, rows, table
from fleetnet.bundle import Bundle
from samples import CLASSES, make_folder

PLAN = Plan(
    data="shapes",
    label=None,
    upright=False,
    side=32,
    full="MobileNetV2_x0_5",
    weights=None,
    full_epochs=1,
    narrower=("MobileNetV2_x0_25",),
    epochs=1,
    tune_epochs=1,
    tune_settings=(),
    seeds=(0,),
    engines=("onnxruntime",),
)


def figures() -> dict[str, Any]:
    """Return what a study of two seeds would have found."""
    pieces = {}
    for seed, off in ((0, 0.0), (1, 0.02)):
        for road, network, macs, top1, ms in (
            ("full", "Wide", 20e6, 0.80, 1.0),
            ("pruned", "Narrow", 9e6, 0.79, 0.6),
            ("width", "Narrow", 10e6, 0.75, 0.5),
        ):
            pieces[f"{seed}/{road}-{network}"] = {
                "seed": seed,
                "road": road,
                "network": network,
                "macs": macs,
                "seconds": 1.0,
                "answers": {
                    "openvino/fp32": {"top1": top1 + off, "roc_auc": 0.9},
                    "openvino/int8": {"top1": top1 + off - 0.01, "roc_auc": 0.9},
                },
                "kept": {"openvino": [seed, 54]},
                "latency": {
                    "openvino/fp32": {"ms": ms, "quartiles": [ms, ms], "share": ms},
                    "openvino/int8": {"ms": ms / 2, "quartiles": [ms / 4, ms], "share": ms / 2},
                },
            }
    return {"pieces": pieces}


def test_the_table_has_means_and_deviations_over_the_seeds() -> None:
    lines = table(figures()).splitlines()
    assert len(lines) == 2 + 3 * 2
    assert lines[3] == (
        "| OpenVINO | full | `Wide` | int8 | 20.0 | 80.0 ± 1.4 | 90.0 ± 0.0 | "
        "0.50 (0.25–1.00) | 0.50 | 0/1 |"
    )
    roads = [line.split(" | ")[1] for line in lines[2:]]
    assert roads == ["full"] * 2 + ["width"] * 2 + ["pruned"] * 2


def test_a_network_that_was_refused_in_int8_has_no_row_for_it() -> None:
    found = figures()
    for one in found["pieces"].values():
        if one["road"] == "pruned":
            del one["answers"]["openvino/int8"]
    kinds = [(row.road, row.precision) for row in rows(found)]
    assert ("pruned", "fp32") in kinds
    assert ("pruned", "int8") not in kinds


def test_the_picture_has_a_panel_an_engine(tmp_path: Path) -> None:
    found = figures()
    draw(found, tmp_path / "one.png", "time")
    for one in found["pieces"].values():
        for part in ("answers", "latency"):
            one[part]["onnxruntime/fp32"] = one[part]["openvino/fp32"]
    draw(found, tmp_path / "two.png", "time")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert two.width > 1.5 * one.width


def test_the_full_network_comes_first_and_only_what_it_can_become_is_pruned() -> None:
    pieces = list(replace(PLAN, seeds=(0, 1)).pieces(2))
    rest = ["pruned", "width", "distilled"]
    assert [piece.road for piece in pieces] == ["full", "full", *rest, *rest]
    assert [piece.seed for piece in pieces] == [0, 1, 0, 0, 0, 1, 1, 1]
    share = PLAN.share("MobileNetV2_x0_25", 2)
    assert share is not None
    assert 0.25 < share < 0.5
    assert PLAN.share("MobileNetV2", 2) is None  # is wider
    assert replace(PLAN, full="MobileNetV2").share("MobileNetV2_x0_25", 2) is None  # too narrow


def test_each_network_is_timed_beside_the_full_one(bundle: Bundle) -> None:
    offers = ["onnxruntime/fp32", "openvino/fp32"]
    found = timed(
        {"a": (bundle.path, offers), "b": (bundle.path, offers[:1])},
        lambda _, offer: ("a", offer),
        3,
        "wall",
    )
    assert found["a"]["openvino/fp32"]["share"] == 1
    assert set(found["b"]) == {"onnxruntime/fp32"}
    low, high = found["b"]["onnxruntime/fp32"]["quartiles"]
    assert 0 < low <= found["b"]["onnxruntime/fp32"]["ms"] <= high


def told(out: Path, data: Path, *words: object) -> list[str]:
    """Return the command's words for a study of one seed and epoch with small images."""
    few = ("--side", 32, "--full", PLAN.full, "--epochs", 1, "--seeds", 0, "--rounds", 3)
    known = (out, "--data", data, *few, "--engines", *PLAN.engines, "--narrower")
    return [*map(str, known), *map(str, words)]


@pytest.mark.slow
def test_every_road_is_taken_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("torch_pruning", "onnxruntime", "nncf"):
        pytest.importorskip(package)
    words = told(tmp_path / "study", make_folder(tmp_path / "shapes", images=40), *PLAN.narrower)
    main(words)
    assert "| ONNX Runtime | full | `MobileNetV2_x0_5` | fp32 |" in capsys.readouterr().out
    found = json.loads((tmp_path / "study" / "figures.json").read_text())["pieces"]
    assert list(found) == [piece.key for piece in PLAN.pieces(len(CLASSES))]
    for one in found.values():
        assert one["answers"]["onnxruntime/fp32"]["top1"] == pytest.approx(one["trained_top1"])
    full, pruned = (found[Piece(0, *road).key] for road in (
        ("full", PLAN.full), ("pruned", *PLAN.narrower)
    ))  # fmt: skip
    assert full["latency"]["onnxruntime/fp32"]["share"] == 1
    assert pruned["macs"] <= found["0/width-MobileNetV2_x0_25"]["macs"]
    assert (tmp_path / "study" / "figures.png").stat().st_size > 10_000
    # Nothing is trained again, and figures of other settings are not mixed with these.
    last = tmp_path / "study" / "0" / "full-MobileNetV2_x0_5" / "last.ckpt"
    trained = last.stat().st_mtime_ns
    main([*words, "--latency-only"])
    assert last.stat().st_mtime_ns == trained
    with pytest.raises(SystemExit, match=r"figures of other settings \(tune_epochs 1\)"):
        main([*words, "--tune-epochs", "2"])
