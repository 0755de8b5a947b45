import json
import shutil
from pathlib import Path

import pytest
import torch

from conftest import Run
from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.evaluation.overlap import trained_images_of
from fleetnet.models import build_model
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.weights.create import create_model


@pytest.fixture(scope="module")
def timm_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict in torchvision's names, wrapped as training scripts do."""
    from fleetnet.models import MODELS
    from fleetnet.models.names import TORCHVISION
    from fleetnet.weights.adapter import Adapter
    from fleetnet.weights.identify import from_ours

    network = build_model("mobilenetv2_035", 4)
    state = from_ours(network.state_dict(), MODELS["mobilenetv2_035"], Adapter(TORCHVISION))
    file = tmp_path_factory.mktemp("weights") / "theirs.pth"
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
    return file


def test_inspect(fleetnet: Run, timm_like: Path) -> None:
    result = fleetnet("weights", "inspect", timm_like, "--shapes")
    assert result.code == 0
    for words in ("mobilenetv2_035", "torchvision", "classes         4", "state_dict module."):
        assert words in result.out
    assert "16×3×3×3  features.0.0.weight" in result.out
    values = json.loads(fleetnet("weights", "inspect", timm_like, "--json").out)
    assert values["network"] == "mobilenetv2_035"
    assert values["shapes"]["classifier.1.bias"] == [4]


