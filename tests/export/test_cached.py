"""Any trained network as a bundle, made once and kept."""

import contextlib
import errno
import shutil
import subprocess
import sys
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch

from conftest import Run
from fleetnet import Classifier
from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError, FleetnetError
from fleetnet.export import cached
from fleetnet.export.cached import bundle_of
from fleetnet.labels import imagenet_classes
from fleetnet.models import MODELS, build_model
from fleetnet.models.names import PADDLE
from fleetnet.weights.adapter import Adapter
from fleetnet.weights.identify import from_ours
from fleetnet.weights.published import cached_path, find_weights
from fleetnet.weights.subject import find_subject
from fleetnet.weights.write import write_weights

NAME = "MobileNetV2_x0_25"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def published(cache: Path) -> torch.nn.Module:
    """Put a file where the published one would be, as somebody without a network does."""
    torch.manual_seed(3)
    network = build_model(NAME)
    state = from_ours(network.state_dict(), MODELS[NAME], Adapter(PADDLE))
    write_weights(cached_path(find_weights("paddle", NAME)), state)
    return network.eval()


def test_a_bundle_is_taken_as_it_is(bundle: Bundle) -> None:
    assert bundle_of(bundle) is bundle
    assert bundle_of(bundle.path).path == bundle.path


@pytest.mark.slow
def test_the_first_answer_takes_one_command(
    fleetnet: Run, published: torch.nn.Module, shapes: Path, cache: Path
) -> None:
    image = next((shapes / "circle").iterdir())
    first = fleetnet("predict", NAME.lower(), image, "--json")
    assert first.code == 0, first
    assert "verifying model.onnx on" in first.err
    assert "made-up pictures" in first.err
    assert imagenet_classes()[0].name  # the names are ImageNet's
    names = {entry.name for entry in imagenet_classes()}
    assert all(f'"class": "{name}"' not in first.out or name in names for name in names)
    assert any(f'"class": "{name}"' in first.out for name in names)
    second = fleetnet("predict", f"paddle:{NAME}", image, "--json")
    assert second.out == first.out
    assert second.err == ""
    kept = Bundle.load(cache / "bundles" / "paddle" / f"{NAME}.bundle").manifest
    assert kept.preprocess.interpolation == "cv2-linear"
    (record, _) = kept.artifacts[0].verification
    assert record.top1_agreement == 1.0
    assert "made-up pictures, 1 image" in record.source


@pytest.mark.slow
def test_using_a_cached_bundle_needs_no_export_libraries(
    published: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bundle_of(NAME)
    monkeypatch.setattr(cached, "NEEDS", ("no_such_module",))
    cached_path(find_weights("paddle", NAME)).unlink()
    assert bundle_of(NAME).manifest == made.manifest
    with pytest.raises(
        FleetnetError, match=r"making a bundle of ReXNet_1_0 needs no_such_module.*\[export\]"
    ):
        bundle_of("ReXNet_1_0")


@pytest.mark.slow
def test_python_takes_a_name(published: torch.nn.Module) -> None:
    with Classifier(bundle=NAME) as classifier:
        pixels = np.random.default_rng(0).integers(0, 256, (300, 280, 3), np.uint8)
        (prediction,) = classifier.predict(pixels)
        prepared = classifier.preprocess(pixels)
    scale, shift = (torch.from_numpy(part) for part in classifier.preprocess.normalisation())
    with torch.inference_mode():
        normal = (torch.from_numpy(prepared).float() * scale + shift).permute(2, 0, 1)[None]
        expected = published(normal)[0].numpy()
    assert prediction.logits is not None
    np.testing.assert_allclose(prediction.logits, expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_a_checkpoint_and_its_run_are_one_bundle(
    fleetnet: Run, run_folder: Path, shapes: Path, cache: Path
) -> None:
    checkpoint = run_folder / "best.ckpt"
    result = fleetnet("predict", run_folder, shapes / "square")
    assert result.code == 0, result
    again = fleetnet("predict", checkpoint, shapes / "square")
    assert (again.code, again.err) == (0, "")
    assert again.out == result.out
    assert len(list((cache / "bundles" / "files").glob("*.bundle"))) == 1


@pytest.mark.slow
def test_other_weights_are_another_bundle(checkpoint: Path, tmp_path: Path) -> None:
    first = bundle_of(checkpoint)
    moved = tmp_path / "renamed.ckpt"
    shutil.copy(checkpoint, moved)
    assert bundle_of(moved).path == first.path
    state = torch.load(checkpoint, weights_only=True)
    state["model"]["classifier.bias"] = state["model"]["classifier.bias"] + 1
    torch.save(state, moved)
    assert bundle_of(moved).path != first.path


def test_the_name_of_a_published_file_makes_another_bundle(
    published: torch.nn.Module, tmp_path: Path
) -> None:
    file = cached_path(find_weights("paddle", NAME))
    other = tmp_path / "mine.pdparams"
    shutil.copy(file, other)
    places = {cached._place(find_subject(path)) for path in (file, other)}
    assert len(places) == 2
    again = tmp_path / "again.pdparams"
    shutil.copy(file, again)
    assert cached._place(find_subject(again)) in places


@pytest.mark.slow
def test_a_file_of_the_cache_that_was_changed_is_named_with_what_to_remove(
    published: torch.nn.Module,
) -> None:
    made = bundle_of(NAME)
    graph = made.path / "model.onnx"
    content = graph.read_bytes()
    graph.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for bundle in (made, bundle_of(NAME)):
        with pytest.raises(BundleError, match="is not the file that was exported") as error:
            bundle.file(format="onnx")
        assert f"remove {made.path}, and it is made anew" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError()]
)
def test_a_cache_without_locks_is_used_without(
    error: Exception, published: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    assert bundle_of(NAME).file(format="onnx").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["manifest", "missing", "half", "cut", "file", "link"])
