"""From labelled and unlabelled images to a student, with a command that goes on where it ended."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Run
from fleetnet.data.batches import Batch
from fleetnet.data.loader import Loader
from fleetnet.data.sources import Source, open_source
from fleetnet.data.sources.pool import PoolSource
from fleetnet.data.splits import split
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.distillation.opening import open_teachers
from samples import CLASSES, TINY, encode

pytest.importorskip("imagehash")

SETTINGS = [*TINY, "precision=fp32", "input.resize=36", "input.crop=32", "optimizer.lr=0.01"]
STUDENT = "MobileNetV2_x0_25"
SEED_OF_SPLIT = 0
COPIES = 3


def words(*settings: str) -> list[str]:
    return [word for setting in [*SETTINGS, *settings] for word in ("--set", setting)]


@pytest.fixture(scope="module")
def more(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 15 new images, three held-out ones saved anew in another size, a broken and a blank."""
    folder = tmp_path_factory.mktemp("more")
    rng = np.random.default_rng(99)
    for number in range(15):
        # Unlike any drawing, and unlike each other, in the coarsest of all features.
        image = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)).resize((84, 72))
        (folder / f"{number:02d}.jpg").write_bytes(encode(image, "JPEG"))
    source = open_source(str(shapes))
    for number, index in enumerate(split(source, 0.25, SEED_OF_SPLIT).val[:COPIES]):
        with Image.open(shapes / source.samples[int(index)].name) as image:
            (folder / "deep").mkdir(exist_ok=True)
            image.resize((80, 66)).save(folder / "deep" / f"copy{number}.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    Image.new("RGB", (40, 40), "red").save(folder / "blank.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.mark.slow
def test_one_command_does_all_steps_and_a_second_one_has_nothing_to_do(
    fleetnet: Run, shapes: Path, more: Path, run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [
        *("distill", shapes, "--teacher", run_folder, "--student", STUDENT, "--unlabelled", more),
        *("--top-k", 4, "--epochs", 1, "-o", out, *words()),
    ]
    for step in ("clean", "score", "merge"):
        result = fleetnet(*command, "--step", step)
        assert result.code == 0, result
        assert "3 removed that are held out too, 1 unreadable, 1 of one colour; 15 left" in (
            result.err
        )
        assert ("the teacher: top-1 " in result.err) == (step != "clean")
        assert not (out / "distilled").exists()
    rows = (out / "pool" / "removed.tsv").read_text().splitlines()[1:]
    assert [Path(row.split("\t")[0]).name for row in rows] == [f"copy{n}.png" for n in range(3)]
    with Image.open(out / "pool" / "removed.jpg") as sheet:
        assert sheet.size[0] > 900

    pool = open_source(str(out / "pool"))
    assert isinstance(pool, PoolSource)
    assert pool.labelled == 36
    added = list(pool.samples)[36:]
    assert {sample.split for sample in added} == {"train"}
    (teacher,) = open_teachers([str(run_folder)], CLASSES, __import__("torch").device("cpu"))
    seems = [teacher_says(teacher, pool, 36 + number) for number in range(len(added))]
    assert [sample.label for sample in added] == seems
    assert max(np.bincount(seems)) <= 4

    result = fleetnet(*command, "--log", "none")
    assert result.code == 0, result
    assert "held-out images: the student's figures" not in result.err
    assert f"the teacher: top-1 {right(teacher, shapes):.2%} on 9 held-out images" in result.err
    assert "distilled: top-1" in result.out
    assert f"next: fleetnet export {out / 'finetuned' / 'best.ckpt'}" in result.out
    distilled, tuned = (
        Checkpoint.load(out / name / "last.ckpt") for name in ("distilled", "finetuned")
    )
    assert distilled.data["train_images"] == 27 + len(added)
    assert tuned.data["train_images"] == 27
    assert distilled.data["val_images"] == tuned.data["val_images"] == 9
    assert tuned.recipe["optimizer"]["lr"] == pytest.approx(1e-4)
    assert set(tuned.held_out_images) == set(distilled.held_out_images)
    assert not set(tuned.held_out_images) & set(tuned.trained_images)
    again = fleetnet(*command)
    assert again.code == 0, again
    assert again.err.count("is complete") == 2
    assert Checkpoint.load(out / "finetuned" / "last.ckpt").state.keys() == tuned.state.keys()
    other = fleetnet(*command, "--loss", "kl")
    other.assert_one_line("holds another distillation (recipe, finetuning differ)", "--output")


def right(teacher: object, shapes: Path) -> float:
    """Return the share of held-out images that a teacher gets right, asked one by one."""
    source = open_source(str(shapes))
    held_out = split(source, 0.25, SEED_OF_SPLIT).val.tolist()
    return float(np.mean([
        teacher_says(teacher, source, index) == source.samples[index].label for index in held_out
    ]))  # fmt: skip


def teacher_says(teacher: object, source: Source, index: int) -> int:
    import torch

    pixels = teacher.preprocess.from_bytes(source.read(index))  # type: ignore[attr-defined]
    logits = teacher.logits(torch.from_numpy(pixels)[None].float())  # type: ignore[attr-defined]
    return int(logits.argmax())


@pytest.mark.slow
def test_answers_are_computed_once_and_go_on_where_they_stopped(
    fleetnet: Run,
    shapes: Path,
    more: Path,
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    command = [
        *("distill", shapes, "-t", run_folder, "-m", STUDENT, "--unlabelled", more, "--look-up"),
        *("--epochs", 1, "--finetune-epochs", 0, "--log", "none", "-o", out),
        # Eight batches are a file of answers; with so few images in each, learning slowly is what
        # ends in numbers on every processor.
        *words("batch_size=2", "optimizer.lr=0.0001"),
    ]
    starts: list[int] = []
    batches = Loader.batches

    def counted(self: Loader, epoch: int = 1, start: int = 0) -> Iterator[Batch]:
        starts.append(start)
        for number, batch in enumerate(batches(self, epoch, start)):
            if number == 9:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(Loader, "batches", counted)
    assert fleetnet(*command, "--step", "merge").code == 130
    # The five batches of held-out images are done; unlabelled images and labelled ones are not.
    assert starts == [0, 0, 0]
    monkeypatch.setattr(Loader, "batches", batches)
    starts.clear()

    def only_counted(self: Loader, epoch: int = 1, start: int = 0) -> Iterator[Batch]:
        starts.append(start)
        return batches(self, epoch, start)

    monkeypatch.setattr(Loader, "batches", only_counted)
    assert fleetnet(*command).code == 0
    assert starts[0] == 8  # the first file had as many batches; nothing else is asked again
    monkeypatch.undo()
    scores = np.load(out / "answers-pool" / "scores.npy")
    assert scores.shape == (36 + 15, 3)
    np.testing.assert_allclose(np.exp(scores).sum(1), 1, rtol=1e-5)
    assert not (out / "finetuned").exists()
    recipe = Checkpoint.load(out / "distilled" / "last.ckpt").recipe["distill"]
    assert recipe["scores"] == str((out / "answers-pool" / "scores.npy").resolve())
    assert json.loads((out / "distill.json").read_text())["looked_up"] is True


def test_a_teacher_that_saw_held_out_images_is_told_of(
    fleetnet: Run, shapes: Path, run_folder: Path, tmp_path: Path
) -> None:
    command = ["distill", shapes, "-t", run_folder, "-m", STUDENT, "-o", tmp_path / "out"]
    result = fleetnet(*command, *words("seed=5"), "--step", "merge")
    assert result.code == 0, result
    assert "of the 9 held-out images: the student's figures on those may be too good" in result.err


@pytest.mark.slow
def test_a_network_may_be_its_own_teacher(fleetnet: Run, shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = fleetnet(
        *("distill", shapes, "-t", "self", "-m", STUDENT, "--epochs", 1, "--log", "none"),
        *("-o", out, *words("distill.feature_weight=1")),
    )
    assert result.code == 0, result
    taught = Checkpoint.load(out / "distilled" / "last.ckpt")
    assert taught.recipe["distill"]["teachers"] == [str((out / "teacher").resolve())]
    assert Checkpoint.load(out / "teacher" / "last.ckpt").recipe["distill"]["teachers"] == []


@pytest.mark.slow
def test_options_say_how_each_part_is_trained_and_what_of_it(
    fleetnet: Run, shapes: Path, run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    settings = ("batch_size=8", "data.workers=0", "precision=fp32", "optimizer.lr=0.0001")
    command = [
        *("distill", shapes, "-t", "self", "-t", run_folder, "-m", STUDENT, "--loss", "kl"),
        *("--recipe", "elpv-demo", "--size", 40, "--epochs", 1, "--weights", run_folder),
        *("--finetune-set", "optimizer.lr=0.000002", "--finetune-set", "loss.label_smoothing=0.2"),
        *("--log", "none", "-o", out, *(word for one in settings for word in ("--set", one))),
    ]
    parts = ("teacher", "distilled", "finetuned")
    for made, step in enumerate(("teacher", "train", None), 1):
        result = fleetnet(*command, *(() if step is None else ("--step", step)))
        assert result.code == 0, result
        assert result.err.count("is complete") == made - 1
        assert [name for name in parts if (out / name).exists()] == [*parts[:made]]
    plain, distilled, tuned = (Checkpoint.load(out / name / "last.ckpt") for name in parts)
    teachers = [str((out / "teacher").resolve()), str(run_folder.resolve())]
    for part in (distilled, tuned):
        assert part.recipe["distill"]["teachers"] == teachers
        assert part.recipe["distill"]["loss"] == "kl"
    assert plain.recipe["distill"]["teachers"] == []
    for part, lr, smoothing in ((plain, 1e-4, 0), (distilled, 1e-4, 0), (tuned, 2e-6, 0.2)):
        assert (part.recipe["name"], part.recipe["epochs"]) == ("elpv-demo", 1)
        assert part.preprocess.crop == 40
        assert part.recipe["optimizer"]["lr"] == lr
        assert part.recipe["loss"]["label_smoothing"] == smoothing
    # Only the student begins with the weights that were given, from which it hardly moves.
    given = Checkpoint.load(run_folder / "last.ckpt").state["classifier.bias"]
    for part, near in ((plain, False), (distilled, True), (tuned, True)):
        apart = float((part.state["classifier.bias"] - given).abs().max())
        assert (apart < 0.1) == near


def test_near_duplicates_are_as_near_as_is_said(
    fleetnet: Run, shapes: Path, more: Path, run_folder: Path, tmp_path: Path
) -> None:
    command = ["distill", shapes, "-t", run_folder, "-m", STUDENT, "--unlabelled", more, *words()]
    clean = ("--distance", "0", "--step", "clean", "-o", tmp_path / "out")
    result = fleetnet(*command, *clean)
    assert result.code == 0, result
    rows = (tmp_path / "out" / "pool" / "removed.tsv").read_text().splitlines()[1:]
    assert len(rows) < COPIES  # two of them differ in two bits
    assert json.loads((tmp_path / "out" / "distill.json").read_text())["distance"] == 0
    fleetnet(*command, "--distance", "13", "-o", tmp_path / "far").assert_one_line("--distance")


def test_bad_input_gets_one_line(
    fleetnet: Run, shapes: Path, run_folder: Path, tmp_path: Path
) -> None:
    command = ["distill", shapes, "-m", STUDENT, "-o", tmp_path / "out", *words()]
    fleetnet(*command, "-t", "nothing").assert_one_line("'nothing' is neither a file nor a network")
    nowhere = ("--unlabelled", tmp_path / "none")
    fleetnet(*command, "-t", run_folder, *nowhere).assert_one_line("does not exist")
    without = fleetnet(*command, "-t", run_folder, "--step", "teacher")
    without.assert_one_line("--step teacher", "--teacher self")
    assert not (tmp_path / "out").exists()  # so the right words can follow
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "distill.json").write_text("{")
    fleetnet(*command, "-t", run_folder).assert_one_line("distill.json cannot be read", "--output")


@pytest.mark.parametrize(
    ("file", "text", "shown"),
    [
        ("pool.json", "{", "pool.json is damaged"),
        ("pool.json", '{"format": 2}', "another version"),
        ("pool.json", '{"format": 1, "source": {}, "splits": [9], "fingerprint": ""}', "damaged"),
        ("chosen.tsv", "ellipse\t/x.jpg\n", "chosen.tsv, line 1"),
    ],
)
def test_damaged_pools_are_refused(
    fleetnet: Run, shapes: Path, tmp_path: Path, file: str, text: str, shown: str
) -> None:
    from fleetnet.data.sources.pool import write_pool

    source = open_source(str(shapes))
    write_pool(tmp_path, source, np.zeros(36, np.int8), ["/a.jpg"], np.array([1]))
    assert open_source(str(tmp_path)).samples[36].label == 1
    (tmp_path / file).write_text(text)
    fleetnet("data", "check", tmp_path).assert_one_line(shown)
