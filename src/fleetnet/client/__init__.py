"""A client of a server of bundles: REST, with nothing beyond the base install.

Everything is written once, as coroutines over a connection. :class:`Client` runs them on
connections that block, :class:`AsyncClient` on asyncio's. Each name is imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleetnet.client.aio import AsyncClient
    from fleetnet.client.blocking import Client
    from fleetnet.client.errors import (
        AccessError,
        ClientError,
        DeadlineError,
        MissingError,
        OverloadedError,
        RefusedError,
        ResponseError,
        UnreachableError,
    )
    from fleetnet.client.results import (
        Classification,
        Inference,
        ModelEntry,
        ModelMetadata,
        Prediction,
        TensorMetadata,
        Timing,
    )

__all__ = [
    "AccessError",
    "AsyncClient",
    "Classification",
    "Client",
    "ClientError",
    "DeadlineError",
    "Inference",
    "MissingError",
    "ModelEntry",
    "ModelMetadata",
    "OverloadedError",
    "Prediction",
    "RefusedError",
    "ResponseError",
    "TensorMetadata",
    "Timing",
    "UnreachableError",
]

_ROOM = "fleetnet.client."
_HOMES = {"AsyncClient": "aio", "Client": "blocking"} | dict.fromkeys(
    (
        "Classification",
        "Inference",
        "ModelEntry",
        "ModelMetadata",
        "Prediction",
        "TensorMetadata",
        "Timing",
    ),
    "results",
)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'fleetnet.client' has no attribute '{name}'")
    import importlib

    value = getattr(importlib.import_module(_ROOM + _HOMES.get(name, "errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
