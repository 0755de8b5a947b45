"""The script for GPUs, as far as it goes without one."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from fleetnet.bundle import self_test_pixels
from fleetnet.models.registry import MODELS
from fleetnet.preprocess import Preprocess
from samples import ROOT


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_run", ROOT / "benchmarks" / "gpu" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_run"] = module
    spec.loader.exec_module(module)
    return module


def test_without_a_device_it_ends_with_one_line(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        script.main([])
    message = str(ended.value.code)
    assert message.startswith("no CUDA device here")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["ReXNet_9"], "unknown model 'ReXNet_9'"), (["--rounds", "0"], "--rounds must be")],
)
def test_wrong_words(script: ModuleType, arguments: list[str], words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        script.main(arguments)
    assert words in str(ended.value.code)


def test_the_table(script: ModuleType, tmp_path: Path) -> None:
    rows = [
        script.Row("ReXNet_1_0", "Fleetnet", (0.4, 0.5, 0.6), (0.7, 0.8, 0.9)),
        script.Row("ReXNet_1_0", "timm rexnet_100", (1.4, 1.5, 1.6), (1.7, 1.8, 1.9)),
        script.Row("MobileNetV2", "Fleetnet", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
    ]
    lines = script.markdown(rows, "some device").splitlines()
    table = [line for line in lines if line.startswith("| `")]
    assert table == [
        "| `ReXNet_1_0` | Fleetnet | 0.400 | 0.500 | 0.600 | 0.700 | 0.800 | 0.900 |",
        "| `ReXNet_1_0` | timm rexnet_100 | 1.400 | 1.500 | 1.600 | 1.700 | 1.800 | 1.900 |",
        "| `ReXNet_1_0` | published, V100 | 3.08 | 4.15 | 5.49 | – | – | – |",
        "| `MobileNetV2` | Fleetnet | 0.100 | 0.200 | 0.300 | 0.400 | 0.500 | 0.600 |",
        "| `MobileNetV2` | published, V100 | 1.02 | 1.93 | 2.89 | – | – | – |",
    ]
    script.write(rows, "text", "some device", tmp_path)
    values = json.loads((tmp_path / "gpu.json").read_text())
    assert values["rows"][0]["device"] == [0.4, 0.5, 0.6]


def test_the_network_takes_pixels(script: ModuleType) -> None:
    network = script.ours("MobileNetV2_x0_25")
    pixels = self_test_pixels(2, 64)
    scale, shift = Preprocess().normalisation()
    normalised = torch.from_numpy(pixels * scale + shift).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = network(normalised).numpy()
        answer = script.Normalised(network, torch.float32)(torch.from_numpy(pixels)).numpy()
    assert np.allclose(answer, expected, atol=1e-4)


def test_peers_are_networks_that_exist(script: ModuleType) -> None:
    assert set(script.PEERS) <= set(MODELS)
