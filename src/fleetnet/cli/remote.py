"""A server in place of a model: ``http://host:8000/model``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from fleetnet.cli.flags import flag
from fleetnet.errors import FleetnetError
from fleetnet.image_bytes import StoredImage
from fleetnet.inference.prediction import Prediction

TOKEN = "FLEETNET_TOKEN"  # noqa: S105 - the name of a variable
"""The variable with the token; a flag would show it to whoever lists processes."""
_NO_SCHEME = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}(?:/.*)?")
_ADDRESS = re.compile(r"(https?://[^/?#]*(?:/.*)?)/([^/?#]+)/?")


def is_address(model: str) -> bool:
    """Tell whether a model is a server's.

    Raises:
        FleetnetError: it looks like an address whose scheme is missing, and there is no such file.
    """
    if _NO_SCHEME.fullmatch(model) and not os.path.lexists(model):
        raise FleetnetError(f"there is no file {model}; a server's address is http://{model}")
    return model.startswith(("http://", "https://"))


def predictions_of(
    model: str, images: Iterable[str | StoredImage], top_k: int, *, at_once: bool, **options: object
) -> Iterator[Prediction]:
    """Ask a server for its answers, in order.

    Args:
        model: its address, with the model's name as the last part of the path; without a path for
            the only model.
        images: paths, ``-`` for standard input, or what shards hold.
        top_k: how many classes to name.
        at_once: have several requests under way.
        options: that say how to compute here; none may be given.

    Raises:
        FleetnetError: one is; or the server gives no answer.
    """
    from fleetnet.client import AccessError, Client

    for name, value in options.items():
        if value:
            raise FleetnetError(f"{flag(name)} is the server's choice: leave it out")
    found = _ADDRESS.fullmatch(model)
    address, name = (found[1], unquote(found[2])) if found else (model, "")
    with Client(address, model=name, token=os.environ.get(TOKEN) or None) as client:
        try:
            yield from client.classify_many(images, top_k=top_k, concurrency=8 if at_once else 1)
        except AccessError as error:
            raise FleetnetError(f"{error} (the variable {TOKEN} holds the token)") from None
