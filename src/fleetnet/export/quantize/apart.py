"""A layer whose values are not those of the network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Apart:
    """A layer whose values are off.

    Attributes:
        layer: its name.
        share: root mean square of the differences, as a share of that of the values.
        much: whether that is more than rounding leaves; if not, no layer is off by so much, and
            this is the one that is off most.
    """

    layer: str
    share: float
    much: bool

    def __str__(self) -> str:
        """Return what a refusal says of it."""
        if self.much:
            return (
                f"the first layer that is off is '{self.layer}', by {self.share:.2g} of its values"
            )
        return (
            f"no single layer is off by much: it builds up, to {self.share:.2g} of the values in "
            f"'{self.layer}'"
        )