def test_weights_commands_take_whatever_other_commands_take(
    fleetnet: Run, run_folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    for model in (run_folder, bundle.path):
        values = json.loads(fleetnet("weights", "inspect", model, "--json").out)
        assert (values["network"], values["num_classes"]) == ("MobileNetV2_x0_25", 3)
        copy = tmp_path / f"{model.name}.ckpt"
        result = fleetnet("weights", "convert", model, copy)
        assert result.code == 0, result
        checkpoint = Checkpoint.load(copy)
        assert checkpoint.classes == bundle.manifest.classes
        assert checkpoint.preprocess == bundle.manifest.preprocess
    fleetnet("weights", "inspect", "ReXNet_1").assert_one_line("did you mean 'ReXNet_1_")
    fleetnet("weights", "inspect", bundle.path / "model.onnx").assert_one_line("only an ONNX file")


def test_convert_there_and_back(fleetnet: Run, timm_like: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours.safetensors"
    assert fleetnet("weights", "convert", timm_like, ours).code == 0
    theirs = tmp_path / "theirs.safetensors"
    assert fleetnet("weights", "convert", ours, theirs, "--to", "timm").code == 0
    networks = [
        create_model("mobilenetv2_035", 4, weights=file) for file in (timm_like, ours, theirs)
    ]
    for key, value in networks[0].state_dict().items():
        assert all(torch.equal(network.state_dict()[key], value) for network in networks[1:])


def test_convert_to_paddle(fleetnet: Run, checkpoint: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.pdparams"
    assert fleetnet("weights", "convert", checkpoint, file).code == 0
    values = json.loads(fleetnet("weights", "inspect", file, "--json").out)
    assert (values["format"], values["layout"]) == ("PaddlePaddle", "PaddleClas")
    assert values["shapes"]["out.weight"] == [1280, 3]


@pytest.mark.slow
def test_training_starts_from_them_and_says_so(
    fleetnet: Run, timm_like: Path, shapes: Path, tmp_path: Path
) -> None:
    result = fleetnet(
        "train", shapes, "--model", "mobilenetv2_035", "--weights", timm_like, "--epochs", "1",
        "--size", "32", "--set", "data.workers=0", "-o", tmp_path / "run",
    )  # fmt: skip
    assert result.code == 0, result
    assert "mobilenetv2_035 from torchvision" in result.err
    assert "its classifier of 4 classes is replaced by a fresh one of 3" in result.err


@pytest.mark.slow
def test_weights_from_elsewhere_predict_by_imagenets_names(
    fleetnet: Run, shapes: Path, tmp_path: Path
) -> None:
    from fleetnet.models import MODELS
    from fleetnet.models.names import PADDLE
    from fleetnet.weights.adapter import Adapter
    from fleetnet.weights.identify import from_ours
    from fleetnet.weights.write import write_weights

    network = build_model("MobileNetV2_x0_25")
    state = from_ours(network.state_dict(), MODELS["MobileNetV2_x0_25"], Adapter(PADDLE))
    write_weights(tmp_path / "theirs.pdparams", state)
    checkpoint = tmp_path / "theirs.ckpt"
    result = fleetnet("weights", "convert", tmp_path / "theirs.pdparams", checkpoint)
    assert result.code == 0, result
    assert "resized to 256 (cv2-linear), cropped to 224" in result.err
    alone = fleetnet("export", checkpoint, "-o", tmp_path / "alone.bundle")
    assert "only on made-up pictures" in alone.err
    exported = fleetnet("export", checkpoint, "--images", shapes, "--limit", "3")
    assert exported.code == 0, exported
    image = shapes / "circle" / "000.jpg"
    top = json.loads(
        fleetnet("predict", tmp_path / "theirs.bundle", image, "-k", "1000", "--json").out
    )["top"]
    assert {"class": "tench, Tinca tinca", "index": 0}.items() <= min(
        top, key=lambda score: int(score["index"])
    ).items()


@pytest.mark.slow
def test_what_inspect_takes_the_other_verbs_take(
    fleetnet: Run, timm_like: Path, shapes: Path, tmp_path: Path
) -> None:
    import argparse

    state = torch.load(timm_like, weights_only=True)["state_dict"]
    content = {
        "model": {f"_orig_mod.{key}": value for key, value in state.items()},
        "args": argparse.Namespace(lr=0.1),
    }
    file = tmp_path / "theirs.pth"
    torch.save(content, file)
    assert "argparse.Namespace" in fleetnet("weights", "inspect", file).out
    labels = tmp_path / "labels.txt"
    labels.write_text("ant\nbee\ncow\ndog\n")
    bundle = tmp_path / "theirs.bundle"
    exported = fleetnet("export", file, "--images", shapes, "--limit", "3", "--labels", labels)
    assert exported.code == 0, exported
    assert "mobilenetv2_035 from torchvision" in exported.err
    assert "argparse.Namespace" in exported.err
    manifest = json.loads((bundle / "fleetnet.json").read_text())
    assert manifest["classes"] == ["ant", "bee", "cow", "dog"]
    image = shapes / "circle" / "000.jpg"
    explained = fleetnet("explain", file, image, "-o", tmp_path / "maps")
    assert explained.code == 0, explained
    fleetnet("export", bundle, "--images", shapes).assert_one_line(
        "is exported already: it is a bundle"
    )
    without = fleetnet("export", file)
    assert without.code == 0, without
    assert "only on made-up pictures" in without.err.splitlines()[-1]


@pytest.mark.slow
def test_a_folder_of_the_hub_is_taken_as_a_file(
    fleetnet: Run, timm_like: Path, shapes: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    state = torch.load(timm_like, weights_only=True)["state_dict"]
    folder = tmp_path / "hub"
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    pretrained = {
        "input_size": [3, 32, 32],
        "crop_pct": 0.8,
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    config = {"label_names": ["ant", "bee", "cow", "dog"], "pretrained_cfg": pretrained}
    (folder / "config.json").write_text(json.dumps(config))
    inspected = fleetnet("weights", "inspect", folder)
    assert inspected.code == 0, inspected
    assert "module." in inspected.out
    exported = fleetnet("export", folder, "--images", shapes, "--limit", "3", "-o", tmp_path / "b")
    assert exported.code == 0, exported
    manifest = json.loads((tmp_path / "b" / "fleetnet.json").read_text())
    assert manifest["classes"] == ["ant", "bee", "cow", "dog"]
    assert (manifest["preprocess"]["resize"], manifest["preprocess"]["crop"]) == (40, 32)
    explained = fleetnet("explain", folder, shapes / "circle" / "000.jpg", "-o", tmp_path / "maps")
    assert explained.code == 0, explained


@pytest.mark.slow
def test_weights_from_elsewhere_are_evaluated(fleetnet: Run, shapes: Path, tmp_path: Path) -> None:
    network = build_model("MobileNetV2_x0_25", 3)
    file = tmp_path / "theirs.pt"
    torch.save({"net": network.state_dict(), "when": Path("x")}, file)
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(sorted(folder.name for folder in shapes.iterdir())))
    copy = tmp_path / "theirs.ckpt"
    assert fleetnet("weights", "convert", file, copy, "--labels", labels).code == 0
    for subject in (file, copy):
        result = fleetnet("evaluate", subject, shapes)
        assert result.code == (0 if subject == copy else 2), result


def test_converting_a_checkpoint_of_ours_keeps_what_it_says(
    fleetnet: Run, checkpoint: Path, tmp_path: Path
) -> None:
    from fleetnet.training.checkpoint import Checkpoint

    copy = tmp_path / "copy.ckpt"
    assert fleetnet("weights", "convert", checkpoint, copy).code == 0
    one, other = Checkpoint.load(checkpoint), Checkpoint.load(copy)
    assert (one.classes, one.preprocess, one.data) == (other.classes, other.preprocess, other.data)
    fleetnet("weights", "convert", copy, copy).assert_one_line("is the file to convert")


@pytest.mark.slow
def test_weights_that_are_no_numbers_are_found_by_every_verb(
    fleetnet: Run, checkpoint: Path, shapes: Path, tmp_path: Path
) -> None:
    from fleetnet.training.checkpoint import Checkpoint

    broken = Checkpoint.load(checkpoint)
    broken.state["head.conv.weight"][0] = float("nan")
    file = tmp_path / "nan.ckpt"
    broken.save(file)
    for verb in (
        ("weights", "inspect", file),
        ("weights", "convert", file, tmp_path / "out.safetensors"),
        ("export", file, "--images", shapes),
        ("evaluate", file, shapes),
        ("explain", file, shapes / "circle" / "000.jpg", "-o", tmp_path / "maps"),
        ("train", shapes, "--model", broken.model, "--weights", file, "-o", tmp_path / "run"),
    ):
        fleetnet(*verb).assert_one_line(
            "nan.ckpt", "'head.conv.weight' holds NaN or infinite values (1 of "
        )
    # Training goes on from what it left, and says of its own accord that it diverged.
    assert Checkpoint.load(file).training.keys() == broken.training.keys()


def test_bad_input(fleetnet: Run, timm_like: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.pth").write_bytes(b"junk")
    fleetnet("weights", "inspect", tmp_path / "none.pth").assert_one_line("no such file")
    fleetnet("weights", "inspect", tmp_path / "junk.pth").assert_one_line("in a known format")
    fleetnet("weights", "convert", timm_like, tmp_path / "x.onnx").assert_one_line(".safetensors")
    fleetnet(
        "weights", "convert", timm_like, tmp_path / "x.safetensors", "--to", "paddle"
    ).assert_one_line("PaddleClas has no mobilenetv2_035")
    fleetnet(
        "weights", "convert", timm_like, tmp_path / "x.safetensors", "--to", "tim"
    ).assert_one_line("did you mean 'timm'")
    assert [file.name for file in tmp_path.iterdir()] == ["junk.pth"]


def test_the_list_shows_whole_figures_in_80_columns(
    fleetnet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = fleetnet("weights", "list").out
    assert "…" not in listed
    assert "53.20" in listed
    assert "top-5" in listed


@pytest.mark.slow
def test_a_bundle_becomes_a_checkpoint_that_remembers(
    fleetnet: Run, bundle: Bundle, tmp_path: Path
) -> None:
    """What a checkpoint has no place for is said."""
    copy = tmp_path / "back.ckpt"
    plain = fleetnet("weights", "convert", bundle.path, copy)
    assert "temperature" not in plain.err
    trained = Checkpoint.load(copy).trained_images
    assert len(trained) > 0
    assert trained.tolist() == trained_images_of(bundle).tolist()
    changed = shutil.copytree(bundle.path, tmp_path / "warm.bundle")
    manifest = json.loads((changed / MANIFEST).read_text())
    manifest["calibration"] = {
        "temperature": 2.0, "images": 9, "source": "shapes", "ece_before": 0.2, "ece_after": 0.1,
    }  # fmt: skip
    (changed / MANIFEST).write_text(json.dumps(manifest))
    said = fleetnet("weights", "convert", changed, tmp_path / "warm.ckpt")
    assert "left out: the temperature 2.000" in said.err, said
