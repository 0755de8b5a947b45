"""A network in settings: rows of inverted residuals, checked before anything is built.

Importing this does not import PyTorch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleetnet.amounts import count
from fleetnet.errors import ModelError, one_line
from fleetnet.schema import facts_of, first_problem

Activation = Literal["relu", "relu6", "silu", "hard-swish", "elu", "leaky-relu"]
"""Those that give 0 for 0, see :class:`fleetnet.models.base.Network`."""
Whole = Annotated[int, Field(strict=True)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
MOST_BLOCKS = 200
MOST_PARAMETERS = 200_000_000
"""Six times the largest network here: a file of a few lines may not ask for all of the memory."""
MOST_MACS = 50_000_000_000
_DIGITS = 12
"""Hexadecimal digits of the hash in a name."""

ROWS = "blocks"
"""The key of the rows in a settings file."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkSettings(_Settings):
    """Settings that stand for one network.

    Attributes:
        name: what people call it.
        size: side in pixels of the images that it is for.
        dropout: before the classifier, where a recipe sets none.
    """

    name: str = Field("custom", pattern=NAME)
    size: Whole = Field(224, ge=32, le=1024)
    dropout: float = Field(0.0, ge=0, lt=1)

    @classmethod
    def from_values(cls, values: object, where: str) -> Self:
        """Check settings; ``where`` names their origin in errors.

        Raises:
            ModelError: an unknown key or a bad value, or a network that cannot be built.
        """
        if not isinstance(values, dict):
            raise ModelError(f"{where} must be a mapping of keys to values", file=where)
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            found = first_problem(error)
            raise ModelError(
                f"{where}: {one_line(f'{found.place}: {found.text}')}",
                file=where,
                key=found.place,
                **facts_of(error),
            ) from None
        settings.check(where)
        return settings

    def check(self, where: str) -> None:
        """Refuse what cannot be built.

        Raises:
            ModelError: it cannot be; the message begins with ``where``.
        """

    def to_values(self) -> dict[str, Any]:
        """Return it as JSON values that :meth:`from_values` takes; defaults are left out."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        return {"name": self.name, **values}

    @property
    def full_name(self) -> str:
        """The name with a hash of the settings: two networks of one name are never confused."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"


class Row(_Settings):
    """One or several inverted residuals that follow each other.

    Attributes:
        channels: of the output.
        repeats: how many blocks; all but the first take ``channels`` and have no stride.
        stride: of the first block.
        expand: channels between the 1×1 convolutions, as a multiple of the input's; with 1 there
            is no first 1×1 convolution.
        kernel: side of the depthwise filters.
        squeeze: squeeze-excitation has ``1 / squeeze`` of the channels that it scales; 0 for none.
    """

    channels: Whole = Field(ge=1, le=4096)
    repeats: Whole = Field(1, ge=1, le=64)
    stride: Whole = Field(1, ge=1, le=2)
    expand: Whole = Field(6, ge=1, le=12)
    kernel: Literal[3, 5, 7] = 3
    squeeze: Whole = Field(0, ge=0, le=64)


class Block(NamedTuple):
    """The numbers of one inverted residual, unrolled."""

    in_channels: int
    out_channels: int
    hidden: int
    stride: int
    expand: bool
    squeezed: int
    shortcut: bool
    kernel_size: int


class Costs(NamedTuple):
    """The size of a network."""

    parameters: int
    """That train."""
    macs: int
    """Multiply-adds of the convolutions and the linear layer for one image."""


class Description(NetworkSettings):
    """A chain of inverted residuals between a stem and a classifier.

    Attributes:
        stem: channels of the first convolution, 3×3 with a stride of 2.
        blocks: the rows, in order.
        head: channels of the last 1×1 convolution, which are the width of the embedding.
        activation: after the stem, the expansions and the head; the depthwise filters have ReLU6.
        shortcut: ``equal`` adds a block's input where it has the output's shape, as MobileNetV2
            does, ``partial`` also where it has fewer channels, as ReXNet does.
    """

    stem: Whole = Field(32, ge=1, le=1024)
    blocks: tuple[Row, ...] = Field(min_length=1, max_length=MOST_BLOCKS)
    head: Whole = Field(1280, ge=1, le=8192)
    activation: Activation = "relu6"
    shortcut: Literal["equal", "partial"] = "equal"

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of every row."""
        return tuple(row.channels for row in self.blocks)

    def check(self, where: str) -> None:
        """Refuse a network that is far too large."""
        blocks = sum(row.repeats for row in self.blocks)
        if blocks > MOST_BLOCKS:
            raise ModelError(f"{where}: {count(blocks, 'block')}; at most {MOST_BLOCKS} are built")
        costs = self.costs()
        for number, most, what in (
            (costs.parameters, MOST_PARAMETERS, "parameters"),
            (costs.macs, MOST_MACS, "multiply-adds for an image"),
        ):
            if number > most:
                raise ModelError(
                    f"{where}: a network of {number / 1e6:,.0f} million {what}; at most "
                    f"{most / 1e6:,.0f} million are built"
                )

    def unrolled(self) -> Iterator[Block]:
        """Yield its blocks."""
        channels = self.stem
        for row in self.blocks:
            for repeat in range(row.repeats):
                stride = row.stride if repeat == 0 else 1
                hidden = channels * row.expand
                fits = row.channels == channels or (
                    self.shortcut == "partial" and row.channels > channels
                )
                yield Block(
                    in_channels=channels,
                    out_channels=row.channels,
                    hidden=hidden,
                    stride=stride,
                    expand=row.expand > 1,
                    squeezed=max(hidden // row.squeeze, 1) if row.squeeze else 0,
                    shortcut=stride == 1 and fits,
                    kernel_size=row.kernel,
                )
                channels = row.channels

    def costs(self, num_classes: int = 1000, size: int | None = None) -> Costs:
        """Count its parameters and multiply-adds without building it.

        Args:
            num_classes: length of the logits.
            size: side of the images; None for its own.
        """
        side = -(-(size or self.size) // 2)
        parameters = self.stem * (27 + 2)
        macs = self.stem * 27 * side**2
        for block in self.unrolled():
            before, side = side, -(-side // block.stride)
            expansion = block.in_channels * block.hidden if block.expand else 0
            depthwise = block.hidden * block.kernel_size**2
            projection = block.hidden * block.out_channels
            squeezes = 2 * block.hidden * block.squeezed
            norms = 2 * (block.hidden * (1 + block.expand) + block.out_channels)
            biases = 3 * block.squeezed + block.hidden if block.squeezed else 0
            parameters += expansion + depthwise + projection + squeezes + norms + biases
            macs += expansion * before**2 + (depthwise + projection) * side**2 + squeezes
            channels = block.out_channels
        classifier = self.head * num_classes
        parameters += self.head * (channels + 2) + classifier + num_classes
        return Costs(parameters, macs + self.head * channels * side**2 + classifier)
