"""How every plot looks that is written as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRID = "#dddddd"


def quiet(axes: Axes) -> None:
    """Leave a pale grid behind what is drawn, and no frame on the sides that have no scale."""
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
