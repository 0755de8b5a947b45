"""A server from its start to its end: listen, load, warm up, serve, drain.

A protocol is a transport. To add one, write it after ``rest/`` and let :func:`transports` make it
where its settings ask for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from fleetnet.errors import FleetnetError, nearest
from fleetnet.serving.auth import Tokens
from fleetnet.serving.config import Settings
from fleetnet.serving.logs import logs_put_back, set_up_logs
from fleetnet.serving.repository import FIRST, Repository, check_name
from fleetnet.serving.service import Service
from fleetnet.serving.systemd import notify
from fleetnet.serving.traces import traces_of

log = logging.getLogger("fleetnet.serving")


class Transport(Protocol):
    """A protocol on a port, on the service's event loop.

    Attributes:
        name: of the protocol, as it is in metrics and logs.
        address: where it listens, once it is started.
    """

    name: str
    address: str

    async def start(self) -> None:
        """Listen; until the service is ready, requests are refused as unavailable."""
        ...

    async def stop(self, limit: float) -> None:
        """Take no new requests, and wait that many seconds for those that are being answered."""
        ...


def transports(service: Service, tokens: Tokens, settings: Settings) -> list[Transport]:
    """Return the protocols that the settings ask for."""
    from fleetnet.serving.rest.server import RestTransport

    asked: list[Transport] = [RestTransport(service, tokens, settings)]
    if settings.grpc.enabled:
        from fleetnet.serving.grpc.transport import GrpcTransport

        shared = settings.workers > 1
        asked.append(GrpcTransport(service, tokens, settings, shared=shared))
    if settings.brpc.enabled:
        from fleetnet.serving.brpc.transport import BrpcTransport

        asked.append(BrpcTransport(service, tokens, settings))
    return asked


def repository_of(settings: Settings) -> Repository:
    """Return what the settings give to be loaded.

    Raises:
        FleetnetError: a name can be none, or the folder is none.
    """
    given: dict[tuple[str, str], Path] = {}
    for word, path in settings.models.items():
        name, slash, version = word.partition("/")
        check_name("name of a model", name)
        given[name, check_name("version", version) if slash else FIRST] = path
    return Repository(given, settings.folder)


def check_models(settings: Settings) -> None:
    """Log what of the folder is no model, and refuse routes and aliases to what there is not.

    A folder may get the version later; then it is a warning.

    Raises:
        FleetnetError: a route or alias names a model or version that there never will be, or one
            that is to be loaded is not there.
    """
    repository = repository_of(settings)
    for path, why in repository.passed_over():
        log.warning("passed over %s: %s", path, why)
    known = {name: repository.versions(name) for name in repository.names()}
    for name in settings.load or ():
        repository.versions(name)
    for where, name, version in settings.routed():
        if name in known and (not version or version in known[name]):
            continue
        if name in known:
            there = f"there is no version '{version}' of '{name}'"
            there += f" (there are: {', '.join(known[name])})"
        else:
            there = f"there is no model '{name}'{nearest(name, known)}"
        if settings.folder is None:
            raise FleetnetError(f"{where}: {there}")
        log.warning("%s: %s yet: until it is loaded, others answer", where, there)


async def serve(
    settings: Settings, ready: Callable[[dict[str, str]], None] = lambda _: None
) -> bool:
    """Serve until the process is asked to end, by this process or by workers that it starts.

    Args:
        settings: of the server.
        ready: called with the protocols' addresses once everything is loaded and warm.

    Returns:
        Whether every request that was taken got its answer.

    Raises:
        FleetnetError: an address, a token file or a model cannot be used.
    """
    with logs_put_back():
        return await _serve(settings, ready)


async def _serve(settings: Settings, ready: Callable[[dict[str, str]], None]) -> bool:
    set_up_logs(settings.log)
    tokens = Tokens(settings.tokens)
    warn_if_open(settings, tokens)
    check_models(settings)
    if settings.workers > 1:
        from fleetnet.serving.workers.supervisor import supervise

        return await supervise(settings, ready)
    service = Service(
        repository_of(settings),
        settings.routes(),
        settings.options(),
        traces=traces_of(settings.telemetry, os.environ),
    )
    running: list[Transport] = []
    try:
        with asked_to_end() as ended:
            for transport in transports(service, tokens, settings):
                await transport.start()
                running.append(transport)
            loading = asyncio.create_task(service.start(settings.load))
            stopping = asyncio.create_task(ended.wait())
            await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                await loading
                say_ready(addresses := addresses_of(running))
                ready(addresses)
            await stopping
            loading.cancel()
            # Asked again to end, it goes on ending: what is in work is answered.
            return await drained(service, running, settings.drain)
    finally:
        for transport in running:
            await transport.stop(0)
        await service.close()


def addresses_of(running: list[Transport]) -> dict[str, str]:
    """Return where protocols listen, by their names."""
    return {transport.name: transport.address for transport in running}


def say_ready(addresses: dict[str, str]) -> None:
    """Log where requests are answered from now on."""
    for protocol, address in addresses.items():
        log.info("ready", extra={"protocol": protocol, "address": address})
    notify("READY=1")


async def drained(service: Service, running: list[Transport], limit: float) -> bool:
    """Answer what was taken, in at most ``limit`` seconds; nothing new is taken meanwhile."""
    log.info("draining")
    notify("STOPPING=1")
    end = time.monotonic() + limit
    done = await service.drain(limit)
    await asyncio.gather(*(one.stop(max(end - time.monotonic(), 0)) for one in running))
    log.info("drained" if done else "stopped before everything was answered")
    return done


@contextlib.contextmanager
def asked_to_end() -> Iterator[asyncio.Event]:
    """Yield an event that is set when the process is asked to end; a second Ctrl-C ends it."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    former: dict[signal.Signals, Any] = {}

    def ask(number: int, _: object) -> None:
        loop.call_soon_threadsafe(ended.set)
        if number == signal.SIGINT:
            signal.signal(number, former[signal.SIGINT])

    for known in (signal.SIGTERM, signal.SIGINT):
        former[known] = signal.signal(known, ask)
    try:
        yield ended
    finally:
        for known, handler in former.items():
            signal.signal(known, handler)


def warn_if_open(settings: Settings, tokens: Tokens) -> None:
    """Warn where other machines may do everything."""
    if tokens.wanted or settings.tls.client_ca or is_loopback(settings.host):
        return
    log.warning(
        "everybody who reaches %s may use this server and change its models: give tokens",
        settings.host,
    )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
