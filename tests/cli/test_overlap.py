"""Images that were trained on are not evaluated silently, whatever their names are now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import Run
from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.data.contents import content_of
from fleetnet.data.sources import open_source
from fleetnet.data.splits import split
from fleetnet.export.bundle import export_bundle
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.recipe import Recipe
from fleetnet.training.trainer import Trainer, resume, train
from samples import TINY, draw, encode, make_folder

CANNOT_TELL = "is not known"


def contents(folder: Path, indices: Any) -> list[int]:
    source = open_source(str(folder))
    return sorted(content_of(source.read(int(index))) for index in indices)


@pytest.fixture
def changed(shapes: Path, tmp_path: Path) -> Path:
    """The shapes, with a label of a training image put right, and a new image."""
    folder = tmp_path / "changed"
    shutil.copytree(shapes, folder)
    source = open_source(str(shapes))
    name = source.samples[int(split(source).train[0])].name
    (folder / name).rename(folder / "square" / f"was-{Path(name).name}")
    picture = draw("circle", np.random.default_rng(99))
    (folder / "circle" / "new.jpg").write_bytes(encode(picture))
    return folder


@pytest.fixture
def of_before(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint as versions wrote them that did not remember images."""
    content = torch.load(checkpoint, weights_only=True)
    del content["images"]
    torch.save(content, tmp_path / "old.ckpt")
    return tmp_path / "old.ckpt"


def as_of_before(bundle: Bundle, path: Path) -> Path:
    shutil.copytree(bundle.path, path)
    values = json.loads((path / MANIFEST).read_text())
    values["artifacts"] = [a for a in values["artifacts"] if a["format"] != "trained-images"]
    (path / MANIFEST).write_text(json.dumps(values))
    (path / "trained-images.bin").unlink()
    return path


def test_a_checkpoint_remembers_what_it_was_trained_on_and_what_was_held_out(
    checkpoint: Path, shapes: Path
) -> None:
    loaded, parts = Checkpoint.load(checkpoint), split(open_source(str(shapes)))
    assert loaded.trained_images.tolist() == contents(shapes, parts.train)
    assert loaded.held_out_images.tolist() == contents(shapes, parts.val)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["checkpoint", "bundle"])
def test_images_that_were_trained_on_are_left_out_of_changed_data(
    fleetnet: Run, checkpoint: Path, bundle: Bundle, changed: Path, kind: str, tmp_path: Path
) -> None:
    model = checkpoint if kind == "checkpoint" else bundle.path
    report = tmp_path / "report.html"
    result = fleetnet("evaluate", model, changed, "--json", "--report", report)
    said = "27 of 37 images were trained on and left out (--split all measures them too)"
    assert said in result.err
    values = json.loads(result.out)
    assert values["images"] == 10
    assert values["trained_on"] == {"images": 27, "left_out": True}
    assert values["part"] == "all 37 images of folder changed, less 27 that it was trained on"
    assert "27 of 37 images were trained on and left out." in report.read_text("utf-8")


def test_a_held_out_image_is_evaluated_by_its_corrected_label(
    fleetnet: Run, checkpoint: Path, shapes: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(shapes, folder)
    source = open_source(str(shapes))
    held_out = split(source).val
    name = source.samples[int(held_out[0])].name
    assert name.startswith("circle/")
    (folder / name).rename(folder / "square" / "was-circle.jpg")
    values = json.loads(fleetnet("evaluate", checkpoint, folder, "--json").out)
    assert values["images"] == len(held_out)
    support = {row["class"]: row["support"] for row in values["per_class"]}
    assert support == {"circle": 2, "square": 4, "stripes": 3}


def test_all_images_are_evaluated_on_request_with_a_warning(
    fleetnet: Run, bundle: Bundle, shapes: Path, changed: Path
) -> None:
    for folder, images in ((changed, 37), (shapes, 36)):
        result = fleetnet("evaluate", bundle.path, folder, "--part", "all", "--json")
        assert f"warning: 27 of {images} images were trained on" in result.err
        values = json.loads(result.out)
        assert values["images"] == images
        assert values["trained_on"] == {"images": 27, "left_out": False}


def test_the_held_out_part_of_the_same_data_is_evaluated_without_a_message(
    fleetnet: Run, bundle: Bundle, shapes: Path
) -> None:
    result = fleetnet("evaluate", bundle.path, shapes, "--json")
    assert "trained on" not in result.err
    assert json.loads(result.out)["images"] == 9
    assert json.loads(result.out)["trained_on"] == {"images": 0, "left_out": False}


@pytest.mark.slow
def test_other_content_under_a_held_out_name_is_found(
    fleetnet: Run, checkpoint: Path, shapes: Path, tmp_path: Path
) -> None:
    """Names and classes are the same, so that only the contents show that it is other data."""
    folder = tmp_path / "data"
    shutil.copytree(shapes, folder)
    source = open_source(str(shapes))
    parts = split(source)
    held_out, trained = (source.samples[int(p[0])].name for p in (parts.val, parts.train))
    first, second = (folder / held_out).read_bytes(), (folder / trained).read_bytes()
    (folder / held_out).write_bytes(second)
    (folder / trained).write_bytes(first)
    result = fleetnet("evaluate", checkpoint, folder, "--json")
    assert "1 of 9 images was trained on and left out" in result.err
    assert json.loads(result.out)["images"] == 8


def test_no_image_left_to_evaluate_is_an_error_that_says_what_to_do(
    fleetnet: Run, checkpoint: Path, shapes: Path, tmp_path: Path
) -> None:
    source = open_source(str(shapes))
    for index in split(source).train.tolist():
        target = tmp_path / "trained" / source.samples[index].name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read(index))
    result = fleetnet("evaluate", checkpoint, tmp_path / "trained", "--json")
    result.assert_one_line("all 27 images of folder trained", "--split all")
    result = fleetnet("evaluate", checkpoint, tmp_path / "trained", "--json", "--part", "all")
    assert result.code == 0, result


