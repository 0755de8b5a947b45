"""The widest network of a shape that a budget allows."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from fleetnet.errors import FleetnetError
from fleetnet.models.description import Description, Row
from fleetnet.models.mobilenetv2 import STAGES
from fleetnet.study.ramps import Shape

_LEAST_CHANNELS, _MOST_CHANNELS = 4, 1024
LEAST_SIZE, MOST_SIZE = 32, 1024
"""Sides of the images, in pixels."""
_HALVINGS = 40
EXPANSION = 6


class Budget(BaseModel):
    """What a network may cost at most.

    Attributes:
        parameters: that train.
        macs: multiply-adds for an image.
        classes: length of the logits.
        size: side of the images in pixels.
        stem: channels of the first convolution.
        head: channels before the classifier.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    parameters: int = Field(ge=1)
    macs: int = Field(ge=1)
    classes: int = Field(ge=1)
    size: int = Field(ge=LEAST_SIZE, le=MOST_SIZE)
    stem: int = 16
    head: int = 256


def check_size(size: int) -> None:
    """Refuse images of another size than a study takes.

    Raises:
        FleetnetError: they are smaller or larger.
    """
    if not LEAST_SIZE <= size <= MOST_SIZE:
        raise FleetnetError(
            f"a study takes images of {LEAST_SIZE} to {MOST_SIZE} pixels a side, not size='{size}'",
            arguments=["size"],
        )


def widest(shape: Shape, budget: Budget) -> Description:
    """Return the network of a shape, scaled until a limit of the budget is reached.

    Raises:
        FleetnetError: the narrowest network is above the budget.
    """
    low, high = 0.0, _MOST_CHANNELS / max(shape.widths)
    if not _fits(described(shape, low, budget), budget):
        costs = described(shape, low, budget).costs(budget.classes)
        raise FleetnetError(
            f"no network of {shape.name} is as small as params='{budget.parameters}' and "
            f"macs='{budget.macs}': the narrowest has {costs.parameters:,} and {costs.macs:,}",
            arguments=["params", "macs"],
        )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _fits(described(shape, middle, budget), budget):
            low = middle
        else:
            high = middle
    return described(shape, low, budget)


def described(shape: Shape, scale: float, budget: Budget) -> Description:
    """Return the network of a shape with its widths times ``scale``."""
    strides = [
        stage.stride if repeat == 0 else 1 for stage in STAGES for repeat in range(stage.repeats)
    ]
    rows = tuple(
        Row(
            channels=max(round(width * scale), _LEAST_CHANNELS),
            stride=stride,
            expand=EXPANSION if index else 1,
        )
        for index, (width, stride) in enumerate(zip(shape.widths, strides, strict=True))
    )
    return Description(
        name=shape.name.replace(" ", "_"),
        size=budget.size,
        stem=budget.stem,
        head=budget.head,
        shortcut="partial",
        blocks=rows,
    )


def _fits(description: Description, budget: Budget) -> bool:
    costs = description.costs(budget.classes)
    return costs.parameters <= budget.parameters and costs.macs <= budget.macs
