"""What a word for a trained network means."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Run
from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.errors import BundleError, FleetnetError
from fleetnet.models import MODELS
from fleetnet.weights.published import cached_path, published_weights, set_names
from fleetnet.weights.subject import Subject, file_of, find_subject, find_weights_for


def test_a_bundle_is_its_folder_its_manifest_or_its_graph(bundle: Bundle) -> None:
    for path in (bundle.path, bundle.path / MANIFEST):
        subject = find_subject(path)
        assert (subject.kind, subject.path) == ("bundle", bundle.path)
    graph = bundle.path / "model.onnx"
    assert (find_subject(str(graph)).kind, find_subject(graph).path) == ("bundle", graph)


def test_a_run_is_its_best_checkpoint(run_folder: Path, tmp_path: Path) -> None:
    assert find_subject(run_folder).path == run_folder / "best.ckpt"
    (tmp_path / "last.ckpt").write_bytes(b"x")
    assert find_subject(tmp_path).path == tmp_path / "last.ckpt"


def test_any_other_file_is_weights(checkpoint: Path, tmp_path: Path) -> None:
    assert find_subject(checkpoint).kind == "weights"
    strange = tmp_path / "weights of mine"
    strange.write_bytes(b"x")
    assert find_subject(strange).path == strange


def test_a_name_is_its_usual_published_set_and_others_are_named() -> None:
    for name in ("ReXNet_1_0", "rexnet_1_0"):
        published = find_subject(name).published
        assert published is not None
        assert (published.set, published.model) == ("paddle", "ReXNet_1_0")
    other = find_subject("timm:rexnet_1_0").published
    assert other is not None
    assert (other.set, other.model) == ("timm", "ReXNet_1_0")


@given(st.sampled_from(published_weights()))
def test_every_published_set_can_be_named(entry: object) -> None:
    word = f"{entry.set}:{entry.model}"  # type: ignore[attr-defined]
    assert find_subject(word).published == entry


def test_what_exists_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ReXNet_1_0").write_bytes(b"mine")
    assert find_subject("ReXNet_1_0").kind == "weights"
    assert find_subject("paddle:ReXNet_1_0").kind == "published"


def test_a_folder_of_a_name_s_name_without_weights_says_how_to_mean_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("rexnet_1_0", "paddle"):
        Path(name).mkdir()
    with pytest.raises(FleetnetError, match=r"holds no file of weights .* are paddle:ReXNet_1_0 "):
        find_subject("rexnet_1_0")
    with pytest.raises(FleetnetError, match=r"holds no .* are paddle:MobileNetV2$"):
        find_weights_for("MobileNetV2", "paddle")
    Path("paddle", "model.safetensors").write_bytes(b"mine")
    assert find_weights_for("mobilenetv2_100", "paddle").kind == "weights"


def test_weights_in_a_pipe_are_refused_at_once(fleetnet: Run, shapes: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.ckpt"
    os.mkfifo(pipe)
    for verb in (["predict"], ["export"], ["evaluate"], ["explain"], ["weights", "inspect"]):
        rest = [] if verb[0] in ("export", "weights") else [shapes]
        fleetnet(*verb, pipe, *rest).assert_one_line("is a pipe or a device")
    fleetnet("predict", "/dev/zero", shapes).assert_one_line("is a pipe or a device")


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("ReXNet_1", "did you mean 'ReXNet_1_"),
        ("padle:ReXNet_1_0", "did you mean 'paddle'"),
        ("timm:MobileNetV2", "sets that have: paddle"),
        ("timm:nothing", "unknown model 'nothing'"),
        ("runs/first/best.ckpt", "no such file or folder: runs/first/best.ckpt"),
        ("model.bundle", "no such file or folder: model.bundle"),
        ("ReXNet_lite_1_0", "nobody publishes weights of ReXNet_lite_1_0"),
        ("", "neither a file nor a network"),
        ("x" * 5000, "name too long"),
    ],
)
def test_a_word_that_names_nothing_gets_suggestions(word: str, wanted: str) -> None:
    if word == "runs/first/best.ckpt":
        word, wanted = word.replace("/", os.sep), wanted.replace("/", os.sep)
    with pytest.raises(FleetnetError) as error:
        find_subject(word)
    assert wanted in str(error.value)
    assert "\n" not in str(error.value)


@given(st.text(st.characters(blacklist_characters="\0/")))
def test_any_word_is_understood_or_a_fleetnet_error(word: str) -> None:
    with contextlib.suppress(FleetnetError):
        find_subject(word)


def test_for_a_network_the_name_of_a_set_is_enough(run_folder: Path, bundle: Bundle) -> None:
    for name in set_names():
        entry = next(one for one in published_weights() if one.set == name)
        assert find_weights_for(entry.model, name).published == entry
    assert find_weights_for("MobileNetV2_x0_25", run_folder).path == run_folder / "best.ckpt"
    assert find_weights_for("MobileNetV2_x0_25", str(bundle.path)).kind == "bundle"
    with pytest.raises(FleetnetError, match="did you mean 'paddle'"):
        find_weights_for("MobileNetV2", "padle")
    with pytest.raises(FleetnetError, match="no such file"):
        find_weights_for("MobileNetV2", "nothing.pth")


def test_weights_come_from_a_bundle_too(bundle: Bundle, tmp_path: Path) -> None:
    assert file_of(find_subject(bundle.path)) == bundle.path / "model.safetensors"
    with pytest.raises(BundleError, match="only an ONNX file"):
        file_of(find_subject(bundle.path / "model.onnx"))


def test_a_set_that_is_in_the_cache_is_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path))
    said: list[str] = []
    subject = find_subject("MobileNetV2_x0_25")
    with pytest.raises(FleetnetError, match="put that file at"):
        file_of(subject, say=said.append, offline=True)
    assert not said
    assert subject.published is not None
    place = cached_path(subject.published)
    place.write_bytes(b"weights")
    assert file_of(subject, say=said.append) == place
    assert not said


def test_most_networks_have_published_weights() -> None:
    have = {entry.model for entry in published_weights()}
    assert len(have & set(MODELS)) == len(have) >= 16


def test_what_is_made_of_a_model_goes_beside_it(bundle: Bundle, checkpoint: Path) -> None:
    assert find_subject(checkpoint).beside("bundle") == checkpoint.with_name("last.bundle")
    assert find_subject(bundle.path).beside("onnx") == bundle.path.with_name("shapes.onnx")
    published = find_subject("timm:ReXNet_1_0")
    assert published.beside("openvino-fp16") == Path("ReXNet_1_0.openvino-fp16")


def test_a_folders_name_may_have_dots(tmp_path: Path) -> None:
    folder = tmp_path / "rexnet_100.nav_in1k"
    folder.mkdir()
    subject = Subject(str(folder), "weights", folder)
    assert subject.beside("bundle") == tmp_path / "rexnet_100.nav_in1k.bundle"
