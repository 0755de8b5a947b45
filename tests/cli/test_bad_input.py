"""One line that says what is wrong and what to do, exit code 2, no traceback, nothing written."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from conftest import Run
from fleetnet.bundle import Bundle
from samples import TINY, make_folder

SETTINGS = [word for setting in (*TINY, "epochs=1") for word in ("--set", setting)]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tarin"], ["No such command 'tarin'", "'train'"]),
        (["train"], ["nothing to train on", "fleetnet train --help"]),
        (["train", "elpv", "--modle", "x"], ["No such option"]),
        (["train", "elpv", "--model", "MobilNetV2"], ["did you mean 'MobileNetV2'"]),
        (["train", "elpv", "--set", "optimzer.lr=1"], ["unknown key", "did you mean"]),
        (["train", "elpv", "--set", "lr=1"], ["did you mean 'optimizer.lr'"]),
        (["train", "elpv", "--recipe", "finetun"], ["did you mean 'finetune'"]),
        (["train", "elpv", "--label", "kind"], ["unknown label 'kind'"]),
        (["train", "elpv", "--size", "0"], ["input.resize"]),
        (["train", "elpv", "--epochs", "0"], ["epochs: it must be at least 1, not 0"]),
        (["train", "elpv", "--epochs", "x"], ["'--epochs': it must be a whole number, not 'x'"]),
        (["train", "elpv", "--set", "epochs=x"], ["epochs: it must be a whole number, not 'x'"]),
        (["train", "elpv", "--set", "epochs=2.5"], ["it must be a whole number, not 2.5"]),
        (["train", "elpv", "--set", "optimizer.lr=x"], ["it must be a number, not 'x'"]),
        (["train", "elpv", "--set", "optimizer=3"], ["optimizer: it must be settings"]),
        (["train", "elpv", "--set", "input.mean=3"], ["input.mean: it must be a list, not 3"]),
        (["train", "elpv", "--set", "input.mean=[1, 2]"], ["input.mean.2: it is missing"]),
        (["train", "elpv", "--set", "data.strict=3"], ["it must be true or false, not 3"]),
        (
            ["train", "elpv", "--set", "augment.policy=autaugment"],
            ["it must be 'none', 'randaugment'", "not 'autaugment', did you mean 'autoaugment'?"],
        ),
        (["data", "check", "elpv", "--near", "99"], ["'--near': it must be at most 12, not '99'"]),
        (["data", "check", "elpv", "--val-fraction", "x"], ["it must be a number, not 'x'"]),
        (["train", "elpv", "--set", "device=cuda"], ["no CUDA device"]),
        (["train", "/nothing/there"], ["/nothing/there does not exist"]),
        (["predict", "x"], ["Missing argument"]),
        (["predict", "nothing.bundle", "x.jpg"], ["no such file or folder: nothing.bundle"]),
        (["export", "nothing.ckpt"], ["no such file or folder: nothing.ckpt"]),
        (["evaluate", "nothing", "elpv"], ["'nothing' is neither a file nor a network"]),
        (["verify", "nothing", "--images", "."], ["'nothing' is neither a file nor a network"]),
    ],
)
def test_wrong_arguments_are_one_line(
    fleetnet: Run, output: Path, arguments: list[str], words: list[str]
) -> None:
    if arguments[0] == "train" and len(arguments) > 1:
        arguments = [*arguments, "--output", str(output)]
    fleetnet(*arguments).assert_one_line(*words)
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "/nothing", "--model", "MobilNetV2"], ["did you mean 'MobileNetV2'"]),
        (["evaluate", "RUN", "DATA", "--split", "tset"], ["unknown split 'tset'", "mean 'test'"]),
        (["evaluate", "RUN", "DATA", "--engine", "opnvino"], ["did you mean 'openvino'"]),
        (["evaluate", "RUN", "DATA", "--precision", "fp33"], ["did you mean 'fp32'"]),
        (["predict", "RUN", "DATA", "--engine", "opnvino"], ["did you mean 'openvino'"]),
        (["predict", "RUN", "DATA", "--engine", "auto", "--precision", "int8"], ["--precision"]),
        (["predict", "RUN", "DATA", "--engine", "auto", "--device", "gpu"], ["--device"]),
        (["evaluate", "RUN", "DATA", "--engine", "auto", "--device", "gpu"], ["--device"]),
        (["tune", "RUN", "--images", "DATA", "--engine", "opnvino"], ["did you mean 'openvino'"]),
        (["quantize", "RUN", "--images", "DATA", "--engine", "opnvino"], ["mean 'openvino'"]),
        (["bench", "RUN", "--engine", "opnvino"], ["did you mean 'openvino'"]),
        (["evaluate", "RUN", "DATA", "--report", "x.pdf"], ["x.pdf: a report is an HTML file"]),
        (["explain", "RUN", "DATA", "-o", "x.jpg"], ["x.jpg: pictures are PNG files"]),
        (["explain", "RUN", "DATA", "-o", "x.pdf"], ["x.pdf: pictures are PNG files"]),
        (["bench", "RUN", "--precision", "fp33"], ["did you mean 'fp32'"]),
    ],
)
def test_wrong_names_are_found_before_the_work(
    fleetnet: Run,
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: list[str],
) -> None:
    """Not after data are read, and a bundle is made of weights: so the model need not be one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    places = {"DATA": str(shapes), "RUN": "run"}
    fleetnet(*(places.get(word, word) for word in arguments)).assert_one_line(*words)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("verb", ["verify", "tune", "quantize", "export"])
