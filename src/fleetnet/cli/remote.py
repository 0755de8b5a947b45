"""A server in place of a model: ``http://host:8000/model``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from fleetnet.cli.flags import flag
from fleetnet.errors import FleetnetError
from fleetnet.inference.prediction import Prediction

TOKEN = "FLEETNET_TOKEN"  # noqa: S105 - the name of a variable
"""The variable with the token; a flag would show it to whoever lists processes."""
_ADDRESS = re.compile(r"(https?://[^/?#]*(?:/.*)?)/([^/?#]+)/?")


def is_address(model: str) -> bool:
    """Tell whether a model is a server's."""
    return model.startswith(("http://", "https://"))


def predictions_of(
    model: str, images: Iterable[str], top_k: int, *, at_once: bool, **options: object
) -> Iterator[Prediction]:
    """Ask a server for its answers, in order.

    Args:
        model: its address, with the model's name as the last part of the path; without a path for
            the only model.
        images: paths, ``-`` for standard input.
        top_k: how many classes to name.
        at_once: have several requests under way.
        options: that say how to compute here; none may be given.

    Raises:
        FleetnetError: one is; or the server gives no answer.
    """
    from fleetnet.client import Client

    for name, value in options.items():
        if value:
            raise FleetnetError(f"{flag(name)} is the server's choice: leave it out")
    found = _ADDRESS.fullmatch(model)
    address, name = (found[1], unquote(found[2])) if found else (model, "")
    with Client(address, model=name, token=os.environ.get(TOKEN) or None) as client:
        yield from client.classify_many(images, top_k=top_k, concurrency=8 if at_once else 1)
