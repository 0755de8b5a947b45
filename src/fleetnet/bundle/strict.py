"""What the objects of a manifest have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """An object of a manifest, with no other fields, so that misspelt ones are found."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
