"""The supervisor: starts workers, starts those anew that die, and has them change together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from fleetnet.errors import FleetnetError, following
from fleetnet.serving.config import Settings
from fleetnet.serving.errors import UnavailableError
from fleetnet.serving.lifecycle import asked_to_end, say_ready
from fleetnet.serving.systemd import notify
from fleetnet.serving.workers.channel import Answer, Channel, ClosedError
from fleetnet.serving.workers.figures import Whole
from fleetnet.serving.workers.service import Beginning, Loaded
from fleetnet.serving.workers.shares import held_ports, share_of

LONGEST_WAIT = 30.0
"""Seconds before a worker that dies again and again is started anew."""
STEADY = 60.0
"""Seconds after which a worker that dies is taken for one that worked."""
COUNT_SECONDS = 1.0
"""How often workers are asked what they have counted: what a worker that is killed has counted
since is lost."""
SILENT = 30.0
"""Seconds without an answer after which a worker is killed, because its clients get none either."""
GRACE = 5.0
"""Seconds beyond the drain that a worker has before it is killed."""
log = logging.getLogger("fleetnet.serving")


async def supervise(settings: Settings, ready: Callable[[dict[str, str]], None]) -> bool:
    """Serve by several processes until this one is asked to end.

    Returns:
        Whether every request that was taken got its answer.

    Raises:
        FleetnetError: a port cannot be had, or a worker cannot start.
    """
    if sys.platform != "linux":
        raise FleetnetError(
            "several workers need Linux, which spreads connections over them: give workers=1",
            arguments=["workers"],
        )
    with held_ports(settings) as held, asked_to_end() as ended:
        crew = Crew(held, ready)
        try:
            return await crew.run(ended)
        finally:
            await crew.kill()


class Member:
    """A worker's place, whichever process holds it.

    Attributes:
        ready: whether its process has loaded its models.
        changing: whether no other worker may change as long as its process loads.
        heard: when its process last answered, by :func:`time.monotonic`.
        failure: why its process cannot start, as that said.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: Process | None = None
        self.channel: Channel | None = None
        self.ready = False
        self.changing = False
        self.heard = 0.0
        self.failure: FleetnetError | None = None

    async def ask(self, question: str, *facts: Any) -> Any:
        """Ask the worker.

        Raises:
            ClosedError: it has ended.
            FleetnetError: what it raised.
        """
        if self.channel is None:
            raise ClosedError
        return await self.channel.ask(question, *facts)


