"""Settings of a recipe that go together, by one number."""

from __future__ import annotations

RESIZE_TO_CROP = 8 / 7
"""Images are resized to so much more than the crop: 256 for 224."""


def shorthands(epochs: int | None = None, size: int | None = None) -> list[str]:
    """Return settings of a recipe, each ``KEY=VALUE``.

    Args:
        epochs: how many; None for the recipe's own.
        size: side of the input in pixels; None for the recipe's own.
    """
    settings = [] if epochs is None else [f"epochs={epochs}"]
    if size is not None:
        settings += [f"input.crop={size}", f"input.resize={round(size * RESIZE_TO_CROP)}"]
    return settings
