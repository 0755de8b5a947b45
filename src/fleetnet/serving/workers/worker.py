"""A worker: a server like any other, that waits for the others and shares its ports with them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

from fleetnet.errors import FleetnetError
from fleetnet.serving.auth import Tokens
from fleetnet.serving.errors import InternalError
from fleetnet.serving.lifecycle import (
    Transport,
    addresses_of,
    asked_to_end,
    drained,
    transports,
)
from fleetnet.serving.logs import set_up_logs
from fleetnet.serving.traces import traces_of
from fleetnet.serving.workers.channel import Answer, Channel, ClosedError
from fleetnet.serving.workers.service import Beginning, WorkerService

FAILED = 2
"""Exit code of a worker that cannot start."""


async def work(connection: socket.socket) -> int:
    """Serve until the supervisor says so or ends, and return the exit code."""
    answers: dict[str, Answer] = {}
    channel = Channel(connection, answers)
    listening = asyncio.create_task(channel.listen())
    # Without a supervisor nobody could end this process: it must not outlive it by a moment.
    listening.add_done_callback(_end)
    try:
        with asked_to_end() as ended, contextlib.suppress(ClosedError):
            try:
                return 0 if await _serve(channel, answers, ended) else 1
            except FleetnetError as error:
                await channel.ask("failed", error)
            except Exception as error:
                failure = InternalError(f"a worker cannot start: {type(error).__name__}: {error}")
                await channel.ask("failed", failure)
        return FAILED
    finally:
        listening.remove_done_callback(_end)


def _end(_: object) -> None:
    os._exit(FAILED)


async def _serve(channel: Channel, answers: dict[str, Answer], ended: asyncio.Event) -> bool:
    beginning: Beginning = await channel.ask("begin", os.getpid())
    settings = beginning.settings
    set_up_logs(settings.log, beginning.number)
    tokens = Tokens(settings.tokens)
    traces = traces_of(settings.telemetry, os.environ)
    service = WorkerService(settings, channel.ask, traces)
    answers.update(service.answers)
    running: list[Transport] = []
    try:
        starting = asyncio.create_task(
            _start(channel, service, transports(service, tokens, settings), running, beginning)
        )
        stopping = asyncio.create_task(ended.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
        await stopping
        starting.cancel()
        done = await drained(service, running, settings.drain)
        await channel.ask("counted", await service.count())
        return done
    finally:
        for transport in running:
            await transport.stop(0)
        await service.close()


async def _start(
    channel: Channel,
    service: WorkerService,
    wanted: list[Transport],
    running: list[Transport],
    beginning: Beginning,
) -> None:
    async def listen() -> None:
        for transport in wanted:
            await transport.start()
            running.append(transport)

    if beginning.loaded is None:
        await listen()
        await service.start(beginning.settings.load)
    else:
        # Others answer already, so nobody is to come here before there is an answer.
        await service.catch_up(beginning.loaded)
        await listen()
    await channel.ask("loaded", addresses_of(running), service.loaded)
    service.all_are_loaded()
    await channel.ask("ready")