def test_a_bundle_that_lacks_files_is_made_anew(published: torch.nn.Module, damage: str) -> None:
    made = bundle_of(NAME)
    if damage == "manifest":
        (made.path / "fleetnet.json").write_text("{")
    elif damage == "missing":
        (made.path / "model.onnx").unlink()
    elif damage == "half":
        (made.path / "fleetnet.json").unlink()
    elif damage == "cut":
        (made.path / "model.onnx").write_bytes(b"")  # as a machine that crashed may leave it
    else:
        shutil.rmtree(made.path)
        made.path.touch() if damage == "file" else made.path.symlink_to("nowhere")
    again = bundle_of(NAME)
    assert again.file(format="onnx").is_file()
    assert again.manifest.classes == made.manifest.classes


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_to_says_how_to_choose_another(
    fleetnet: Run, checkpoint: Path, shapes: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file where the folder should be")
    fleetnet("predict", checkpoint, shapes).assert_one_line("let FLEETNET_CACHE name a folder")


@pytest.mark.slow
def test_processes_make_it_once(published: torch.nn.Module, cache: Path) -> None:
    code = f"""
from fleetnet.export.cached import bundle_of
said = []
print(bundle_of({NAME!r}, say=said.append).path, len(said))
"""
    with contextlib.ExitStack() as stack:
        processes = []
        for _ in range(2):
            process = subprocess.Popen(
                [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(process)  # on leaving, waits
            stack.callback(process.kill)
            processes.append(process)
        answers = [process.communicate()[0].split() for process in processes]
    assert answers[0][0] == answers[1][0]
    assert sorted(int(said) > 0 for _, said in answers) == [False, True]


def test_without_a_network_the_file_and_its_place_are_named(fleetnet: Run, cache: Path) -> None:
    import requests

    def refuse(*_: object, **__: object) -> None:
        raise requests.ConnectionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "get", refuse)
        patch.setattr("fleetnet.weights.hub.WAIT_S", 0.0)
        result = fleetnet("predict", "timm:ReXNet_1_0", "photo.jpg")
    assert result.code == 2
    *_, last = result.err.strip().splitlines()
    assert last.startswith("error: cannot fetch https://")
    assert str(cache / "weights" / "timm" / "rexnet_100.nav_in1k.safetensors") in last
    assert not list(cache.rglob("*.bundle"))


@pytest.mark.parametrize(
    "verb",
    [
        ("evaluate", "DATA"),
        ("explain", "IMAGE"),
        ("export",),
        ("verify", "--images", "IMAGE"),
        ("quantize", "--images", "IMAGE"),
        ("tune", "--images", "IMAGE"),
        ("bench",),
        ("predict", "IMAGE"),
    ],
)
def test_every_verb_understands_the_same_words(
    fleetnet: Run, shapes: Path, verb: tuple[str, ...]
) -> None:
    words = {"DATA": str(shapes), "IMAGE": str(next((shapes / "circle").iterdir()))}
    name, *rest = [words.get(word, word) for word in verb]
    for subject, wanted in (
        ("no-such.bundle", "no such file or folder: no-such.bundle"),
        ("padle:ReXNet_1_0", "did you mean 'paddle'"),
        ("timm:MobileNetV2", "sets that have: paddle"),
    ):
        fleetnet(name, subject, *rest).assert_one_line(wanted)


@pytest.mark.slow
def test_export_takes_a_name(fleetnet: Run, published: torch.nn.Module, tmp_path: Path) -> None:
    output = tmp_path / "mine.bundle"
    result = fleetnet("export", NAME, "-o", output)
    assert result.code == 0, result
    assert len(Bundle.load(output).manifest.classes) == 1000
    fleetnet("export", output).assert_one_line("exported already")
