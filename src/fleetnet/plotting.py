"""How every plot looks that is written as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fleetnet.errors import DataError, nearest, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRID = "#dddddd"
FORMATS = ("png", "svg", "pdf")


def quiet(axes: Axes) -> None:
    """Leave a pale grid behind what is drawn, and no frame on the sides that have no scale."""
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def check_plot(file: Path, formats: Sequence[str] = FORMATS) -> None:
    """Check, before any work, that a picture can be drawn to ``file``.

    Args:
        file: to write.
        formats: what its name may end in.

    Raises:
        DataError: another format.
        FleetnetError: matplotlib is not installed.
    """
    kind = file.suffix.removeprefix(".").lower()
    if kind not in formats:
        raise DataError(
            f"cannot draw '{file}'{nearest(kind, formats)}: its name must end in "
            f"{', '.join(f'.{known}' for known in formats)}"
        )
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError:
        raise require("matplotlib", "report", "drawing curves") from None
