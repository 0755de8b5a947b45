"""Heat maps by hiding places: they are where the object is, bounded, and end with their client."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleetnet.errors import ImageError
from fleetnet.images import Pixels
from fleetnet.serving.config import Settings
from fleetnet.serving.errors import (
    DeadlineError,
    NotFoundError,
    OverloadedError,
    RequestError,
    UnavailableError,
)
from fleetnet.serving.explaining import Frame
from fleetnet.serving.lifecycle import repository_of
from fleetnet.serving.occlusion import heat_of, hidden, log_odds
from fleetnet.serving.requests import Picture, Request, Row, deadline_in
from fleetnet.serving.service import Service
from samples import encode
from serving.colours import BLUE, RED, scene, write_network
from serving.conftest import Serve, service_of


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("net") / "colours.onnx")


def service_with(**values: Any) -> Service:
    settings = Settings.load_all(None, {}, {"engine": {"threads": 1}, **values})
    return Service(repository_of(settings), settings.routes(), settings.options())


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(120):
            await work

    asyncio.run(bounded())


def hottest(heat: np.ndarray) -> tuple[float, float]:
    """Return where the heat is greatest, in shares of the width and height."""
    row, column = np.unravel_index(np.argmax(heat), heat.shape)
    return (float(column) + 0.5) / heat.shape[1], (float(row) + 0.5) / heat.shape[0]


@pytest.mark.parametrize(
    ("red", "blue"), [((40, 40), (150, 150)), ((150, 40), (40, 150)), ((96, 96), (40, 40))]
)
def test_the_heat_is_on_the_object_of_the_class(
    colours: Path, red: tuple[int, int], blue: tuple[int, int]
) -> None:
    picture = encode(scene((RED, *red), (BLUE, *blue), size=(192, 192)), "PNG")

    async def all_of_it() -> None:
        service = service_with(models={"colours": colours})
        await service.start()
        for index, place in ((0, red), (1, blue)):
            found = await service.explain(Request(images=(picture,)), index)
            assert found.score.index == index
            assert found.lowest < found.score.probability
            assert found.heat.shape == (7, 7)
            assert (found.heat.min(), found.heat.max()) == (0, 1)
            x, y = hottest(found.heat)
            assert abs(x * 192 - place[0]) < 30
            assert abs(y * 192 - place[1]) < 30
        await service.close()

    run(all_of_it())


def test_the_frame_is_what_the_network_sees_of_the_upright_picture(colours: Path) -> None:
    """Of a picture twice as wide as high, the middle half; and it is looked at, not the rest."""
    wide = scene((RED, 150, 50), (RED, 20, 20), size=(200, 100))
    turned = wide.getexif()
    turned[0x0112] = 6  # to be turned by a quarter
    cases: list[tuple[Picture, Frame]] = [
        (encode(wide, "PNG"), Frame(0.25, 0, 0.75, 1)),
        (np.asarray(wide), Frame(0.25, 0, 0.75, 1)),
        (encode(wide, "JPEG", exif=turned), Frame(0, 0.25, 1, 0.75)),
    ]

    async def all_of_it() -> None:
        service = service_with(models={"colours": colours})
        await service.start()
        for picture, frame in cases:
            found = await service.explain(Request(images=(picture,)), 0)
            assert found.frame == pytest.approx(frame, abs=0.01)
        assert hottest((await service.explain(Request(images=(cases[0][0],)), 0)).heat)[0] > 0.8
        await service.close()

    run(all_of_it())


def test_without_a_class_the_most_probable_one_is_explained(colours: Path) -> None:
    picture = encode(scene((BLUE, 60, 60), size=(120, 120)), "PNG")

    async def all_of_it() -> None:
        service = service_with(models={"colours": colours})
        await service.start()
        found = await service.explain(Request(images=(picture,)))
        (answer,) = (await service.infer(Request(images=(picture,), top_k=1))).answers
        assert found.score.label == answer.top[0].label == "blue"
        assert found.score.probability == pytest.approx(answer.top[0].probability, abs=1e-5)
        assert 'fleetnet_explanations_total{model="colours",version="1"} 1.0' in (
            service.metrics.text().decode()
        )
        await service.close()

    run(all_of_it())


def test_what_cannot_be_explained_is_refused(colours: Path, picture: bytes) -> None:
    async def all_of_it() -> None:
        service = service_with(models={"colours": colours})
        await service.start()
        for index in (-1, 3, 10**9):
            with pytest.raises(RequestError, match="there is no class"):
                await service.explain(Request(images=(picture,)), index)
        with pytest.raises(RequestError, match="one image"):
            await service.explain(Request(images=(picture, picture)))
        with pytest.raises(ImageError):
            await service.explain(Request(images=(b"none",)))
        with pytest.raises(NotFoundError):
            await service.explain(Request(images=(picture,), model="other"))
        with pytest.raises(DeadlineError):
            await service.explain(Request(images=(picture,), deadline=deadline_in(0)))
        assert (await service.explain(Request(images=(picture,)))).heat.shape == (7, 7)
        await service.close()
        none = service_with(models={"colours": colours}, limits={"explanations": 0})
        await none.start()
        with pytest.raises(NotFoundError, match="no heat maps"):
            await none.explain(Request(images=(picture,)))
        await none.close()

    run(all_of_it())


def test_the_limits_of_requests_and_queues_make_the_grid_coarser(
    colours: Path, picture: bytes
) -> None:
    async def all_of_it() -> None:
        for limits in ({"limits": {"images": 4}}, {"queue": {"images": 4}}):
            service = service_with(models={"colours": colours}, **limits)
            await service.start()
            assert (await service.explain(Request(images=(picture,)))).heat.shape == (4, 4)
            await service.close()

    run(all_of_it())


def test_few_are_explained_at_a_time_and_a_cancelled_one_ends_its_work(
    colours: Path, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def all_of_it() -> None:
        service = service_with(models={"colours": colours})
        await service.start()
        version = service.models.find("colours")
        compute, computed = version.loaded.compute, asyncio.Event()
        loop = asyncio.get_running_loop()
        images = 0

        def counted(pixels: Pixels) -> Mapping[str, Row]:
            nonlocal images
            images += len(pixels)
            loop.call_soon_threadsafe(computed.set)
            return compute(pixels)

        monkeypatch.setattr(version.loaded, "compute", counted)
        first = asyncio.create_task(service.explain(Request(images=(picture,))))
        await computed.wait()
        with pytest.raises(OverloadedError):
            await service.explain(Request(images=(picture,)))
        assert (await service.infer(Request(images=(picture,)))).answers[0].error is None
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await service.drain(10)
        while version.lane.images:
            await asyncio.sleep(0.01)
        assert images < 40  # a whole one takes 50
        await service.close()

    run(all_of_it())


def test_a_swap_in_between_loses_no_explanation(
    colours: Path, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def all_of_it() -> None:
        service = service_with(models={"colours": colours})
        await service.start()
        former = service.models.find("colours")
        begun, loop = asyncio.Event(), asyncio.get_running_loop()
        compute = former.loaded.compute

        def seen(pixels: Pixels) -> Mapping[str, Row]:
            loop.call_soon_threadsafe(begun.set)
            return compute(pixels)

        monkeypatch.setattr(former.loaded, "compute", seen)
        task = asyncio.create_task(service.explain(Request(images=(picture,))))
        await begun.wait()
        former.lane.close()  # as by a load, which would put the new one in its place first
        service.models.put(type(former)("colours", "1", former.loaded, _lane(service, former)))
        assert (await task).heat.shape == (7, 7)
        service.models.find("colours").lane.close()
        with pytest.raises(UnavailableError):
            await service.explain(Request(images=(picture,)))
        await service.close()

    run(all_of_it())


def _lane(service: Service, version: Any) -> Any:
    return service._batcher.open(version.loaded, version.lane.queueing, "colours/1")


def test_hiding_changes_a_place_and_leaves_the_rest() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (70, 70, 3), np.uint8)
    rows = [hidden(pixels, 7, row) for row in range(7)]
    assert all(one.shape == (7, 70, 70, 3) for one in rows)
    change = np.abs(rows[1][2].astype(int) - pixels).sum(-1)
    middle = change[10:20, 20:30].mean()
    assert middle > 60
    assert change[45:, 50:].max() <= 3
    flat = np.full((70, 70, 3), 99, np.uint8)
    assert (hidden(flat, 7, 3) == 99).all()  # nothing is hidden where there is nothing


def test_log_odds_are_those_of_the_probabilities() -> None:
    logits = np.random.default_rng(2).normal(0, 3, (5, 4)).astype(np.float32)
    scaled = np.exp(logits.astype(float) / 2)
    probability = scaled[:, 1] / scaled.sum(1)
    expected = np.log(probability / (1 - probability))
    assert log_odds(logits, 1, "softmax", 2.0) == pytest.approx(expected)
    assert log_odds(logits, 1, "sigmoid", 2.0) == pytest.approx(logits[:, 1] / 2)
    assert log_odds(logits[:, :1], 0, "softmax", 1.0) == pytest.approx(logits[:, 0])
    sure = np.array([200, 0, 0], np.float32)
    assert log_odds(sure, 0, "softmax", 1.0) > log_odds(sure - [50, 0, 0], 0, "softmax", 1.0)
    assert (heat_of(np.array(1.0), np.full((7, 7), 2.0)) == 0).all()


def test_over_http(serve: Serve, colours: Path) -> None:
    client = serve(models={"colours": colours})
    picture = encode(scene((RED, 40, 60), size=(160, 160)), "PNG")
    answer = client.post("/explain?class=0", content=picture, headers={"x-request-id": "mine"})
    assert answer.status_code == 200, answer.text
    value = answer.json()
    assert (value["id"], value["class"], value["index"]) == ("mine", "red", 0)
    assert value["bundle"] == service_of(client).models.find("colours").loaded.hash
    assert value["method"] == "occlusion"
    assert value["lowest"] < value["probability"]
    assert np.array(value["heat"]).shape == (7, 7)
    assert value["frame"] == {"left": 0, "top": 0, "right": 1, "bottom": 1}
    for path, content, headers, status in (
        ("/explain", b"", {}, 400),
        ("/explain", b"none", {}, 400),
        ("/explain?class=3", picture, {}, 400),
        ("/explain?class=x", picture, {}, 400),
        ("/explain?class=1e999", picture, {}, 400),
        ("/explain?top_k=3", picture, {}, 400),
        ("/explain?model=other", picture, {}, 404),
        ("/explain?version=2", picture, {}, 404),
        ("/explain", b"{}", {"content-type": "application/json"}, 415),
        ("/explain", picture, {"x-request-timeout-ms": "0"}, 504),
    ):
        refused = client.post(path, content=content, headers=headers)
        assert (refused.status_code, set(refused.json())) == (status, {"error", "code", "fields"})


def test_it_takes_a_token(serve: Serve, colours: Path, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("infer a-token-of-enough-characters\n")
    client = serve(models={"colours": colours}, tokens=tmp_path / "tokens")
    for method, path in (("POST", "/explain"), ("GET", "/models/colours/card")):
        assert client.request(method, path).status_code == 401
    headers = {"authorization": "Bearer a-token-of-enough-characters"}
    assert client.get("/models/colours/card", headers=headers).status_code == 200