@pytest.mark.slow
def test_a_model_without_a_record_is_evaluated_with_a_note_that_overlap_is_unknown(
    fleetnet: Run, of_before: Path, bundle: Bundle, shapes: Path, changed: Path, tmp_path: Path
) -> None:
    models = (of_before, as_of_before(bundle, tmp_path / "old.bundle"), bundle.file(format="onnx"))
    for model in models:
        result = fleetnet("evaluate", model, changed, "--json")
        assert CANNOT_TELL in result.err
        assert json.loads(result.out)["images"] == 37
        assert json.loads(result.out)["trained_on"] == {"images": None, "left_out": False}
        result = fleetnet("evaluate", model, shapes, "--json")
        assert CANNOT_TELL not in result.err
        assert json.loads(result.out)["images"] == 9


@pytest.mark.slow
def test_a_resumed_older_run_does_not_claim_to_know_its_training_images(
    shapes: Path, of_before: Path, tmp_path: Path
) -> None:
    content = torch.load(of_before, weights_only=True)
    description = json.loads(content["description"])
    description["recipe"]["epochs"] += 1
    (tmp_path / "run").mkdir()
    torch.save({**content, "description": json.dumps(description)}, tmp_path / "run" / "last.ckpt")
    assert len(resume(open_source(str(shapes)), tmp_path / "run").history) == 3
    assert len(Checkpoint.load(tmp_path / "run" / "last.ckpt").trained_images) == 0


def test_a_damaged_list_of_training_images_is_refused(
    checkpoint: Path, fleetnet: Run, tmp_path: Path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    odd: list[Any] = [
        7,
        {"trained": [1, 2], "held_out": [3]},
        {"trained": torch.zeros(3), "held_out": torch.zeros(3)},
        {"trained": torch.zeros((2, 2), dtype=torch.int64)},
        {"trained": torch.zeros(1, dtype=torch.int64).expand(10**9)},
    ]
    for value in odd:
        torch.save({**content, "images": value}, tmp_path / "odd.ckpt")
        result = fleetnet("export", tmp_path / "odd.ckpt")
        result.assert_one_line("damaged")


@pytest.mark.slow
def test_a_bundle_is_verified_on_held_out_images_of_changed_data(
    shapes: Path, changed: Path, tmp_path: Path, checkpoint: Path
) -> None:
    trained = Checkpoint.load(checkpoint)
    trained.data["spec"] = open_source(str(changed)).spec
    trained.save(tmp_path / "moved.ckpt")
    written = export_bundle(tmp_path / "moved.ckpt", tmp_path / "new.bundle", calibrate=True)
    record = written.manifest.artifacts[0].verification[0]
    assert (record.images, record.source) == (9, "held-out images of folder changed")
    assert written.manifest.calibration is not None
    assert written.manifest.calibration.images == 9


@pytest.mark.slow
def test_training_from_weights_records_their_training_images_too(
    fleetnet: Run, checkpoint: Path, changed: Path, tmp_path: Path
) -> None:
    """Another split of nearly the same data holds out what the weights were trained on."""
    recipe = Recipe.load(overrides=[*TINY, "epochs=1", "seed=5"])
    source = open_source(str(changed))
    trainer = Trainer(source, "MobileNetV2_x0_25", recipe, tmp_path / "run", weights=checkpoint)
    before = set(Checkpoint.load(checkpoint).trained_images.tolist())
    held_out = contents(changed, trainer.split.val)
    seen = [image for image in held_out if image in before]
    assert 0 < len(seen) < len(held_out)
    (note,) = [note for note in trainer.notes if "held-out" in note]
    assert f"trained on {len(seen)} of the {len(held_out)} held-out images" in note
    train(source, "MobileNetV2_x0_25", recipe, tmp_path / "run", weights=checkpoint)
    last = tmp_path / "run" / "last.ckpt"
    trained = contents(changed, trainer.split.train)
    assert set(Checkpoint.load(last).trained_images.tolist()) == before | set(trained)
    values = json.loads(fleetnet("evaluate", last, changed, "--json").out)
    assert values["trained_on"] == {"images": len(seen), "left_out": True}
    assert values["images"] == len(held_out) - len(seen)


@pytest.mark.slow
def test_validating_int8_on_training_images_is_reported(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    others = make_folder(tmp_path / "others", 8, seed=11)
    result = fleetnet(
        "quantize", bundle.path, "--images", shapes, "--images", others, "--engine", "onnxruntime",
        "--agreement", "0.01", "--output", tmp_path / "int8.bundle",
    )  # fmt: skip
    assert result.code == 0, result
    assert "warning: the network was trained on " in result.err
    assert " of the 40 validation images" in result.err
    result = fleetnet(
        "quantize", bundle.path, "--images", make_folder(tmp_path / "new", 16, seed=12), "--engine",
        "onnxruntime", "--agreement", "0.01", "--output", tmp_path / "other.bundle",
    )  # fmt: skip
    assert result.code == 0, result
    assert "trained on" not in result.err
