"""A network's figures as its document publishes them, beside those that are computed here."""

from __future__ import annotations

from typing import Any

from fleetnet.models.registry import find_model, published, structure


def figures_of(name: str) -> dict[str, Any]:
    """Return what is known of a network, as JSON values; ``published`` is None if nobody says.

    Multiply-adds count as one operation each: a published figure that counts two is halved.

    Raises:
        ModelError: there is no network of this name.
    """
    computed = structure(name)
    row: dict[str, Any] = {
        "name": name,
        "size": find_model(name).size,
        "computed": {
            "params": computed.trainable,
            "params_with_statistics": computed.total,
            "multiply_adds": computed.macs,
        },
        "published": None,
    }
    if name in published()["models"]:
        figures = dict(published()["models"][name])
        document = published()["documents"][figures.pop("document")]
        operations = figures.pop("gflops", None)
        if operations is not None:
            figures["gmacs"] = round(operations / document["operations_per_multiply_add"], 4)
            figures["gflops_as_printed"] = operations
        figures["operations_per_multiply_add"] = document["operations_per_multiply_add"]
        figures["source"] = document["title"]
        row["published"] = figures
    return row
