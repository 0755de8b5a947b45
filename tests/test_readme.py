"""What the README says is so."""

import json
import re
from pathlib import Path

import pytest

from conftest import Run
from fleetnet.bundle import Bundle
from samples import ROOT

READMES = ("README.md", "README.zh-CN.md")


@pytest.mark.slow
def test_the_model_table_is_what_the_command_prints(fleetnet: Run) -> None:
    text = (ROOT / "docs" / "networks.md").read_text("utf-8")
    rows = [row for row in json.loads(fleetnet("models", "--json").out) if row["published"]]
    assert len(rows) >= 12
    for row in rows:
        published, computed = row["published"], row["computed"]
        top5 = f"{published['top5'] * 100:.2f}" if "top5" in published else "–"
        line = (
            f"| `{row['name']}` | {published['top1'] * 100:.2f} | {top5} | "
            f"{computed['params'] / 1e6:.3f} | {computed['multiply_adds'] / 1e9:.3f} |"
        )
        assert line in text


@pytest.mark.parametrize("readme", READMES)
def test_it_fits_on_five_screens(readme: str) -> None:
    text = (ROOT / readme).read_text("utf-8")
    assert len(text.splitlines()) <= 200
    assert len(text.split()) <= 1300


@pytest.mark.parametrize("readme", READMES)
def test_it_names_the_commands_that_set_up_and_test(readme: str) -> None:
    lines = (ROOT / readme).read_text("utf-8").splitlines()
    assert {"make demo", "make test"} <= set(lines)


def test_the_figures_of_speed_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "speed.md").read_text("utf-8")
    figure = r"\d+\.\d+ \(\d+\.\d+–\d+\.\d+\)"
    for readme in READMES:
        found = re.findall(figure, (ROOT / readme).read_text("utf-8"))
        assert len(found) > 15
        assert set(found) <= set(re.findall(figure, page))


@pytest.mark.parametrize("readme", READMES)
def test_the_python_runs(
    readme: str,
    bundle: Bundle,
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / readme).read_text("utf-8"), re.DOTALL)
    (tmp_path / "model.bundle").symlink_to(bundle.path)
    (tmp_path / "one.jpg").symlink_to(shapes / "circle" / "000.jpg")
    (tmp_path / "two.png").symlink_to(shapes / "square" / "003.png")
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # noqa: S102 - our own README
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("one.jpg ")
    assert second.startswith("two.png ")


def test_make_targets_exist() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    for readme in (*READMES, "CONTRIBUTING.md"):
        for target in re.findall(
            r"(?:`|^)make ([a-z-]+)", (ROOT / readme).read_text("utf-8"), re.MULTILINE
        ):
            assert re.search(rf"^{target}:", text, re.MULTILINE), target


def test_the_ci_calls_exactly_the_test_command() -> None:
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    commands = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]
    assert commands == ["make test"]
