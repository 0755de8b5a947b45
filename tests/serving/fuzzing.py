"""What bytes from outside are read by: each target takes any, and accepts only our own refusals.

``serving.fuzz`` lets Atheris look for bytes that do something else; the tests try a few.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
from starlette.requests import Request

from fleetnet.errors import FleetnetError
from fleetnet.serving import messages
from fleetnet.serving.budget import Budget
from fleetnet.serving.config import LimitSettings
from fleetnet.serving.errors import RequestError, ServingError
from fleetnet.serving.logs import id_of, trace_of
from fleetnet.serving.methods import _change
from fleetnet.serving.open_inference import parse_inference as parse_message
from fleetnet.serving.parsing import parsed
from fleetnet.serving.repository import check_name
from fleetnet.serving.requests import Picture
from fleetnet.serving.rest.app import MAX_TIMEOUT_MS, _checked, _from_query, _milliseconds
from fleetnet.serving.rest.body import Bodies, parse_form
from fleetnet.serving.rest.hosts import Hosts
from fleetnet.serving.rest.inference import from_base64, length_of_json, parse_inference
from fleetnet.serving.rest.schema import ClassifyRequest, ExplainQuery, IndexRequest, LoadRequest
from serving.messages_of import raw_of, request_of, typed_of

MAX_IMAGES = 4
LIMITS = LimitSettings(body=100_000)


def check_images(images: tuple[Picture, ...]) -> None:
    assert 1 <= len(images) <= MAX_IMAGES
    for image in images:
        assert isinstance(image, bytes) or (image.dtype == np.uint8 and image.shape[2] == 3)


def tensors(data: bytes) -> None:
    """The binary tensor extension: two bytes say how many of the others are JSON."""
    header = str(int.from_bytes(data[:2], "big")) if len(data) % 2 else None
    body = data[2:]
    found = parse_inference(body, length_of_json(header, len(body)), MAX_IMAGES)
    check_images(found.images)
    assert found.wanted


def form(data: bytes) -> None:
    """Multipart bodies; the first byte says how their type is given."""
    kinds = (
        "multipart/form-data; boundary=x",
        'multipart/form-data; boundary="x"; charset=latin-1',
    )
    kind = kinds[data[0] % 2] if data else kinds[0]
    scope = {"type": "http", "headers": [(b"content-type", kind.encode())]}
    files = asyncio.run(parse_form(Request(scope), data[1:], MAX_IMAGES))
    assert len(files) <= MAX_IMAGES
    assert sum(map(len, files)) <= len(data)


def texts(data: bytes) -> None:
    """Bodies in JSON, of all requests that have one."""
    for schema in (ClassifyRequest, IndexRequest, LoadRequest):
        try:
            found = _checked(schema, data)
        except ServingError:
            continue
        if isinstance(found, ClassifyRequest):
            for text in found.images[:MAX_IMAGES]:
                from_base64(text)


def headers(data: bytes) -> None:
    """Headers and the query, a line each."""
    lines = [line.decode("latin-1") for line in data.split(b"\n")]
    trace, identity, length, timeout, host, query, name = (lines + [""] * 7)[:7]
    found = trace_of(trace)
    assert found is None or (len(found.trace), len(found.span)) == (32, 16)
    assert (id_of(identity) or "a").isprintable()
    scope = {"type": "http", "headers": [], "query_string": query.encode("latin-1")}
    with contextlib.suppress(ServingError):
        assert 0 <= length_of_json(length, 1000) <= 1000
    with contextlib.suppress(ServingError):
        assert 0 <= (_milliseconds(timeout) or 0) <= MAX_TIMEOUT_MS
    with contextlib.suppress(ServingError):
        Hosts(("localhost",)).check([host])
    with contextlib.suppress(ServingError):
        assert _from_query(Request(scope), ClassifyRequest).images == []
    with contextlib.suppress(ServingError):
        _from_query(Request(scope), ExplainQuery)
    with contextlib.suppress(ServingError):
        assert not set(check_name("name", name)) & set("/\\\0")


def compressed(data: bytes) -> None:
    """Bodies in gzip or deflate."""
    bodies = Bodies(LIMITS, Budget(10**9))
    plain = bodies._decompressed(data[1:], "gzip" if data[:1] < b"\x80" else "deflate")
    assert len(plain) <= LIMITS.body


def inference(data: bytes) -> None:
    """Messages of an inference over gRPC and bRPC, with what is attached to them."""
    size = int.from_bytes(data[:2], "big")
    message, attached = data[2 : 2 + size], data[2 + size :]
    found = parse_message(message, MAX_IMAGES, [attached] if attached else ())
    check_images(found.images)
    assert found.timeout is None or found.timeout >= 0


def changes(data: bytes) -> None:
    """Messages of loading and unloading, and the small ones."""
    for kind in (
        messages.RepositoryModelLoadRequest,
        messages.RepositoryModelUnloadRequest,
        messages.RepositoryIndexRequest,
        messages.ModelMetadataRequest,
    ):
        try:
            found = parsed(kind, data)
            if isinstance(found, messages.RepositoryModelLoadRequest):
                _change(found.parameters)
        except RequestError:
            continue


TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one for one in (tensors, form, texts, headers, compressed, inference, changes)
}


def run(name: str, data: bytes) -> None:
    """Give bytes to a target; what it refuses is as it should be."""
    begun = time.process_time()
    with contextlib.suppress(FleetnetError):
        TARGETS[name](data)
    # A few kilobytes that take a second are an attack; a hundred times what the slowest take.
    assert time.process_time() - begun < 5


def seeds() -> dict[str, list[bytes]]:
    """Return inputs to begin with: what clients send."""
    element = struct.pack("<I", 3) + b"abc"
    image = {"name": "image", "shape": [1], "datatype": "BYTES"}
    binary = {"inputs": [image | {"parameters": {"binary_data_size": 7}}]}
    pixels = {"name": "pixels", "shape": [1, 1, 2, 3], "datatype": "UINT8", "data": [1] * 6}
    whole = json.dumps(binary).encode()
    whole += b" " * ((len(whole) + len(element) + 1) % 2)  # odd, so that its length is given
    bodies = [
        json.dumps({"inputs": [one]}).encode() for one in (pixels, image | {"data": ["YWJj"]})
    ]
    part = b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n'
    requests = [request_of([b"abc"], "logits"), typed_of([b"abc"]), request_of([b"a", b"b"])]
    requests[0].parameters["timeout"].int64_param = 5
    load = messages.RepositoryModelLoadRequest(model_name="net")
    load.parameters["version"].string_param = "1"
    sent = [one.SerializeToString() for one in requests]
    attached = request_of([b"abc"])
    del attached.raw_input_contents[:]
    bare = attached.SerializeToString()
    return {
        "tensors": [len(whole).to_bytes(2, "big") + whole + element]
        + [b"\0\0" + body + b" " * (len(body) % 2) for body in bodies],
        "form": [b"\0" + part + b"Content-Type: image/png\r\n\r\nabc\r\n--x--\r\n",
                 b"\1" + part + b"\r\nabc\r\n" + part + b"\r\n\r\n--x--"],
        "texts": [b'{"images": ["YWJj"], "top_k": 3, "model": "a"}', b'{"ready": true}',
                  b'{"parameters": {"version": "2", "default": true}}'],
        "headers": [b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\nid\n17\n2.5\n"
                    b"localhost:80\ntop_k=3&model=a&probabilities=true\nshapes.v2"],
        "compressed": [b"\0" + gzip.compress(b"abc" * 99), b"\xff" + zlib.compress(b"abc")],
        "inference": [len(one).to_bytes(2, "big") + one for one in sent]
        + [len(bare).to_bytes(2, "big") + bare + raw_of(b"abc")],
        "changes": [load.SerializeToString(), b"\x0a\x01a\x12\x011"],
    }  # fmt: skip
