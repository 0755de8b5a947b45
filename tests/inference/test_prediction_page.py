"""What docs/prediction.md shows runs."""

import re
from pathlib import Path

import pytest

from fleetnet.bundle import Bundle
from samples import ROOT

PAGE = (ROOT / "docs" / "prediction.md").read_text("utf-8")
BLOCKS = [code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "predict" in code]


@pytest.mark.parametrize("code", BLOCKS)
def test_the_python_runs(
    code: str,
    bundle: Bundle,
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "model.bundle").symlink_to(bundle.path)
    monkeypatch.chdir(tmp_path)
    paths = [*sorted(shapes.glob("*/*"))[:12], tmp_path / "none.jpg"]
    exec(code, {"paths": paths})  # noqa: S102 - our own page
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(map(str, paths))
    assert all(line.split()[1] in bundle.manifest.classes for line in lines[:12])


def test_the_page_shows_threads_and_tasks() -> None:
    assert len(BLOCKS) == 3
