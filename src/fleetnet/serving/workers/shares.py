"""What belongs to a server and is shared by its workers: ports, processors and limits."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from pydantic import BaseModel

from fleetnet.errors import FleetnetError
from fleetnet.inference.classifier import AUTO
from fleetnet.inference.engines import available_threads
from fleetnet.serving.config import Settings
from fleetnet.serving.rest.server import bind


@contextlib.contextmanager
def held_ports(settings: Settings) -> Iterator[Settings]:
    """Hold the ports as long as the block runs, and yield settings that number them.

    The system spreads new connections evenly over the processes that listen on a port, if each has
    bound it as one that is shared. The sockets here are bound and never listen, so they get no
    connection; they keep the ports from others while workers end and start.

    Raises:
        FleetnetError: an address is taken, or is none of this machine.
    """
    with contextlib.ExitStack() as stack:
        for section, port in _ports(settings).items():
            held = stack.enter_context(_hold(settings.host, port))
            number = {"port": held.getsockname()[1]}
            if section:
                former: BaseModel = getattr(settings, section)
                settings = settings.model_copy(update={section: former.model_copy(update=number)})
            else:
                settings = settings.model_copy(update=number)
        yield settings


def _ports(settings: Settings) -> dict[str, int]:
    """Return the ports that are asked for, by the section of the settings; HTTP has none."""
    ports = {"": settings.port}
    if settings.grpc.enabled:
        from fleetnet.serving.grpc import transport as grpc

        ports["grpc"] = grpc.port_of(settings)
    if settings.brpc.enabled:
        from fleetnet.serving.brpc import transport as brpc

        ports["brpc"] = brpc.port_of(settings)
    return ports


def _hold(host: str, port: int) -> socket.socket:
    # Who shares a port shares it with everybody who does, another server too: it has to be free.
    bind(host, port).close()
    try:
        return bind(host, port, shared=True, lingering=False)
    except FleetnetError:
        return bind(host, port, shared=True)


def share_of(settings: Settings) -> Settings:
    """Return the settings of one worker: each limit by their number, but never under one request.

    A request of the largest kind that is allowed has to find room in any worker.
    """
    number, limits, queue = settings.workers, settings.limits, settings.queue
    threads = settings.engine.threads or available_threads()
    # What "fleetnet tune" chose has threads of its own, and takes no others.
    each = None if settings.engine.name == AUTO else max(threads // number, 1)
    return settings.model_copy(
        update={
            "engine": settings.engine.model_copy(update={"threads": each}),
            "queue": queue.model_copy(
                update={
                    "images": _share(queue.images, number, limits.images),
                    "bytes": _share(queue.bytes, number, limits.body),
                }
            ),
            "limits": limits.model_copy(
                update={
                    "buffered": _share(limits.buffered, number, limits.body),
                    "connections": _share(limits.connections, number, 1),
                }
            ),
        }
    )


def _share(whole: int, number: int, least: int) -> int:
    return min(whole, max(-(-whole // number), least))
