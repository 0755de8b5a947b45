import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fleetnet.benchmark import untrained
from fleetnet.benchmark.macs import count_macs
from fleetnet.benchmark.networks import find_subjects, published_names
from fleetnet.benchmark.untrained import cached_folder, untrained_bundles, untrained_network
from fleetnet.bundle import Bundle, self_test_pixels
from fleetnet.errors import BundleError, FleetnetError
from fleetnet.inference.engines import open_engine
from fleetnet.models.folding import fold_batch_norm
from fleetnet.models.network import measure_structure
from fleetnet.models.padding import pad_channels
from fleetnet.models.registry import build_model
from fleetnet.preprocess import Preprocess

NAME, SIZE = "MobileNetV2_x0_25", 32


def test_the_twelve_of_the_documents() -> None:
    names = published_names()
    assert len(names) == 12
    assert names[0] == "MobileNetV2_x0_25"
    assert names[-1] == "ReXNet_3_0"


@pytest.mark.parametrize("name", ["MobileNetV2_x0_25", "ReXNet_1_0", "ReXNet_lite_1_0"])
def test_activations_stay_in_range(name: str) -> None:
    """Neither numbers that are too small for the format nor nothing but zeros, nor infinities."""
    network = untrained_network(name)
    outputs: list[torch.Tensor] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d | nn.ReLU6 | nn.SiLU):
            module.register_forward_hook(lambda _m, _i, out: outputs.append(out.detach().clone()))
    scale, shift = map(torch.from_numpy, Preprocess().normalisation())
    pixels = torch.from_numpy(self_test_pixels(2, 96))
    with torch.no_grad():
        network((pixels.float() * scale + shift).permute(0, 3, 1, 2))
    assert len(outputs) > 50
    tiny = torch.finfo(torch.float32).tiny
    for out in outputs:
        assert torch.isfinite(out).all()
        assert 1e-3 < out.abs().mean() < 1e3
        assert ((out != 0) & (out.abs() < tiny)).sum() == 0
        assert (out == 0).float().mean() < 0.9


def test_a_network_is_the_same_every_time_and_uses_no_global_randomness() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = untrained_network(NAME), untrained_network(NAME)
    assert torch.rand(1) == expected
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
def test_a_network_by_name(cache: Path) -> None:
    (subject,) = find_subjects(["mobilenetv2_X0_25"], SIZE)
    assert (subject.name, subject.model, subject.trained) == (NAME, NAME, False)
    assert subject.size == SIZE
    assert subject.parameters == 1_517_392
    with torch.device("meta"):
        assert subject.macs == measure_structure(build_model(NAME), size=SIZE).macs
    onnx = subject.bundle.path / "model.onnx"
    assert subject.storage("openvino", "bf16") == onnx.stat().st_size
    assert subject.storage("torch", "fp32") == (onnx.parent / "model.safetensors").stat().st_size
    assert subject.storage("openvino", "int8") == 0
    pixels = self_test_pixels(2, SIZE)
    answers = [
        open_engine(engine, subject.bundle, 1).run(pixels) for engine in ("openvino", "torch")
    ]
    assert np.allclose(answers[0], answers[1], atol=1e-4)


@pytest.mark.slow
def test_the_cache_is_used_mended_and_renewed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(name: str, size: int, folder: Path) -> Any:
        made.append(name)
        shutil.copytree(original, folder, dirs_exist_ok=True)
        return Bundle.load(folder)

    original = cache.parent / f"{cache.name}-original"
    if not original.exists():
        shutil.copytree(cached_folder(NAME, SIZE), original)
    monkeypatch.setattr(untrained, "make_untrained", make)
    list(untrained_bundles([NAME], SIZE))
    assert made == []
    with (cached_folder(NAME, SIZE) / "model.onnx").open("ab") as file:
        file.write(b"damage")
    list(untrained_bundles([NAME], SIZE))
    assert made == [NAME]
    monkeypatch.setattr(untrained, "_fingerprint", lambda: "other")
    list(untrained_bundles([NAME], SIZE))
    assert made == [NAME] * 2


def test_an_entry_that_another_process_made_meanwhile_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "entry"

    def to_onnx(*_: Any) -> bytes:
        if not folder.exists():
            monkeypatch.setattr(untrained, "to_onnx", lambda *_: b"of another")
            untrained.make_untrained(NAME, SIZE, folder)
        return b"of this one"

    monkeypatch.setattr(untrained, "to_onnx", to_onnx)
    bundle = untrained.make_untrained(NAME, SIZE, folder)
    assert bundle.file(format="onnx").read_bytes() == b"of another"
    assert [entry.name for entry in tmp_path.iterdir()] == ["entry"]


@pytest.mark.slow
def test_bundles_and_their_names(bundle: Bundle, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        shutil.copytree(bundle.path, tmp_path / folder / "same.bundle")
    shutil.copytree(bundle.path, tmp_path / "other.bundle")
    paths = [tmp_path / "a" / "same.bundle", tmp_path / "b" / "same.bundle"]
    words = [*map(str, paths), str(tmp_path / "other.bundle"), str(paths[0])]
    subjects = find_subjects(words)
    assert [one.name for one in subjects] == [str(paths[0]), str(paths[1]), "other.bundle"]
    assert subjects[0].trained
    assert subjects[0].size == 64
    alone = find_subjects([str(bundle.path / "model.onnx")])[0]
    assert alone.macs == subjects[0].macs
    assert alone.storage("openvino", "fp32") == subjects[0].storage("openvino", "fp32")


def test_making_a_bundle_is_announced(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(_: object, say: Callable[[str], None]) -> Bundle:
        say("fetching")
        return bundle

    monkeypatch.setattr("fleetnet.benchmark.networks.bundle_of", make)
    said: list[str] = []
    find_subjects([f"paddle:{NAME}"], say=said.append)
    assert said == ["fetching"]


def test_macs_of_a_bundle(bundle: Bundle) -> None:
    deployed = pad_channels(fold_batch_norm(build_model(NAME, 3)))
    expected = measure_structure(deployed, size=64).macs
    assert count_macs(bundle) == expected


@pytest.mark.parametrize(
    ("word", "words"),
    [
        (
            "ReXnet_1_9",
            "'ReXnet_1_9' is neither a file nor a network, did you mean 'ReXNet_",
        ),
        ("nothing.bundle", "no such file or folder: nothing.bundle"),
        ("a/b", "no such file or folder: a/b"),
        (".", r"\. is not a bundle"),
    ],
)
def test_words_that_name_no_network_are_refused(
    word: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FleetnetError, match=words.replace("?", r"\?")):
        find_subjects([word])


@pytest.mark.parametrize("size", [0, 31, 1025])
def test_sizes_that_no_network_has(size: int) -> None:
    with pytest.raises(FleetnetError, match="from 32 to 1024"):
        find_subjects([NAME], size)


def test_a_damaged_bundle(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "damaged.bundle"
    shutil.copytree(bundle.path, copy)
    (copy / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match="not the file that was exported"):
        find_subjects([str(copy)])
    manifest = json.loads((copy / "fleetnet.json").read_text())
    manifest["artifacts"][0]["files"][0]["sha256"] = hashlib.sha256(b"no graph").hexdigest()
    (copy / "fleetnet.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="OpenVINO cannot read"):
        count_macs(Bundle.load(copy))
