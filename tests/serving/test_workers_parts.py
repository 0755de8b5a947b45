"""The parts of several workers, each without a process."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from fleetnet.errors import BundleError, FleetnetError
from fleetnet.serving.config import Settings
from fleetnet.serving.errors import NotFoundError, OverloadedError, UnavailableError
from fleetnet.serving.metrics import Metrics
from fleetnet.serving.rest.server import bind
from fleetnet.serving.workers import supervisor
from fleetnet.serving.workers.channel import Answer, Channel, ClosedError
from fleetnet.serving.workers.figures import Figures, Whole
from fleetnet.serving.workers.service import WorkerService
from fleetnet.serving.workers.shares import held_ports, share_of
from fleetnet.serving.workers.supervisor import Crew


def settings_of(**values: Any) -> Settings:
    return Settings.load_all(None, {}, {"workers": 2, **values})


def figures_of(metrics: Metrics) -> Figures:
    return list(metrics.registry.collect())


def value(text: bytes, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text.decode(), re.MULTILINE)
    assert found is not None, text.decode()
    return float(found[1])


def test_counters_and_histograms_add_up() -> None:
    whole, one, other = Whole(2), Metrics(), Metrics()
    one.failed("net", "rest", "overloaded")
    for metrics, times in ((one, 2), (other, 3)):
        for _ in range(times):
            metrics.failed("net", "grpc", "invalid")
            metrics.shadow_lost("net", "2")
    whole.seen(0, figures_of(one))
    whole.seen(1, figures_of(other))
    text = whole.text()
    assert value(text, 'fleetnet_shadow_lost_total{model="net",shadow="2"}') == 5
    cause = 'fleetnet_errors_total{cause="%s",model="net",protocol="%s"}'
    assert value(text, cause % ("invalid", "grpc")) == 5
    assert value(text, cause % ("overloaded", "rest")) == 1


def test_what_an_ended_worker_has_counted_stays() -> None:
    whole = Whole(2)
    lost = 'fleetnet_shadow_lost_total{model="net",shadow="2"}'
    for died in (True, True, False):
        metrics = Metrics()
        metrics.shadow_lost("net", "2")
        whole.seen(0, figures_of(metrics))
        before = value(whole.text(), lost)
        whole.ended(0, died=died)
        assert value(whole.text(), lost) == before
    assert before == 3
    assert value(whole.text(), 'fleetnet_worker_deaths_total{worker="0"}') == 2
    assert value(whole.text(), "fleetnet_workers_ready") == 0


def test_gauges_are_put_together_by_what_they_mean() -> None:
    whole = Whole(2)
    for number, ready in enumerate((True, False)):
        registry = CollectorRegistry()
        Gauge("fleetnet_ready", "Ready.", registry=registry).set(ready)
        Gauge("fleetnet_images_in_house", "Images.", registry=registry).set(3)
        Gauge("fleetnet_distance", "Another.", registry=registry).set(number)
        whole.seen(number, list(registry.collect()))
    text = whole.text()
    assert value(text, "fleetnet_ready") == 0
    assert value(text, "fleetnet_images_in_house") == 6
    assert value(text, 'fleetnet_distance{worker="1"}') == 1
    whole.ended(1, died=True)
    assert value(whole.text(), "fleetnet_ready") == 1
    assert b'worker="1"} 1.0\nfleetnet_distance' not in whole.text()


def test_a_worker_has_its_share_and_room_for_the_largest_request() -> None:
    values: dict[str, Any] = {
        "workers": 4,
        "engine": {"threads": 8},
        "queue": {"images": 100, "bytes": 1000},
        "limits": {"images": 64, "body": 100, "buffered": 1000, "connections": 10},
    }
    share = share_of(settings_of(**values))
    assert share.engine.threads == 2
    assert (share.queue.images, share.queue.bytes) == (64, 250)
    assert (share.limits.buffered, share.limits.connections) == (250, 3)
    values["workers"] = 16
    assert share_of(settings_of(**values)).engine.threads == 1
    assert share_of(settings_of(engine={"name": "auto"})).engine.threads is None


def test_a_held_port_is_numbered_shared_by_workers_and_by_nobody_else() -> None:
    with held_ports(settings_of(port=0)) as held:
        assert held.port
        for listening in (False, True):
            with bind(held.host, held.port, shared=True) as one:
                if listening:
                    one.listen()
                with pytest.raises(FleetnetError, match="cannot listen"):
                    bind(held.host, held.port)
                again = pytest.raises(FleetnetError, match="cannot listen")
                with again, held_ports(settings_of(port=held.port)):
                    pass


def test_connections_of_a_former_server_that_linger_do_no_harm() -> None:
    with bind("127.0.0.1", 0) as former:
        former.listen()
        port = former.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            former.accept()[0].close()  # who closes first keeps the port for a minute
            assert client.recv(1) == b""
    with held_ports(settings_of(port=port)) as held, bind(held.host, port, shared=True) as one:
        one.listen()


async def between(answers: dict[str, Answer], use: Callable[[Channel], Awaitable[None]]) -> None:
    ours, theirs = socket.socketpair()
    ends = [Channel(ours, {}), Channel(theirs, answers)]
    listening = [asyncio.create_task(end.listen()) for end in ends]
    try:
        await use(ends[0])
    finally:
        for end in ends:
            end.close()
        await asyncio.gather(*listening)


def test_errors_pass_a_channel_with_their_class_and_fields() -> None:
    async def shed() -> None:
        raise OverloadedError("full", retry_after=2.5, model="net")

    async def broken() -> None:
        raise ZeroDivisionError

    async def use(channel: Channel) -> None:
        with pytest.raises(OverloadedError, match="full") as raised:
            await channel.ask("shed")
        assert raised.value.retry_after == 2.5
        assert raised.value.fields["model"] == "net"
        with pytest.raises(FleetnetError, match="something went wrong here"):
            await channel.ask("broken")

    asyncio.run(between({"shed": shed, "broken": broken}, use))


def test_who_waits_for_an_end_that_closes_is_told() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    async def use(channel: Channel) -> None:
        asked = asyncio.create_task(channel.ask("never"))
        await asyncio.sleep(0.01)
        channel.close()
        with pytest.raises(ClosedError):
            await asked
        with pytest.raises(ClosedError):
            await channel.ask("never")

    asyncio.run(between({"never": never}, use))


class FakeWorkers:
    """Answers in the place of all workers, as a test says for each of them."""

    def __init__(self, crew: Crew, *opened: set[str] | Exception) -> None:
        self.asked: list[tuple[int, str]] = []
        crew._all_ready.set()
        for member, answer in zip(crew._members, opened, strict=True):
            member.ready = True
            member.ask = self._answer(member.number, answer)  # type: ignore[method-assign]

    def _answer(self, number: int, opened: set[str] | Exception) -> Callable[..., Any]:
        async def answer(question: str, *facts: Any) -> Any:
            self.asked.append((number, question))
            if question == "prepare" and isinstance(opened, Exception):
                raise opened
            return opened

        return answer


@pytest.mark.parametrize(
    ("failure", "raised", "said"),
    [
        (BundleError("no space", path="x"), BundleError, "no space (1 of 2 workers cannot load it"),
        (ClosedError(), UnavailableError, "a worker ended while it loaded the model 'net'"),
    ],
)
def test_what_one_worker_cannot_load_no_worker_uses(
    failure: Exception, raised: type[FleetnetError], said: str
) -> None:
    async def run() -> None:
        crew = Crew(settings_of(), lambda _: None)
        crew._loaded.versions = {("net", "1")}
        fake = FakeWorkers(crew, {"1", "2"}, failure)
        with pytest.raises(raised, match=re.escape(said)):
            await crew._load("net", None, default=False)
        assert fake.asked == [(0, "prepare"), (1, "prepare"), (0, "discard"), (1, "discard")]
        assert crew._loaded.versions == {("net", "1")}

    asyncio.run(run())


def test_what_no_worker_can_load_is_told_as_by_one() -> None:
    async def run() -> None:
        crew = Crew(settings_of(), lambda _: None)
        FakeWorkers(crew, NotFoundError("no such"), NotFoundError("no such"))
        with pytest.raises(NotFoundError, match=r"^no such$"):
            await crew._load("net", None, default=False)

    asyncio.run(run())


def test_what_all_can_load_all_use_and_those_started_anew_too() -> None:
    async def run() -> None:
        crew = Crew(settings_of(), lambda _: None)
        fake = FakeWorkers(crew, {"2"}, {"2"})
        await crew._load("net", "2", default=True)
        assert [question for _, question in fake.asked] == ["prepare", "prepare", "put", "put"]
        beginning = await crew._on_begin(crew._members[0], 1)
        assert beginning.loaded is not None
        assert beginning.loaded.versions == {("net", "2")}
        assert beginning.loaded.defaults == {"net": "2"}
        # Nothing changes while a worker loads what the others have.
        change = asyncio.create_task(crew._unload("net", "2"))
        await asyncio.sleep(0.01)
        assert not change.done()
        crew._let_change(crew._members[0])
        await change
        assert crew._loaded.versions == set()

    asyncio.run(run())


def test_a_worker_that_dies_again_and_again_is_started_ever_more_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    async def run() -> None:
        crew = Crew(settings_of(), lambda _: None)
        crew._all_ready.set()

        async def process(_: object) -> int:
            return -9

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            crew._ending = len(waits) == 12

        monkeypatch.setattr(crew, "_process", process)
        monkeypatch.setattr(asyncio, "sleep", sleep)
        await crew._keep(crew._members[0])
        text = crew._whole.text()
        assert value(text, 'fleetnet_worker_deaths_total{worker="0"}') == 12

    asyncio.run(run())
    assert waits[0] == 0
    assert waits == sorted(waits)
    assert waits[-1] == supervisor.LONGEST_WAIT


def test_a_worker_that_does_not_answer_any_more_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "COUNT_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "SILENT", 0.0)

    async def run() -> None:
        crew = Crew(settings_of(), lambda _: None)
        killed = asyncio.Event()

        class Process:
            def kill(self) -> None:
                crew._members[0].ready = False
                killed.set()

        async def never(question: str, *facts: Any) -> None:
            await asyncio.Event().wait()

        FakeWorkers(crew, set(), set())
        stuck = crew._members[0]
        stuck.ask = never  # type: ignore[method-assign]
        stuck.process = Process()  # type: ignore[assignment]
        crew._members[1].ready = False
        counting = asyncio.create_task(crew._count())
        await killed.wait()
        counting.cancel()

    asyncio.run(run())


def test_a_worker_is_ready_only_when_all_are(network: Path) -> None:
    async def run() -> None:
        async def ask(*_: object) -> None:
            pytest.fail("nobody is to be asked")

        settings = settings_of(models={"net": network}, engine={"threads": 1})
        service = WorkerService(settings, ask)
        try:
            await service.start()
            assert not service.ready
            told: list[bool] = []
            service.on_ready.append(lambda: told.append(service.ready))
            service.all_are_loaded()
            assert told == [True]
        finally:
            await service.close()

    asyncio.run(run())
