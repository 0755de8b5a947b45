from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fleetnet.evaluation.history import clean_history, read_history

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


def test_records_are_sorted_by_epoch_and_the_last_of_an_epoch_counts() -> None:
    records = [{"epoch": 2, "top1": 0.5}, {"epoch": 1, "top1": 0.1}, {"epoch": 2, "top1": 0.6}]
    assert clean_history(records) == [{"epoch": 1, "top1": 0.1}, {"epoch": 2, "top1": 0.6}]


def test_figures_that_are_not_finite_are_left_out() -> None:
    record = {"epoch": 1, "top1": float("nan"), "lr": "fast", "flag": True, "n": 10**400}
    assert clean_history([record, {"top1": 1}, 7, None]) == [{"epoch": 1.0}]
    for nothing in (None, 5, "text", {"epoch": 1}):
        assert clean_history(nothing) == []


@given(json_values)
def test_no_content_of_the_file_raises(value: object) -> None:
    clean_history(value)


def test_the_file_that_training_leaves(tmp_path: Path, run_folder: Path) -> None:
    history = read_history(run_folder)
    assert [row["epoch"] for row in history] == [1, 2]
    assert {"lr", "train_loss", "train_top1", "top1"} <= history[0].keys()
    assert read_history(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_bytes(b'{"epoch": 1}\nnonsense\n[[[\n')
    assert read_history(tmp_path) == [{"epoch": 1.0}]
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff\xfe")
    assert read_history(tmp_path) == []
