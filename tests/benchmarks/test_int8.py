"""What networks answer in full int8: the table, all of it in small, and what each recipe gives."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks.int8 import full, recipes
from benchmarks.int8.shown import table
from fleetnet.bundle import Bundle
from fleetnet.export.quantize.layers import read_graph
from fleetnet.export.quantize.moments import products_of
from fleetnet.export.quantize.quantizers import QUANTIZERS
from fleetnet.export.quantize.samples import Samples
from samples import make_folder


def figures() -> dict[str, Any]:
    """Return what a study of two seeds would have found."""
    networks, latency = {}, {}
    for seed, off in ((1, 0.02), (0, 0.0)):  # as a study has them that went on
        key = f"{seed}/Net"
        networks[key] = {
            "fp32": {"onnxruntime/fp32": {"top1": 0.8 + off}},
            "int8": {
                "onnxruntime-7": {
                    "top1": 0.79 + 2 * off,
                    "agreement": 0.99 - off,
                    "kept": seed,
                    "passes_loss": 1.0 - seed,
                },
            },
        }
        latency[f"{key}.bundle"] = {"onnxruntime/fp32": {"ms": 2.0, "share": 1.0}}
        latency[f"{key}-7.bundle"] = {"onnxruntime/int8": {"ms": 1.0 + seed, "share": 0.5 + seed}}
    return {"networks": networks, "timed": {"latency": latency}}


def test_the_table_has_what_is_lost_by_seed() -> None:
    assert table(figures()).splitlines()[2:] == [
        "| `Net` | ONNX Runtime | fp32 | 81.0 ± 1.4 | – | – | – | – | – | 2.00 "
        "| 1.00 (1.00–1.00) |",
        "| `Net` | ONNX Runtime | 7 bits | 81.0 ± 2.8 | +0.0 ± 1.4 | 98.00 | 99.00, 97.00 | 0/1 "
        "| 1 of 2 | 1.50 | 1.00 (0.50–1.50) |",
    ]


def test_a_network_that_was_refused_says_so() -> None:
    found = figures()
    one = found["networks"]["0/Net"]["int8"]["onnxruntime-7"]
    del one["kept"], found["timed"]["latency"]["0/Net-7.bundle"]
    one["refused"] = "onnxruntime in int8 gives the same answer on too few"
    assert "| refused/1 | 1 of 2 | 2.00 | 1.50 (1.50–1.50) |" in table(found)


@pytest.mark.slow
def test_a_network_is_trained_quantised_and_timed_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("onnxruntime", "nncf", "torch"):
        pytest.importorskip(package)
    few = ("--side", 32, "--networks", "MobileNetV2_x0_25", "--epochs", 1, "--seeds", 0)
    data = make_folder(tmp_path / "shapes", images=40)
    words = [str(one) for one in (tmp_path / "study", "--data", data, *few, "--rounds", 3)]
    told = [*words, "--bits", "7", "--engines", "onnxruntime", "--tuned", "1"]
    full.main(told)
    said = capsys.readouterr().out
    assert "| `MobileNetV2_x0_25` | ONNX Runtime | 7 bits |" in said
    assert "| `MobileNetV2_x0_25` | ONNX Runtime | 7 bits, fine-tuned |" in said
    found = json.loads((tmp_path / "study" / "figures.json").read_text())
    one = found["networks"]["0/MobileNetV2_x0_25"]
    assert one["fp32"]["onnxruntime/fp32"]["top1"] == pytest.approx(one["trained_top1"])
    assert 0 <= one["int8"]["onnxruntime-7"]["agreement"] <= 1
    latency = found["timed"]["latency"]
    assert latency["0/MobileNetV2_x0_25.bundle"]["onnxruntime/fp32"]["share"] == 1
    # Nothing is trained again, and figures of other settings are not mixed with these.
    last = tmp_path / "study" / "0" / "MobileNetV2_x0_25" / "last.ckpt"
    trained = last.stat().st_mtime_ns
    full.main([*told, "--latency-only"])
    assert last.stat().st_mtime_ns == trained
    with pytest.raises(SystemExit, match=r"figures of other settings \(side 32\)"):
        full.main([*told, "--side", "48"])


def test_nothing_is_timed_before_it_is_trained(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="begin without --latency-only"):
        full.main([str(tmp_path), "--latency-only"])


def test_each_recipe_of_each_engine_has_a_row(
    bundle: Bundle, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nncf")
    file = tmp_path / "found.json"
    words = [bundle.path, "--photos", shapes, "--views", 1, "--json", file]
    recipes.main([str(one) for one in words])
    rows = {row["what"]: row for row in json.loads(file.read_text())}
    for name in QUANTIZERS:
        for recipe in QUANTIZERS.find(name).recipes:
            assert f"all, {name}: {recipe or 'weights one by one'}" in rows
    assert all(0 <= row["same"] <= 1 and row["rms"] > 0 for row in rows.values())
    assert rows["activations"]["rms"] != rows["all, onnxruntime: weights one by one"]["rms"]
    assert "crops of photographs that did not calibrate" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no such folder"):
        recipes.main(["any", "--photos", str(tmp_path / "none")])


def test_activations_alone_leave_the_weights_as_they_are(bundle: Bundle, shapes: Path) -> None:
    pytest.importorskip("onnxruntime")
    samples: Samples = recipes.samples_of(shapes, bundle.manifest.preprocess, 1)
    found = dict(recipes.parts(bundle, samples, 7))
    path, content = bundle.content(format="onnx")
    graph = read_graph(content, str(path))
    own = {one.name: numpy_helper.to_array(one) for one in graph.graph.initializer}
    made = onnx.load_from_string(found["activations"]).graph
    arrays = [numpy_helper.to_array(one) for one in made.initializer]
    weights = [own[one.node.input[1]] for one in products_of(graph)]
    for weight in weights:
        assert any(one.shape == weight.shape and (one == weight).all() for one in arrays)
    rounded = onnx.load_from_string(found["weights one by one"]).graph
    other = {one.name: numpy_helper.to_array(one) for one in rounded.initializer}
    names = [one.node.input[1] for one in products_of(graph)]
    assert all((own[name] != other[name]).any() for name in names)
    assert all(
        np.abs(own[name] - other[name]).max() <= np.abs(own[name]).max() / 64 for name in names
    )
