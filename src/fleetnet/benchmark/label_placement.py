"""Placing the labels of a chart's points so that each can be read."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

Boxes = npt.NDArray[np.float64]
"""``float64[N, 4]``: left, bottom, right and top, in pixels."""

_DISTANCES = (3, 8, 16, 28, 42)
"""From a marker's edge to its label, in points."""
_DIRECTIONS = (
    (1.0, -0.6), (1.0, 0.0), (-1.0, 0.6), (0.0, -1.0), (0.0, 1.0), (1.0, 0.6), (-1.0, 0.0),
    (-1.0, -0.6),
)  # fmt: skip
"""From a marker to its label; on rising curves the first ones are mostly free."""
_FAR = 10
"""Points beyond which a thin line joins a label to its marker."""
_TRIES = 80
_MARGIN = 2.0


@dataclass(frozen=True)
class Label:
    """A label to write beside a marker.

    Attributes:
        text: what to write.
        x: of the marker, in data.
        y: of the marker, in data.
        radius: of the marker, in points.
    """

    text: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class _Place:
    """A place for one label: its box in pixels, and matplotlib's arguments for it."""

    box: Boxes
    offset: tuple[float, float]
    side: str
    far: bool


def place_labels(axes: Axes, labels: Sequence[Label], fontsize: float = 8.5) -> None:
    """Write labels where they cover neither markers, nor lines, nor the legend, nor each other.

    One after another takes the nearest free place; of many random orders the best is kept. The
    figure's layout must be final.
    """
    places = [_places(axes, label, fontsize) for label in labels]
    fixed = _obstacles(axes)
    inside = np.array(axes.get_window_extent().extents)
    # How much a place covers of things that do not move is the same in every order.
    costs = [
        np.array([_covered(place.box, fixed) + _outside(place.box, inside) for place in row])
        for row in places
    ]
    best: tuple[float, list[int]] | None = None
    for number in range(_TRIES):
        order = list(range(len(labels)))
        random.Random(number).shuffle(order)  # noqa: S311 - not a secret
        found = _in_turn(order, places, costs)
        if best is None or found[0] < best[0]:
            best = found
    for label, row, choice in zip(labels, places, best[1] if best else [], strict=True):
        _write(axes, label, row[choice], fontsize)


def _in_turn(
    order: Sequence[int], places: Sequence[Sequence[_Place]], costs: Sequence[Boxes]
) -> tuple[float, list[int]]:
    """Place the labels in ``order``; return the cost of all and the index of each one's place."""
    chosen = [0] * len(order)
    taken = np.empty((0, 4))
    total = 0.0
    for index in order:
        row = places[index]
        cost = costs[index] + [_covered(place.box, taken) for place in row]
        # Of equally free places the earlier one, which is nearer.
        cost = cost + 0.5 * np.arange(len(row))
        chosen[index] = int(cost.argmin())
        total += float(cost.min())
        taken = np.vstack([taken, row[chosen[index]].box])
    return total, chosen


def _places(axes: Axes, label: Label, fontsize: float) -> list[_Place]:
    scale = _pixels_a_point(axes)
    probe = axes.annotate(label.text, (label.x, label.y), fontsize=fontsize)
    extent = probe.get_window_extent()
    probe.remove()
    width, height = extent.width, extent.height
    x, y = axes.transData.transform((label.x, label.y))
    found = []
    for distance, (right, up) in itertools.product(_DISTANCES, _DIRECTIONS):
        reach = label.radius + distance
        # Above and below, the middle of the text is half its height further away.
        rise = up * (reach + (height / scale / 2 if not right else 0.0))
        offset = (right * reach, rise)
        left = x + offset[0] * scale - {1.0: 0.0, 0.0: width / 2, -1.0: width}[right]
        bottom = y + offset[1] * scale - height / 2
        box = np.array([left, bottom, left + width, bottom + height])
        side = {1.0: "left", 0.0: "center", -1.0: "right"}[right]
        found.append(
            _Place(box + _MARGIN * np.array([-1, -1, 1, 1]), offset, side, distance > _FAR)
        )
    return found


def _write(axes: Axes, label: Label, place: _Place, fontsize: float) -> None:
    axes.annotate(
        label.text,
        (label.x, label.y),
        place.offset,
        textcoords="offset points",
        fontsize=fontsize,
        horizontalalignment=place.side,
        verticalalignment="center",
        arrowprops={"arrowstyle": "-", "color": "#888888", "linewidth": 0.7} if place.far else None,
        zorder=4,
    )


def _obstacles(axes: Axes) -> Boxes:
    """Return the boxes of markers and of the legend, and small ones that cover the lines."""
    legend = axes.get_legend()
    boxes = [np.array(legend.get_window_extent().extents)] if legend else []
    scale = _pixels_a_point(axes)
    for collection in cast("list[PathCollection]", list(axes.collections)):
        centres = axes.transData.transform(np.asarray(collection.get_offsets()))
        for (x, y), area in zip(centres, collection.get_sizes(), strict=True):
            half = np.sqrt(area) / 2 * scale
            boxes.append(np.array([x - half, y - half, x + half, y + half]))
    for line in axes.lines:
        ends = axes.transData.transform(np.column_stack(line.get_data()))
        for start, end in itertools.pairwise(ends):
            steps = max(2, int(np.hypot(*(end - start)) / 4))
            for x, y in np.linspace(start, end, steps):
                boxes.append(np.array([x - 1, y - 1, x + 1, y + 1]))
    return np.array(boxes).reshape(-1, 4)


def _covered(box: Boxes, others: Boxes) -> float:
    """Return the sum of the areas that ``box`` shares with each of the others."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    return float(np.prod(np.clip(high - low, 0, None), axis=1).sum())


def _outside(box: Boxes, inside: Boxes) -> float:
    area = float(np.prod(box[2:] - box[:2]))
    return area - _covered(box, inside[None])


def _pixels_a_point(axes: Axes) -> float:
    figure = axes.get_figure(root=True)
    assert figure is not None  # noqa: S101 - axes belong to one
    return figure.dpi / 72
