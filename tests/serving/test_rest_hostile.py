"""Bodies that nobody foresaw, and clients that do not wait for their answers."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import struct
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.testclient import TestClient

from fleetnet.errors import FleetnetError
from fleetnet.images import Pixels
from fleetnet.serving.auth import Tokens
from fleetnet.serving.config import LimitSettings, Settings
from fleetnet.serving.lifecycle import repository_of
from fleetnet.serving.requests import Row
from fleetnet.serving.rest import app as app_module
from fleetnet.serving.rest import body as body_module
from fleetnet.serving.rest.app import App
from fleetnet.serving.rest.body import Bodies, parse_form
from fleetnet.serving.rest.inference import from_base64, length_of_json, parse_inference
from fleetnet.serving.service import Service
from serving.conftest import service_of, serving

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "shape", "datatype", "data", "parameters", "binary_data_size"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["image", "pixels"]),
        "datatype": st.sampled_from(["BYTES", "UINT8"]),
        "shape": st.lists(st.integers(-1, 4), max_size=5) | VALUES,
    },
    optional={
        "data": st.lists(st.integers(0, 300) | st.text(max_size=8), max_size=12) | VALUES,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(0, 40)}) | VALUES,
    },
)


def parsed(body: bytes, length: str | None) -> None:
    """Read a body; nothing but images, or an error of ours, may come of it."""
    try:
        found = parse_inference(body, length_of_json(length, len(body)), 4)
    except FleetnetError:
        return
    assert 1 <= len(found.images) <= 4
    for image in found.images:
        assert isinstance(image, bytes) or (image.dtype == np.uint8 and image.shape[2] == 3)


@settings(max_examples=200)
@given(
    tensor=TENSOR | VALUES,
    rest=st.binary(max_size=40),
    lie=st.integers(-3, 3),
    elements=st.lists(st.binary(max_size=6), max_size=3),
)
def test_any_tensor_is_read_or_refused(
    tensor: Any, rest: bytes, lie: int, elements: list[bytes]
) -> None:
    text = json.dumps({"inputs": [tensor]}).encode()
    parsed(text, None)
    parsed(text + rest, str(len(text) + lie))
    parsed(text + b"".join(struct.pack("<I", len(one)) + one for one in elements), str(len(text)))


@given(body=st.binary(max_size=200), length=st.none() | st.text(max_size=8))
def test_any_bytes_are_read_or_refused(body: bytes, length: str | None) -> None:
    parsed(body, length)


@settings(max_examples=200)
@given(
    kind=st.sampled_from(
        ["multipart/form-data; boundary=x", "multipart/form-data", "multipart/form-data; boundary="]
    ),
    pieces=st.lists(
        st.sampled_from(
            [
                b"--x", b"--x--", b"\r\n", b"\r\n\r\n", b"Content-Disposition: form-data; name=",
                b'"a"; filename="b"', b"Content-Type: image/jpeg", b"charset=nonsense", b"--",
            ]
        )
        | st.binary(max_size=8),
        max_size=12,
    ),
)  # fmt: skip
def test_any_form_is_read_or_refused(kind: str, pieces: list[bytes]) -> None:
    scope = {"type": "http", "headers": [(b"content-type", kind.encode())]}
    try:
        files = asyncio.run(parse_form(Request(scope), b"".join(pieces), 4))
    except FleetnetError:
        return
    assert len(files) <= 4


async def posted(
    app: App, body: bytes, gone: asyncio.Event, timeout_ms: int | None = None
) -> list[dict[str, Any]]:
    """Post a body as a server would, and go away when told to."""
    timeout = [] if timeout_ms is None else [(b"x-request-timeout-ms", b"%d" % timeout_ms)]
    sent: list[dict[str, Any]] = []
    coming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if coming:
            return coming.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/classify", "raw_path": b"/classify",
        "query_string": b"", "headers": timeout, "scheme": "http", "server": ("127.0.0.1", 80),
    }  # fmt: skip
    await app.asgi(scope, receive, send)
    return sent


def test_only_what_somebody_waits_for_is_computed_and_that_together(
    network: Path, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, begun, computed = threading.Event(), threading.Event(), []

    async def all_of_it() -> None:
        settings = Settings.load_all(
            None, {}, {"models": {"net": network}, "engine": {"threads": 1, "batch": 4}}
        )
        service = Service(repository_of(settings), settings.routes(), settings.options())
        await service.start()
        version = service.models.find("net")
        compute: Callable[[Pixels], Mapping[str, Row]] = version.loaded.compute

        def holding(pixels: Pixels) -> Mapping[str, Row]:
            begun.set()
            assert held.wait(60)
            computed.append(len(pixels))
            return compute(pixels)

        monkeypatch.setattr(version.loaded, "compute", holding)
        app = App(service, Tokens(None), LimitSettings())
        stays, gone = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(posted(app, picture, stays))
        assert await asyncio.to_thread(begun.wait, 60)
        others = [asyncio.create_task(posted(app, picture, gone)) for _ in range(5)]
        while version.lane.images < 6:
            await asyncio.sleep(0.001)
        gone.set()
        await asyncio.gather(*others)
        assert version.lane.images == 1
        late = [asyncio.create_task(posted(app, picture, stays, 50)) for _ in range(5)]
        assert [(await one)[0]["status"] for one in late] == [504] * 5
        assert version.lane.images == 1
        # Four clients that know nothing of each other, while the stream is busy.
        waiting = []
        for number in range(4):
            waiting.append(asyncio.create_task(posted(app, picture, stays)))
            while version.lane.images < 2 + number:
                await asyncio.sleep(0.001)
        held.set()
        assert [(await one)[0]["status"] for one in (first, *waiting)] == [200] * 5
        text = service.metrics.text().decode()
        assert 'cause="cancelled",model="net",protocol="rest"} 5.0' in text
        assert 'cause="deadline",model="net",protocol="rest"} 5.0' in text
        await service.close()

    asyncio.run(asyncio.wait_for(all_of_it(), 120))
    assert sum(computed) == 5
    assert len(computed) < 5


def large(size: int = 200_000) -> dict[str, tuple[bytes, dict[str, str]]]:
    """Return bodies that take a while to read, with their headers."""
    form = b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n'
    text = json.dumps({"images": ["AAAA" * (size // 4)]}).encode()
    return {
        "form": (
            form + bytes(size) + b"\r\n--x--\r\n",
            {"content-type": "multipart/form-data; boundary=x"},
        ),
        "json": (text, {"content-type": "application/json"}),
        "gzip": (gzip.compress(os.urandom(size)), {"content-encoding": "gzip"}),
        "plain": (bytes(size), {}),
    }


@pytest.mark.parametrize("kind", ["form", "json", "gzip", "plain"])
def test_nothing_large_is_read_on_the_event_loop(
    kind: str, net: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So no client holds up the others, nor the answer that the server is alive."""
    readers: list[str] = []

    def spied(original: Any) -> Any:
        def spy(*arguments: Any, **options: Any) -> Any:
            readers.append(threading.current_thread().name)
            return original(*arguments, **options)

        return spy

    assert net.portal is not None
    loop = net.portal.call(lambda: threading.current_thread().name)
    loaded = service_of(net).models.find("net").loaded
    monkeypatch.setattr(loaded, "prepare", spied(loaded.prepare))
    monkeypatch.setattr(loaded, "compute", spied(loaded.compute))
    monkeypatch.setattr(body_module, "_at_once", spied(body_module._at_once))
    monkeypatch.setattr(Bodies, "_decompressed", spied(Bodies._decompressed))
    monkeypatch.setattr(app_module, "_checked", spied(app_module._checked))
    monkeypatch.setattr(app_module, "from_base64", spied(from_base64))
    content, headers = large()[kind]
    response = net.post("/classify", content=content, headers=headers)
    assert response.json()["code"] == "not-an-image", response.text
    assert len(readers) == {"form": 2, "json": 3, "gzip": 2, "plain": 1}[kind]
    assert loop not in readers


