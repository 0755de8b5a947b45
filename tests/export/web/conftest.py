"""Folders for the browser, served on loopback, and Debian's Chromium without a window."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fleetnet.bundle import MANIFEST, Artifact, Bundle, Manifest
from fleetnet.conformance.files import ConformanceSet
from fleetnet.export.targets.web import ENVIRONMENT
from fleetnet.export.web.folder import folder_of
from users_environments import borrowed

CHROMIUM = shutil.which("chromium")
NODE = shutil.which("node")
LONG = 120_000
ISOLATED = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
}


@pytest.fixture(scope="session")
def runtime(own_cache: None) -> None:
    """Have onnxruntime-web in the cache of the tests, without fetching it."""
    if NODE is None:
        pytest.skip("apt-get install nodejs: Node.js is not here")
    if not borrowed(ENVIRONMENT):
        pytest.skip("onnxruntime-web is not here: `fleetnet export --to web` fetches it once")


def write_folder(place: Path, manifest: Manifest, graph: bytes) -> Path:
    """Write what `--to web` does of a graph, without comparing its answers with PyTorch's."""
    files = {"model.onnx": graph}
    manifest = manifest.with_artifacts([Artifact.of("onnx", files)], str(place))
    place.mkdir()
    for name, content in {**folder_of(files, manifest, ENVIRONMENT.read), **files}.items():
        (place / name).write_bytes(content)
    (place / MANIFEST).write_text(manifest.to_json(), "utf-8", newline="\n")
    return place


@pytest.fixture(scope="session")
def conformance() -> ConformanceSet:
    return ConformanceSet.load()


@pytest.fixture(scope="session")
def small(
    runtime: None, conformance: ConformanceSet, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the conformance set's network."""
    network = Bundle.load(conformance.path / conformance.description.network.file)
    graph = (conformance.path / conformance.description.network.file).read_bytes()
    return write_folder(tmp_path_factory.mktemp("web") / "small", network.manifest, graph)


@contextlib.contextmanager
def served(folder: Path, headers: dict[str, str] | None = None) -> Iterator[str]:
    """Serve a folder on loopback as a plain server of files does; its address ends in a slash."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        extensions_map = {  # noqa: RUF012 - the base class has it so
            **http.server.SimpleHTTPRequestHandler.extensions_map,
            ".mjs": "text/javascript",
            ".wasm": "application/wasm",
        }

        def end_headers(self) -> None:
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *_: object) -> None:
            pass

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle_one_request()

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser for one module: while it is open, no other test can run an event loop."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("apt-get install chromium: no browser is here")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
        )
        yield started
        started.close()


@contextlib.contextmanager
def opened(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """Open a page; it may neither write an error nor ask any other host for anything."""
    context = browser.new_context(**options)
    context.set_default_timeout(LONG)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)[:500]))
    page.on(
        "console",
        lambda said: wrong.append(said.text[:500]) if said.type == "error" else None,
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url[:200]))
    page.goto(address)
    yield page
    context.close()
    assert not wrong
    own = address.rpartition("/")[0]
    strange = [url for url in asked if not url.startswith((own, "data:", "blob:"))]
    assert not strange


def loaded(page: Any) -> None:
    """Wait until the network can be used."""
    from playwright.sync_api import expect

    expect(page.locator("#card")).to_be_visible(timeout=LONG)


CLASSIFY = """async (given) => {
  const { Classifier } = await import("./fleetnet.mjs");
  globalThis.classifier ??= await Classifier.open();
  const found = [];
  for (const { content, preprocess } of given) {
    const bytes = Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0));
    if (preprocess) globalThis.classifier.manifest.preprocess = preprocess;
    try {
      const input = await globalThis.classifier.input(new Blob([bytes]));
      const logits = await globalThis.classifier.logits(input);
      found.push({
        input: btoa(String.fromCharCode(...input.subarray(0, 60000))), size: input.length,
        logits: [...logits], probabilities: [...globalThis.classifier.probabilities(logits)],
      });
    } catch (error) {
      found.push({ error: error.message });
    }
  }
  return found;
}"""


def classified(
    page: Any, contents: Sequence[bytes], preprocess: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Classify encoded pictures by the module, in the page."""
    given = [
        {"content": base64.b64encode(content).decode(), "preprocess": preprocess}
        for content in contents
    ]
    found: list[dict[str, Any]] = page.evaluate(CLASSIFY, given)
    return found


@pytest.fixture(scope="session")
def in_node() -> Callable[..., Any]:
    """Return a function that runs a program in Node.js and gives what it writes as JSON."""

    def run(program: str, folder: Path, given: bytes = b"") -> Any:
        done = subprocess.run(
            ["node", "--input-type=module", "-e", program, str(folder)],
            input=given,
            capture_output=True,
            check=False,
            cwd=folder,
        )
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        return json.loads(done.stdout)

    return run