def test_images_that_do_not_exist(
    fleetnet: Run, bundle: Bundle, run_folder: Path, shapes: Path, output: Path, verb: str
) -> None:
    """Beside others too, which would be enough by themselves."""
    model = run_folder / "best.ckpt" if verb == "export" else bundle.path
    target = ["-o", output] if verb in ("export", "quantize") else []
    for name in ("nothing/there", ""):
        result = fleetnet(verb, model, "--images", shapes, "--images", name, *target)
        result.assert_one_line(name or "an empty name", "does not exist")
    assert not output.exists()


@pytest.mark.slow
def test_an_older_run_is_not_replaced_unasked(
    fleetnet: Run, shapes: Path, run_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    before = (tmp_path / "run" / "last.ckpt").read_bytes()
    command = ["train", shapes, "--model", "mobilenetv2_x0_25", *SETTINGS, "-o", tmp_path / "run"]
    fleetnet(*command).assert_one_line("holds a run already", "--overwrite")
    assert (tmp_path / "run" / "last.ckpt").read_bytes() == before
    assert fleetnet(*command, "--overwrite").code == 0
    assert (tmp_path / "run" / "last.ckpt").read_bytes() != before


def test_wrong_data_is_one_line(fleetnet: Run, tmp_path: Path, output: Path) -> None:
    def train(folder: Path, *words: str) -> None:
        fleetnet("train", folder, *SETTINGS, "-o", output).assert_one_line(*words)
        assert not output.exists()

    empty = tmp_path / "empty"
    empty.mkdir()
    train(empty, "no images in", "one sub-folder of images per class")
    train(make_folder(tmp_path / "one", 3, ("circle",)), "only one class")
    hollow = make_folder(tmp_path / "hollow", 3)
    (hollow / "zebra").mkdir()
    train(hollow, "class 'zebra' has no images")
    single = make_folder(tmp_path / "single", 1)
    train(single, "has a single image")


def test_data_of_which_nothing_can_be_read(fleetnet: Run, tmp_path: Path, output: Path) -> None:
    folder = make_folder(tmp_path / "junk", 4)
    for file in folder.glob("*/*"):
        file.write_bytes(b"junk " + str(file).encode())  # no two alike, as photographs
    result = fleetnet("train", folder, "--model", "mobilenetv2_x0_25", *SETTINGS, "-o", output)
    assert result.code == 2
    assert result.err.strip().splitlines()[-1].startswith("error: no image of folder junk")
    assert not list(output.glob("*.ckpt"))


@pytest.mark.slow
def test_corrupt_and_foreign_checkpoints(
    fleetnet: Run, checkpoint: Path, shapes: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(checkpoint.read_bytes()[:-1000])
    foreign = tmp_path / "foreign.ckpt"
    foreign.write_text("not a checkpoint at all")
    for file in (cut, foreign):
        fleetnet("export", file).assert_one_line(str(file), "not a checkpoint")
        fleetnet("evaluate", file, shapes).assert_one_line(str(file))
        fleetnet("train", shapes, "--weights", file, "-o", tmp_path / "run").assert_one_line(
            str(file)
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.ckpt", "foreign.ckpt"]


def test_a_bundle_whose_file_does_not_match_its_hash(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.bundle"
    shutil.copytree(bundle.path, copy)
    for file in ("model.onnx", "model.safetensors"):
        with (copy / file).open("ab") as appended:
            appended.write(b"x")
    fleetnet("predict", copy, shapes).assert_one_line(
        "model.onnx", "not the file that was exported"
    )
    fleetnet("predict", copy, shapes, "--engine", "torch").assert_one_line("model.safetensors")
    fleetnet("verify", copy, "--images", shapes).assert_one_line("not the file that was exported")


def test_a_bundle_of_a_network_that_is_not_known_here(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(bundle.path, tmp_path / "copy.bundle")
    manifest = json.loads((copy / "fleetnet.json").read_text())
    manifest["model"]["name"] = "PlainNet"
    (copy / "fleetnet.json").write_text(json.dumps(manifest))
    words = (f"{copy}: unknown model 'PlainNet'",)
    fleetnet("verify", copy, "--images", shapes).assert_one_line(*words)
    fleetnet("explain", copy, shapes, "-o", tmp_path / "x").assert_one_line(*words)
    fleetnet("evaluate", copy, shapes, "--engine", "torch").assert_one_line(*words)
    assert [path.name for path in tmp_path.iterdir()] == ["copy.bundle"]


@pytest.mark.slow
def test_a_bundle_that_answers_otherwise_fails_verification_and_names_the_layer(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    import hashlib

    import onnx
    from onnx import numpy_helper

    copy = tmp_path / "wrong.bundle"
    shutil.copytree(bundle.path, copy)
    model = onnx.load(copy / "model.onnx")
    node = next(n for n in model.graph.node if n.name.startswith("blocks.5.expand.conv/"))
    weights = next(t for t in model.graph.initializer if t.name == node.input[1])
    weights.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weights), weights.name))
    content = model.SerializeToString()
    (copy / "model.onnx").write_bytes(content)
    manifest = json.loads((copy / "fleetnet.json").read_text())
    manifest["artifacts"][0]["files"][0]["sha256"] = hashlib.sha256(content).hexdigest()
    (copy / "fleetnet.json").write_text(json.dumps(manifest))
    result = fleetnet("verify", copy, "--images", shapes)
    result.assert_one_line("differs from the trained network", "first in layer 'blocks.5.expand'")


@pytest.mark.slow
def test_an_output_that_cannot_be_written_is_one_line(
    fleetnet: Run, shapes: Path, checkpoint: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    result = fleetnet("train", shapes, *SETTINGS, "-o", blocked / "run")
    result.assert_one_line("cannot write", str(blocked))
    result = fleetnet("export", checkpoint, "-o", blocked / "b.bundle", "--limit", "1")
    assert result.code == 2
    assert "cannot write" in result.err
    result = fleetnet("export", checkpoint, "-o", blocked, "--limit", "1")
    result.assert_one_line("exists and is not a bundle")


@pytest.mark.slow
def test_a_full_disk_while_training(fleetnet: Run, shapes: Path, small_disk: Path) -> None:
    run = small_disk / "run"
    result = fleetnet("train", shapes, "--model", "mobilenetv2_x0_25", *SETTINGS, "-o", run)
    assert result.code == 2
    assert "error: no space left on the disk" in result.err.splitlines()[-1]
    assert "Traceback" not in result.err
    assert not [file for file in run.iterdir() if file.suffix in (".ckpt", ".part")]


def test_predict_with_wrong_options(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    fleetnet("predict", bundle.path, shapes, "--engine", "tensort").assert_one_line(
        "unknown engine"
    )
    fleetnet("predict", bundle.path, shapes, "--json", "--csv").assert_one_line("exclude")
    fleetnet("predict", bundle.path, shapes, "--top-k", "0").assert_one_line("--top-k")
    fleetnet("predict", bundle.path, shapes, "--threads", "-1").assert_one_line("--threads")
    fleetnet("predict", bundle.path, tmp_path).assert_one_line("no images in the folder")
    fleetnet("predict", bundle.path, tmp_path / "*.jpg").assert_one_line("no images match")
    fleetnet("predict", shapes, shapes).assert_one_line("is not a bundle")


def test_evaluate_with_wrong_options(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    fleetnet("evaluate", bundle.path, shapes, "--part", "tset").assert_one_line(
        "unknown split 'tset', did you mean 'test'"
    )
    fleetnet("evaluate", bundle.path, shapes, "--split", "test").assert_one_line(
        "has no test split"
    )
    other = make_folder(tmp_path / "other", 2, ("circle", "squares"))
    fleetnet("evaluate", bundle.path, other).assert_one_line("did you mean 'square'")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ModuleNotFoundError("No module named 'openvino.x'", name="openvino.x"),
            "the package 'openvino', which is not installed: pip install openvino",
        ),
        (
            ImportError("libx.so:\nno such file", name="cv2"),
            "be loaded: libx.so: no such file; inst",
        ),
    ],
)
def test_a_package_that_is_absent_or_broken(
    fleetnet: Run, monkeypatch: pytest.MonkeyPatch, error: ImportError, words: str
) -> None:
    def register(_: object) -> None:
        raise error

    monkeypatch.setattr("fleetnet.cli.models.register", register)
    fleetnet("models").assert_one_line(words)
    error.name = "fleetnet.nothing"  # which is our own mistake
    with pytest.raises(ImportError):
        fleetnet("models")


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_want_of_memory(fleetnet: Run, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def register(_: object) -> None:
        raise error

    monkeypatch.setattr("fleetnet.cli.models.register", register)
    fleetnet("models").assert_one_line("not enough memory: smaller batches")


def test_whoever_presses_ctrl_c_again_sees_no_traceback(
    fleetnet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def register(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fleetnet.cli.models.register", register)
    before = signal.getsignal(signal.SIGINT)
    try:
        result = fleetnet("models")
        assert (result.code, result.err) == (130, "")
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_debug_shows_the_traceback(fleetnet: Run) -> None:
    from fleetnet.cli import main
    from fleetnet.errors import FleetnetError

    with pytest.raises(FleetnetError):
        main(["predict", "nothing", "x.jpg", "--debug"])


def test_images_that_cannot_be_read_are_named(fleetnet: Run, bundle: Bundle, shapes: Path) -> None:
    bad = shapes.parent / "bad.jpg"
    bad.write_bytes(b"no image")
    result = fleetnet("verify", bundle.path, "--images", shapes, "--images", bad)
    assert result.code == 0
    assert f"1 image could not be read and was left out: {bad}: " in result.err
