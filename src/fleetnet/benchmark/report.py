"""Results as files: JSON for programs, Markdown and pictures for people."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from fleetnet.benchmark.results import Results
from fleetnet.benchmark.tables import every_cell_table, tables
from fleetnet.errors import FleetnetError
from fleetnet.files import atomic_file, write_error
from fleetnet.json_text import json_text

JSON, MARKDOWN = "results.json", "results.md"


def check_output(folder: Path) -> None:
    """Make the folder before any work is done, so that its results can be written.

    Raises:
        FleetnetError: it is a file, or cannot be made or written to.
    """
    if folder.exists() and not folder.is_dir():
        raise FleetnetError(f"{folder} is a file: output= takes a folder", arguments=["output"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from None
    with atomic_file(folder / ".writable"):
        pass
    (folder / ".writable").unlink(missing_ok=True)


def write_report(
    results: Results, folder: Path, warn: Callable[[str], None] = lambda _line: None
) -> list[Path]:
    """Write the results to a folder, over those of an earlier run.

    Args:
        results: what to write.
        folder: that :func:`check_output` has checked.
        warn: called with the reason if pictures are not drawn.

    Returns:
        The files that were written.

    Raises:
        FleetnetError: the folder cannot be written to.
    """
    pictures = _draw(results, folder, warn)
    _write(folder / JSON, json_text(results.to_json()) + "\n")
    _write(folder / MARKDOWN, markdown(results, [picture.name for picture in pictures]))
    return [folder / JSON, folder / MARKDOWN, *pictures]


def markdown(results: Results, pictures: list[str]) -> str:
    """Return the tables as a Markdown page that shows the pictures in the same folder."""
    whole = every_cell_table(results).markdown().partition("\n\n")[2]
    parts = [
        "# Benchmark",
        "Written by `fleetnet bench`; `docs/benchmark.md` says how it measures and how to read it.",
        *(f"![{name.removesuffix('.png').replace('_', ' over ')}]({name})" for name in pictures),
        *(table.markdown() for table in tables(results)),
        f"<details><summary>Every figure</summary>\n\n{whole}\n\n</details>",
    ]
    return "\n\n".join(parts) + "\n"


def _draw(results: Results, folder: Path, warn: Callable[[str], None]) -> list[Path]:
    if importlib.util.find_spec("matplotlib") is None:
        warn("no pictures: they need matplotlib (pip install 'fleetnet[report]')")
        return []
    from fleetnet.benchmark import plots

    if not plots.drawable(results):
        warn("no pictures: none of these networks has a published accuracy")
        return []
    return plots.draw_all(results, folder)


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, "utf-8")
