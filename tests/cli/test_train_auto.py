"""``fleetnet train --auto`` from the command line; its clock counts the images that are read."""

import itertools
import json
from pathlib import Path

import pytest

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.cli import train_auto
from fleetnet.data.sources.files import ImageFiles
from fleetnet.training.search import opening
from fleetnet.training.search.candidates import Candidate
from samples import make_folder

QUIET = ("--set", "data.workers=0", "--set", "batch_size=8")
TWO = [
    Candidate("MobileNetV2_x0_25", 32, "short", ("optimizer.lr=1e-7",)),
    Candidate("MobileNetV2_x0_25", 32, "short", ("optimizer.lr=0.01",)),
]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a search of two small candidates have a second for each image that is read."""
    reads, read = itertools.count(1), ImageFiles.read
    now = 0

    def counted(source: ImageFiles, index: int) -> bytes:
        nonlocal now
        now = next(reads)
        return read(source, index)

    monkeypatch.setattr(ImageFiles, "read", counted)
    monkeypatch.setattr(train_auto, "CLOCK", lambda: float(now))
    monkeypatch.setattr(opening, "candidates", lambda _side: TWO)


@pytest.mark.usefixtures("counted")
def test_a_search_ends_with_a_verified_bundle_and_a_page(
    fleetnet: Run, shapes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "search"
    command = ("train", shapes, "--auto", "--budget", "600s", "-o", out, *QUIET)
    result = fleetnet(*command, "--json")
    assert result.code == 0, result
    found = json.loads(result.out)
    assert found["best"]["model"] == "MobileNetV2_x0_25"
    assert {one["candidate"] for one in found["tried"]} == {one.title for one in TWO}
    assert found["held_out"]["images"] == 9
    assert found["best"]["seconds"] >= 300
    bundle = Bundle.load(found["bundle"])
    assert bundle.artifacts[0].verification
    page = Path(found["page"]).read_text("utf-8")
    assert "Accuracy over time" in page
    assert TWO[0].title in page
    assert "round 1, 1 of 2: " in result.err
    assert " left" in result.err
    # The figures are those of the bundle, on the same held-out images.
    evaluated = fleetnet("evaluate", bundle.path, shapes, "--split", "val", "--json")
    assert json.loads(evaluated.out)["top1"] == pytest.approx(found["held_out"]["top1"])
    again = fleetnet(*command, "--continue")
    assert again.code == 0, again
    assert "is complete" in again.err
    assert "held out: top-1" in again.out
    fleetnet(*command).assert_one_line("holds a search already", "--continue", "--overwrite")
    other = fleetnet(*command, "--continue", "--set", "seed=1")
    other.assert_one_line("other settings", "--output")


@pytest.mark.usefixtures("counted")
def test_a_search_is_overwritten_once_nothing_is_refused_and_ends_with_its_page(
    fleetnet: Run, shapes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "search"
    for name in ("search.json", "search.html", "tried/1-01/last.ckpt", "winner/last.ckpt"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("of the older search")
    before = contents(out)
    command = ("train", shapes, "--auto", "-o", out, *QUIET, "--budget")
    fleetnet(*command, "600s", "--overwrite", "--set", "epoch=3").assert_one_line("epoch")
    few = make_folder(tmp_path / "few", images=2)
    fleetnet("train", few, *command[2:], "600s", "--overwrite").assert_one_line("splits once more")
    assert fleetnet(*command, "20s", "--overwrite").code == 2
    assert contents(out) == before
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fleetnet.training.search.tried_page.write_page", interrupted)
        assert fleetnet(*command, "600s", "--overwrite").code == 130
    assert not set(contents(out).values()) & set(before.values())
    assert not (out / "search.html").exists()
    again = fleetnet(*command, "600s", "--continue")
    assert again.code == 0, again
    assert "is complete" not in again.err
    assert "Accuracy over time" in (out / "search.html").read_text("utf-8")
    assert "is complete" in fleetnet(*command, "600s", "--continue").err


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def contents(folder: Path) -> dict[str, bytes]:
    """Return what a search has left in its folder, but for the lock."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.usefixtures("counted")
def test_a_budget_for_less_than_an_epoch_is_refused(
    fleetnet: Run, shapes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "search"
    result = fleetnet("train", shapes, "--auto", "--budget", "20s", "-o", out, *QUIET)
    assert result.code == 2
    assert result.err.strip().splitlines()[-1].startswith("error: a budget of 20s is too short")
    assert "--budget" in result.err
    assert "Traceback" not in result.err
    assert not (out / "search.json").exists()


def test_what_is_wrong_is_said_before_the_work(fleetnet: Run, shapes: Path, tmp_path: Path) -> None:
    auto = ("train", shapes, "--auto", "-o", tmp_path / "search")
    fleetnet(*auto, "--budget", "soon").assert_one_line("--budget soon", "30min")
    fleetnet(*auto, "--model", "ReXNet_1_0", "--size", "96").assert_one_line("--model and --size")
    fleetnet(*auto, "--set", "epoch=3").assert_one_line("epoch")
    fleetnet("train", "--auto").assert_one_line("nothing to train on")
    fleetnet("train", shapes, "--auto", "--continue").assert_one_line("--output")
    fleetnet("train", shapes, "--budget", "3min").assert_one_line("--auto")
    fleetnet("train", shapes, "--json").assert_one_line("--auto")
    assert not (tmp_path / "search" / "search.json").exists()
    one = make_folder(tmp_path / "one", classes=("circle",))
    fleetnet("train", one, "--auto", "-o", tmp_path / "of-one").assert_one_line("only one class")
    occupied = tmp_path / "file"
    occupied.write_text("")
    fleetnet("train", shapes, "--auto", "-o", occupied).assert_one_line(str(occupied))


def test_a_class_of_too_few_images_is_named(fleetnet: Run, tmp_path: Path) -> None:
    few = make_folder(tmp_path / "few")
    for path in sorted((few / "circle").iterdir())[2:]:
        path.unlink()
    fleetnet("train", few, "--auto", "-o", tmp_path / "search").assert_one_line(
        "circle", "splits once more"
    )
