"""Bundles to serve, and a server in this process."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from fleetnet.bundle import Bundle
from fleetnet.conformance.files import ConformanceSet, find_set
from fleetnet.serving.auth import Tokens
from fleetnet.serving.config import Settings
from fleetnet.serving.lifecycle import repository_of
from fleetnet.serving.rest.app import App
from fleetnet.serving.service import Service

Serve = Callable[..., TestClient]


@pytest.fixture(scope="session")
def conformance() -> ConformanceSet:
    return ConformanceSet.load()


@pytest.fixture(scope="session")
def network() -> Path:
    """The conformance set's network, which is a bundle by itself and needs no training."""
    return find_set() / "network.onnx"


@pytest.fixture(scope="session")
def picture(conformance: ConformanceSet) -> bytes:
    return (conformance.path / "pictures" / "jpeg-baseline.jpg").read_bytes()


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    """A folder of the model ``shapes`` in two versions, whose bundles differ in their hash."""
    folder = tmp_path_factory.mktemp("models")
    for version in ("1", "2"):
        copy = folder / "shapes" / version
        shutil.copytree(bundle.path, copy)
        manifest = json.loads((copy / "fleetnet.json").read_text("utf-8"))
        manifest["provenance"]["served_as"] = version
        (copy / "fleetnet.json").write_text(json.dumps(manifest), "utf-8")
    return folder


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own making, which is its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    made = [
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
    ]
    if shutil.which("openssl") is None:
        pytest.skip("making a certificate takes openssl")
    subprocess.run(made, check=True, capture_output=True)
    return folder


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that starts a service with settings, and returns a client of it."""
    with contextlib.ExitStack() as stack:
        yield lambda **values: stack.enter_context(serving(**values))


@pytest.fixture(scope="module")
def net(network: Path) -> Iterator[TestClient]:
    """A client of a service of one model, for tests that change nothing."""
    with serving(models={"net": network}) as client:
        yield client


@contextlib.contextmanager
def serving(**values: object) -> Iterator[TestClient]:
    settings = Settings.load_all(None, {}, {"engine": {"threads": 1}, **values})
    service = Service(repository_of(settings), settings.routes(), settings.options())
    app = App(service, Tokens(settings.tokens), settings.limits)
    with TestClient(app.asgi, raise_server_exceptions=False) as client:
        assert client.portal is not None
        client.portal.call(service.start, settings.load)
        app.asgi.state.service = service
        yield client
        client.portal.call(service.close)


def service_of(client: TestClient) -> Service:
    """Return the service behind a client."""
    app = client.app
    assert isinstance(app, Starlette)
    service: Service = app.state.service
    return service
