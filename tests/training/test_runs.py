import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.errors import DataError
from fleetnet.evaluation.history import parse_line, read_history
from fleetnet.training.runs import differing, find_runs, read_run
from samples import SMALL_LR


def make_run(
    folder: Path,
    top1: list[float],
    *,
    recipe: dict[str, Any] | None = None,
    description: dict[str, Any] | None = None,
) -> Path:
    """Write what training writes, but the checkpoints."""
    folder.mkdir(parents=True)
    values = {"name": "finetune", "epochs": 30, "optimizer": {"lr": 0.03}, **(recipe or {})}
    (folder / "recipe.yaml").write_text(json.dumps(values))  # JSON is YAML
    lines = [
        {"epoch": epoch, "lr": 0.1, "train_loss": 1 / epoch, "train_top1": 0.5, "top1": value,
         "top5": 1.0, "images_per_s": 100.0 + epoch, "seconds": 2.5}
        for epoch, value in enumerate(top1, 1)
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if description is not None:
        (folder / "run.json").write_text(json.dumps({**description, "recipe": values}))
    return folder


def test_what_training_writes_is_read_back(run_folder: Path) -> None:
    (run,) = find_runs([run_folder], pytest.fail)
    assert run.epochs_planned == 2
    assert [record["epoch"] for record in run.history] == [1, 2]
    assert run.settings["optimizer.lr"] == SMALL_LR
    assert run.settings["optimizer.betas"] == [0.9, 0.999]
    assert run.best is not None
    assert run.best["top1"] == max(record["top1"] for record in run.history)


def test_runs_are_found_at_any_depth_the_best_first(tmp_path: Path) -> None:
    make_run(tmp_path / "b", [0.5, 0.7, 0.7])
    make_run(tmp_path / "deep" / "er" / "a", [0.9, 0.8])
    make_run(tmp_path / "none", [])
    make_run(tmp_path / ".hidden", [1.0])
    (tmp_path / "other").mkdir()
    runs = find_runs([tmp_path], pytest.fail)
    assert [run.path.name for run in runs] == ["a", "b", "none"]
    assert [run.best and run.best["epoch"] for run in runs] == [1, 2, None]
    assert runs[1].last("top1") == 0.7
    assert runs[1].seconds == 7.5
    assert runs[1].images_per_s == 102
    assert runs[2].images_per_s is None


def test_a_description_is_used_where_there_is_one(tmp_path: Path) -> None:
    description = {"model": "ReXNet_1_0", "data": "folder x", "classes": 3}
    path = make_run(tmp_path / "a", [0.5], description=description)
    (path / "recipe.yaml").unlink()
    run = read_run(path, pytest.fail)
    assert (run.model, run.data, run.recipe) == ("ReXNet_1_0", "folder x", "finetune")
    assert run.to_json()["classes"] == 3
    without = read_run(make_run(tmp_path / "b", [0.5]), pytest.fail)
    assert (without.model, without.data, without.recipe) == (None, None, "finetune")


def test_only_settings_that_differ_are_listed(tmp_path: Path) -> None:
    paths = [
        make_run(tmp_path / "a", [0.5], recipe={"seed": 1, "optimizer": {"lr": 0.1}}),
        make_run(tmp_path / "b", [0.5], recipe={"seed": 1, "optimizer": {"lr": 0.2, "eps": 1}}),
    ]
    runs = [read_run(path, pytest.fail) for path in paths]
    assert differing(runs) == ["optimizer.lr", "optimizer.eps"]
    assert differing(runs[:1]) == []


@pytest.mark.parametrize("rest", ['{"epoch": 3, "top1": 0.', "\0\0\0", '{"top1": 1}\n', "[1]\n\n"])
def test_a_damaged_last_line_is_left_out_with_a_warning(tmp_path: Path, rest: str) -> None:
    path = make_run(tmp_path / "a", [0.5, 0.6])
    with (path / "metrics.jsonl").open("a") as file:
        file.write(rest)
    warnings: list[str] = []
    run = read_run(path, warnings.append)
    assert len(run.history) == 2
    (warning,) = warnings
    assert "metrics.jsonl: line 3 is damaged (the last one: was the run cut off?)" in warning


def test_a_damaged_line_in_the_middle_is_left_out_with_a_warning(tmp_path: Path) -> None:
    path = make_run(tmp_path / "a", [0.5, 0.6, 0.7])
    lines = (path / "metrics.jsonl").read_text().splitlines()
    (path / "metrics.jsonl").write_text("\n".join([lines[0], "junk", lines[2]]))
    warnings: list[str] = []
    run = read_run(path, warnings.append)
    assert [record["epoch"] for record in run.history] == [1, 3]
    assert read_history(path) == list(run.history)  # as a report shows it
    assert warnings == [f"{path / 'metrics.jsonl'}: line 2 is damaged and left out"]


def test_of_an_epoch_written_twice_the_later_counts(tmp_path: Path) -> None:
    path = make_run(tmp_path / "a", [0.5, 0.6])
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "top1": 0.8}\n{"epoch": 3, "top1": NaN, "new": 1, "word": "x"}\n')
    run = read_run(path, pytest.fail)
    assert [record["epoch"] for record in run.history] == [1, 2, 3]
    assert run.best == {"epoch": 2, "top1": 0.8}
    assert json.loads(json.dumps(run.to_json(), allow_nan=False))["last"] == {
        "epoch": 3,
        "top1": None,
        "new": 1,
    }


