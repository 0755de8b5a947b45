"""What was measured in rounds: a table for people, and a file of every round's figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleetnet.measuring import spread


def report(
    rounds: Sequence[Mapping[str, float]], heading: tuple[str, str], form: str, file: Path | None
) -> None:
    """Print the median and the range of each figure as Markdown, and keep all of them.

    Args:
        rounds: figures by their names; one round at least, each with the same names.
        heading: of the names and of the figures.
        form: of a number, as :func:`format` takes it.
        file: for the rounds as JSON; None for none.
    """
    print(f"| {heading[0]} | {heading[1]} |\n| --- | ---: |")
    for name in rounds[0]:
        print(f"| {name} | {spread([one[name] for one in rounds]).with_range(form)} |")
    if file is not None:
        file.write_text(json.dumps(list(rounds), indent=2) + "\n", "utf-8")