@pytest.mark.parametrize("value", ["[]", "{}", "1", '"a"', "1.5", "null"])
def test_json_that_would_take_many_times_its_size_is_refused(net: TestClient, value: str) -> None:
    """Megabytes of empty lists are gigabytes in memory."""
    many = f"[{','.join([value] * 1_000_000)}]"
    tensor = f'{{"name": "pixels", "shape": [1], "datatype": "UINT8", "data": {many}}}'
    for path, text in (
        ("/v2/models/net/infer", f'{{"inputs": [{tensor}]}}'),
        ("/classify", f'{{"images": {many}}}'),
        ("/v2/repository/index", f'{{"ready": {many}}}'),
    ):
        response = net.post(path, content=text, headers={"content-type": "application/json"})
        assert (response.status_code, response.json()["code"]) == (413, "too-large")
    assert service_of(net).budget.held == 0


def test_what_json_takes_is_counted_with_all_that_is_held(network: Path) -> None:
    with serving(models={"net": network}, limits={"buffered": 10_000_000}) as client:
        text = f'{{"images": [{",".join(["null"] * 100_000)}]}}'
        response = client.post(
            "/classify", content=text, headers={"content-type": "application/json"}
        )
        assert (response.status_code, response.json()["code"]) == (429, "overloaded")
        assert service_of(client).budget.held == 0
