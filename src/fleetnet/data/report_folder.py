"""The folder of a data check's report: the sheets, and ``report.json`` beside them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fleetnet.data.contact_sheet import SHEET_NAME
from fleetnet.data.findings import FORMAT, Report
from fleetnet.data.sources import Source
from fleetnet.errors import DataError
from fleetnet.files import atomic_file

REPORT = "report.json"
IN_THE_DATA = "in-the-data"
"""Code of the error about a folder that lies in the data."""


def usual_folder(source: Source) -> Path:
    """Return ``data-check/NAME``, NAME being what the data are called."""
    words = [Path(source.spec.get("data", "")).name, source.spec.get("label", "")]
    name = re.sub(r"[^\w.-]+", "-", "-".join(word for word in words if word)).strip(".-")
    return Path("data-check") / (name or "data")


def prepare_folder(folder: Path, source: Source) -> None:
    """Refuse a folder that is not for this, and take an older check's sheets out of it.

    Raises:
        DataError: it lies in the data, is no folder, or holds other things.
    """
    data = Path(source.spec.get("data", ""))
    if data.is_dir() and folder.resolve().is_relative_to(data.resolve()):
        raise DataError(
            f"{folder} lies in the data itself: choose another output=",
            code=IN_THE_DATA,
            file=str(folder),
            arguments=["output"],
        )
    try:
        entries = list(folder.iterdir()) if folder.exists() else []
        if entries and not _is_report(folder / REPORT):
            raise DataError(
                f"{folder} holds other files: choose another output=",
                file=str(folder),
                arguments=["output"],
            )
        for entry in entries:
            if SHEET_NAME.fullmatch(entry.name):
                entry.unlink()
    except OSError as error:
        raise DataError(
            f"cannot use {folder}: {error.strerror}; choose another output=",
            file=str(folder),
            arguments=["output"],
        ) from None


def write_report(folder: Path, report: Report) -> Path:
    """Write ``report.json`` to a folder, and return its path.

    Raises:
        FleetnetError: the disk is full, or the place cannot be written to.
    """
    path = folder / REPORT
    with atomic_file(path) as file:
        file.write_text(json.dumps(report.to_json(), indent=2) + "\n", "utf-8")
    return path


def _is_report(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8", errors="replace") as text:
            return f'"format": "{FORMAT}"' in text.read(200)
    except OSError:
        return False