@given(st.text() | st.builds(json.dumps, st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["epoch", "top1", "x"]), inner, max_size=3),
)))  # fmt: skip
def test_no_line_breaks_the_reader(line: str) -> None:
    record = parse_line(line)
    assert record is None or isinstance(record["epoch"], float)


def test_numbers_beyond_a_floats_are_damage() -> None:
    assert parse_line('{"epoch": 1, "top1": 1' + "0" * 400 + "}") is None
    assert parse_line('{"epoch": 1' + "0" * 5000 + "}") is None


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghij", "bcdefghijk", strict=True)
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("recipe.yaml", b"a: [", "recipe.yaml is not a recipe"),
        ("recipe.yaml", b"- 1", "recipe.yaml is not a recipe"),
        ("recipe.yaml", b"!!python/object/apply:os.system [ls]", "recipe.yaml is not a recipe"),
        ("recipe.yaml", b"\xff\xfe\x00", "recipe.yaml is not"),
        ("recipe.yaml", b"[" * 100_000, "recipe.yaml is not a recipe"),
        ("run.json", b"{", "run.json is not JSON"),
        ("run.json", b"[]", "run.json is not a description"),
        ("run.json", b"[" * 1_000_000, "run.json is not JSON"),
        ("metrics.jsonl", b"\xff\xfe", "metrics.jsonl is not UTF-8 text"),
    ],
)
def test_a_run_that_cannot_be_read_is_left_out_and_named(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    make_run(tmp_path / "good", [0.5])
    bad = make_run(tmp_path / "bad", [0.5])
    (bad / name).write_bytes(content)
    warnings: list[str] = []
    assert [run.path.name for run in find_runs([tmp_path], warnings.append)] == ["good"]
    (warning,) = warnings
    assert words in warning
    assert warning.endswith("; it is left out")


def test_a_recipe_that_unfolds_without_end_is_read_flat(tmp_path: Path) -> None:
    path = make_run(tmp_path / "a", [0.5])
    (path / "recipe.yaml").write_text(f"name: bomb\nl: &l {{l: *l}}\n{BOMB}")
    run = read_run(path, pytest.fail)
    assert run.settings == {"name": "bomb", "a": ["x"] * 9}


def test_huge_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetnet.evaluation.history.MAX_BYTES", 100)
    path = make_run(tmp_path / "a", [0.5] * 9)
    with pytest.raises(DataError, match=r"metrics\.jsonl is larger than"):
        read_run(path, pytest.fail)
    assert read_history(path) == []


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    real = make_run(tmp_path / "elsewhere" / "a", [0.5])
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "linked").symlink_to(real)
    (runs / "again").symlink_to(real)
    (runs / "loop").symlink_to(runs)
    (runs / "self").symlink_to("self")
    (runs / "nowhere").symlink_to(tmp_path / "nothing")
    warnings: list[str] = []
    assert len(find_runs([runs, runs, real], warnings.append)) == 1


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "a", [0.5])
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refuse(path: Path) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    warnings: list[str] = []
    assert len(find_runs([tmp_path], warnings.append)) == 1
    assert warnings == [f"cannot read {tmp_path / 'locked'}: Permission denied; it is left out"]


def test_no_runs_and_no_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no runs in"):
        find_runs([tmp_path], pytest.fail)
    with pytest.raises(DataError, match="does not exist"):
        find_runs([tmp_path / "x"], pytest.fail)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is not a folder"):
        find_runs([tmp_path / "file"], pytest.fail)