class Crew:
    """All workers."""

    def __init__(self, settings: Settings, ready: Callable[[dict[str, str]], None]) -> None:
        self._members = [Member(number) for number in range(settings.workers)]
        self._settings = settings
        self._share = share_of(settings)
        self._say_ready = ready
        self._whole = Whole(settings.workers)
        self._loaded = Loaded()
        self._addresses: dict[str, str] = {}
        self._changing = asyncio.Lock()
        self._all_loaded = asyncio.Event()
        self._all_ready = asyncio.Event()
        self._waited_for = set(self._members)
        self._ending = False

    async def run(self, ended: asyncio.Event) -> bool:
        """Keep the workers running until the event; return whether all of them ended well.

        Raises:
            FleetnetError: a worker cannot start, before all have.
        """
        keeping = [asyncio.create_task(self._keep(member)) for member in self._members]
        asking = [asyncio.create_task(work) for work in (self._count(), self._announce())]
        asked = asyncio.create_task(ended.wait())
        try:
            await asyncio.wait({asked, *keeping}, return_when=asyncio.FIRST_COMPLETED)
            for keeper in keeping:
                if keeper.done():  # which they are only when one fails
                    await keeper
            return await self._end()
        finally:
            for task in (*keeping, *asking, asked):
                task.cancel()
            await asyncio.gather(*keeping, *asking, asked, return_exceptions=True)

    async def kill(self) -> None:
        """End what still runs at once."""
        self._ending = True
        for member in self._members:
            if member.process is not None and member.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    member.process.kill()
                await member.process.wait()

    async def _end(self) -> bool:
        log.info("draining")
        notify("STOPPING=1")
        self._ending = True
        codes = await asyncio.gather(*map(self._ended, self._members))
        log.info("drained" if all(codes) else "stopped before everything was answered")
        return all(codes)

    async def _ended(self, member: Member) -> bool:
        """Have a worker answer what it has, and tell whether it did."""
        process = member.process
        if process is None or process.returncode is not None:
            return True
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain + GRACE):
                # One that is only beginning has taken nothing yet.
                return await process.wait() == 0 or not member.ready
        return False

    async def _keep(self, member: Member) -> None:
        """Have a process in a worker's place, always."""
        deaths = 0
        while not self._ending:
            begun = time.monotonic()
            code = await self._process(member)
            if self._ending:
                return
            died = code != 0 or not member.ready
            self._whole.ended(member.number, died=died)
            if not self._all_ready.is_set():
                raise member.failure or FleetnetError(
                    f"a worker ended while it started: {_how(code)}"
                )
            deaths = 1 if time.monotonic() - begun > STEADY else deaths + 1
            wait = 0.0 if deaths == 1 else min(0.25 * 2**deaths, LONGEST_WAIT)
            reason = f": {member.failure}" if member.failure else ""
            log.log(
                logging.ERROR if died else logging.INFO,
                "a worker ended%s",
                reason,
                extra={"worker": member.number, "ended_by": _how(code), "again_in_s": wait},
            )
            member.ready = False
            await asyncio.sleep(wait)

    async def _process(self, member: Member) -> int:
        """Run a process in a worker's place to its end, and return its exit code."""
        ours, theirs = socket.socketpair()
        member.failure, member.ready = None, False
        with theirs:
            member.process = process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "fleetnet.serving.workers", str(theirs.fileno())),
                stdin=DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        member.channel = Channel(ours, self._answers(member))
        listening = asyncio.create_task(member.channel.listen())
        try:
            return await process.wait()
        finally:
            await asyncio.wait({listening})  # to the last word of it
            member.channel = None
            self._let_change(member)

    def _answers(self, member: Member) -> Mapping[str, Answer]:
        return {
            "begin": partial(self._on_begin, member),
            "failed": partial(self._on_failed, member),
            "loaded": partial(self._on_loaded, member),
            "ready": partial(self._on_ready, member),
            "counted": partial(self._on_counted, member),
            "load": self._load,
            "unload": self._unload,
            "figures": self._figures,
        }

    async def _on_begin(self, member: Member, process: int) -> Beginning:
        loaded = None
        if self._all_ready.is_set():
            # What it loads is what the others have, until it has it too.
            await self._changing.acquire()
            member.changing = True
            loaded = self._loaded
        log.info("a worker begins", extra={"worker": member.number, "worker_process": process})
        return Beginning(member.number, self._share, loaded)

    async def _on_failed(self, member: Member, error: FleetnetError) -> None:
        member.failure = error

    async def _on_loaded(
        self, member: Member, addresses: dict[str, str], loaded: set[tuple[str, str]]
    ) -> None:
        member.ready, member.heard = True, time.monotonic()
        self._let_change(member)
        if all(one.ready for one in self._members) and not self._all_loaded.is_set():
            self._addresses, self._loaded.versions = addresses, loaded
            self._all_loaded.set()
        await self._all_loaded.wait()

    async def _on_ready(self, member: Member) -> None:
        await self._seen(member)
        if self._all_ready.is_set():
            log.info("a worker is ready again", extra={"worker": member.number})
        self._waited_for.discard(member)
        if not self._waited_for:
            self._all_ready.set()

    async def _on_counted(self, member: Member, figures: Any) -> None:
        self._whole.seen(member.number, figures)

    def _let_change(self, member: Member) -> None:
        if member.changing:
            member.changing = False
            self._changing.release()

    async def _announce(self) -> None:
        await self._all_ready.wait()
        say_ready(self._addresses)
        self._say_ready(self._addresses)

    async def _load(self, name: str, version: str | None, default: bool) -> None:
        """Have all workers open a model, and let them use it only if all could."""
        async with self._changing:
            members = self._able()
            opened = await _asked(members, "prepare", name, version)
            failures = [one for one in opened if isinstance(one, Exception)]
            if failures:
                await _asked(members, "discard", failures[0])
                raise _failure(name, failures, len(members))
            versions: set[str] = opened[0]
            self._loaded.versions |= {(name, each) for each in versions}
            if default and version is not None:
                self._loaded.defaults[name] = version
            # One that ends now is started anew, with it.
            await _asked(members, "put", version if default else None)

    async def _unload(self, name: str, version: str | None) -> None:
        async with self._changing:
            members = self._able()
            done = await _asked(members, "unload", name, version)
            for failure in done:
                if isinstance(failure, Exception) and not isinstance(failure, ClosedError):
                    raise failure
            gone = {one for one in self._loaded.versions if one[0] == name}
            self._loaded.versions -= {one for one in gone if version in (None, one[1])}

    def _able(self) -> list[Member]:
        if self._ending or not self._all_ready.is_set():
            raise UnavailableError("the service is being started or stopped: try again later")
        members = [member for member in self._members if member.ready]
        if not members:
            raise UnavailableError("no worker is ready: try again later")
        return members

    async def _figures(self) -> bytes:
        await asyncio.gather(*(self._seen(member) for member in self._members if member.ready))
        return self._whole.text()

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            members = [member for member in self._members if member.ready]
            await asyncio.gather(*map(self._seen, members))
            for member in members:
                if member.ready and time.monotonic() - member.heard > SILENT and not self._ending:
                    log.error("a worker does not answer", extra={"worker": member.number})
                    if member.process is not None:
                        member.process.kill()

    async def _seen(self, member: Member) -> None:
        """Ask what a worker has counted; if it has no time to answer, what it said before stays."""
        channel = member.channel
        with contextlib.suppress(ClosedError, FleetnetError, TimeoutError):
            async with asyncio.timeout(2 * COUNT_SECONDS):
                figures = await member.ask("count")
            member.heard = time.monotonic()
            if member.channel is channel and member.ready:
                self._whole.seen(member.number, figures)


async def _asked(members: Sequence[Member], question: str, *facts: Any) -> list[Any]:
    """Ask several workers at once; errors are among the answers."""
    return await asyncio.gather(
        *(member.ask(question, *facts) for member in members), return_exceptions=True
    )


def _failure(name: str, failures: list[Exception], asked: int) -> Exception:
    """Return what is told of a load that failed: where, if not everywhere."""
    error = failures[0]
    if isinstance(error, ClosedError):
        return UnavailableError(
            f"a worker ended while it loaded the model '{name}': all keep what they had before"
        )
    if len(failures) == asked or not isinstance(error, FleetnetError):
        return error
    where = f"{len(failures)} of {asked} workers cannot load it, and all keep what they had before"
    return following(error, f"{error} ({where})", type(error))


def _how(code: int) -> str:
    """Return how a process ended, in a word."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
