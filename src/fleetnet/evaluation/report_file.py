"""Where a report may be written."""

from __future__ import annotations

from pathlib import Path

from fleetnet.errors import FleetnetError, require_all

ENDINGS = (".html", ".htm", ".xhtml")


def check_report(path: Path) -> None:
    """Refuse before the work what would fail after it.

    Raises:
        FleetnetError: a package that reports need is absent, or ``path`` is a folder, or no name of
            an HTML file.
    """
    require_all(("jinja2", "matplotlib"), "report", "writing a report")
    if path.is_dir():
        raise FleetnetError(f"{path} is a folder: name a file to write the report to")
    if path.suffix.lower() not in ENDINGS:
        raise FleetnetError(f"{path}: a report is an HTML file: name one that ends in .html")
