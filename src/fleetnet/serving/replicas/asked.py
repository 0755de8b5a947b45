"""What is asked of a cluster: how many replicas, and of what a replica can do."""

from __future__ import annotations

import re
from typing import NamedTuple

from fleetnet.errors import FleetnetError
from fleetnet.inference.classifier import AUTO
from fleetnet.serving.config import Settings

MAX_REPLICAS = 10_000
_REPLICAS = re.compile(r"([0-9]{1,5})(?:\.\.([0-9]{1,5}))?")


class Replicas(NamedTuple):
    """How many replicas there are: at least, and at most under load."""

    least: int
    most: int


def replicas_of(text: str) -> Replicas:
    """Return how many replicas a text asks for: ``2``, or ``1..4`` as the load wants it.

    Raises:
        FleetnetError: it is neither.
    """
    found = _REPLICAS.fullmatch(text)
    if found is not None:
        least = int(found[1])
        most = least if found[2] is None else int(found[2])
        if 1 <= least <= most <= MAX_REPLICAS:
            return Replicas(least, most)
    raise FleetnetError(
        f"replicas= is a number such as 2, or a range such as 1..4, from 1 to {MAX_REPLICAS:,}; "
        f"not '{text}'",
        arguments=["replicas"],
    )


def check_settings(settings: Settings) -> None:
    """Refuse what Ray Serve cannot do, where it is asked for.

    Raises:
        FleetnetError: a setting asks for it.
    """
    for protocol, name in (("grpc", "gRPC"), ("brpc", "bRPC")):
        section = getattr(settings, protocol)
        asked = section.enabled and section.model_fields_set & {"enabled", "port"}
        if asked:
            raise FleetnetError(
                f"Ray Serve passes no {name} on, only REST: leave {protocol} out, or serve "
                "without ray=",
                arguments=["ray"],
            )
    if settings.workers > 1:
        raise FleetnetError(
            "behind Ray, replicas take the place of workers: give replicas= instead of workers",
            arguments=["replicas"],
        )
    if settings.tls.certificate is not None:
        raise FleetnetError(
            "behind Ray, TLS ends at a proxy in front of it: leave tls out, and give tokens"
        )
    if settings.engine.name == AUTO:
        raise FleetnetError(
            f"the engine '{AUTO}' is what suits this machine, and replicas run on others: name an "
            "engine"
        )
