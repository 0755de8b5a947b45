"""A network that is a known one with fewer channels, in settings: what pruning leaves.

Importing this does not import PyTorch.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fleetnet.errors import ModelError
from fleetnet.models.description import (
    MOST_BLOCKS,
    NAME,
    Description,
    NetworkSettings,
    Whole,
)

NARROWS = "narrows"
"""The key that tells these settings from those of a whole network."""
_Channels = Annotated[Whole, Field(ge=1, le=65536)]
_Squeezed = Annotated[Whole, Field(ge=0, le=65536)]


class Narrowing(NetworkSettings):
    """A chain of inverted residuals with fewer channels inside its blocks.

    Attributes:
        narrows: name of the network that it was.
        base: the settings of that one, if a file describes it.
        hidden: channels between the 1×1 convolutions of every block.
        squeezed: channels inside squeeze-excitation of every block, 0 for none.
        head: channels of the last 1×1 convolution, which are the width of the embedding.
    """

    narrows: str = Field(pattern=NAME)
    base: Description | None = None
    hidden: tuple[_Channels, ...] = Field(min_length=1, max_length=MOST_BLOCKS)
    squeezed: tuple[_Squeezed, ...] = Field(min_length=1, max_length=MOST_BLOCKS)
    head: _Channels

    def check(self, where: str) -> None:
        """Refuse what narrows no network; whether it fits that one is seen when it is built."""
        from fleetnet.models.registry import find_model, is_described

        if self.base is not None:
            self.base.check(where)
            if self.base.full_name != self.narrows:
                raise ModelError(f"{where}: it narrows {self.narrows!r}, but describes another")
        elif is_described(find_model(self.narrows)):
            raise ModelError(f"{where}: {self.narrows!r} needs its settings, as base")
        if len(self.hidden) != len(self.squeezed):
            raise ModelError(
                f"{where}: hidden has {len(self.hidden)} numbers, squeezed {len(self.squeezed)}; "
                "each has one for every block"
            )


def settings_of(values: object, where: str) -> Description | Narrowing:
    """Check the settings of a network of either kind.

    Raises:
        ModelError: they describe none.
    """
    if isinstance(values, dict) and NARROWS in values:
        return Narrowing.from_values(values, where)
    return Description.from_values(values, where)
