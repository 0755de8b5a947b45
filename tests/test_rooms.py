"""Every room of the package falls under the rules for imports, those that are added later too."""

import tomllib
from pathlib import Path
from typing import Any

from samples import ROOT

WITH_A_FRAMEWORK = {
    "cli",
    "classifier",
    "data",
    "export",
    "models",
    "study",
    "trained",
    "training",
    "weights",
    "yaml_text",
}
"""Rooms of which some files need PyTorch, onnx or PyYAML: each imports it where it is used."""


def contract(words: str) -> Any:
    """Return import-linter's contract with these words in its name."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    return next(one for one in contracts if words in one["name"])


def rooms() -> set[str]:
    """Return the names of the package's files and folders of code."""
    inside = Path(ROOT / "src" / "fleetnet").iterdir()
    names = {
        path.stem for path in inside if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    return {name for name in names if not name.startswith("__")}


def test_every_room_is_held_to_need_no_framework_or_listed_as_needing_one() -> None:
    held = {
        name.removeprefix("fleetnet.") for name in contract("no deep-learning")["source_modules"]
    }
    assert held == rooms() - WITH_A_FRAMEWORK
