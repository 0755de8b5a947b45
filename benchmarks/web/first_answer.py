"""How soon a folder from `fleetnet export --to web` answers in Chromium, and what it weighs.

    python benchmarks/web/first_answer.py FOLDER PICTURE... [--rounds 5] [--screenshots FOLDER]

A time is from the page's address to the bars of the first picture, which is given as soon as the
page takes pictures, as a person would. It is measured for a first visit (nothing kept, from a
server on this machine), for a second one (kept by the service worker, so with threads), and for
the single file. Needs playwright and a Chromium that is there.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gzip
import http.server
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

LONG = 120_000
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
PAGE = ("index.html", "app.mjs", "worker.mjs", "fleetnet.mjs", "style.css", "fleetnet-core.wasm")
LOOKS = {
    "web": {"viewport": {"width": 1100, "height": 900}},
    "web-dark": {"viewport": {"width": 1100, "height": 900}, "color_scheme": "dark"},
    "web-phone": {"viewport": {"width": 360, "height": 900}},
}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine."""
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def answer(page: Page, address: str, pictures: list[Path]) -> float:
    """Return the seconds until the first answer."""
    began = time.perf_counter()
    page.goto(address)
    page.set_input_files("#files", [str(picture) for picture in pictures[:1]])
    expect(page.locator(".bars").first).to_be_visible(timeout=LONG)
    return time.perf_counter() - began


def measure(browser: Browser, folder: Path, pictures: list[Path], rounds: int) -> None:
    """Print the median times."""
    times: dict[str, list[float]] = {"first visit": [], "second visit": [], "single file": []}
    with served(folder) as address:
        for _ in range(rounds):
            context = browser.new_context()
            page = context.new_page()
            times["first visit"].append(answer(page, address, pictures))
            page.evaluate("() => navigator.serviceWorker.ready.then(() => true)")
            times["second visit"].append(answer(page, address, pictures))
            engine = page.locator("#engine").inner_text()
            context.close()
            context = browser.new_context()
            single = (folder / "fleetnet.html").as_uri()
            times["single file"].append(answer(context.new_page(), single, pictures))
            context.close()
    for name, values in times.items():
        print(f"{name:13} {statistics.median(values):.2f} s (median of {rounds})")
    print(f"second visit: {engine}")


def weigh(folder: Path) -> None:
    """Print what a visitor fetches."""
    for title, names in (
        ("page, module and core", PAGE),
        ("onnxruntime-web", RUNTIME),
        ("network", ("model.onnx", "fleetnet.json")),
        ("single file", ("fleetnet.html",)),
    ):
        contents = [(folder / name).read_bytes() for name in names]
        packed = sum(len(gzip.compress(content, 9)) for content in contents)
        print(f"{title:22} {sum(map(len, contents)) / 1e6:7.2f} MB, in gzip {packed / 1e6:.2f} MB")


def photograph(browser: Browser, folder: Path, pictures: list[Path], place: Path) -> None:
    """Write pictures of the page with answers and a heat map."""
    with served(folder) as address:
        for name, look in LOOKS.items():
            context = browser.new_context(**look)
            page = context.new_page()
            page.goto(address)
            page.set_input_files("#files", [str(picture) for picture in pictures])
            done = page.locator("#answers article:not([aria-busy])")
            expect(done).to_have_count(len(pictures), timeout=LONG)
            page.get_by_role("button", name="Heat map").first.click()
            page.locator(".heat p[role=status]:not(.waiting)").first.wait_for(timeout=LONG)
            page.screenshot(path=place / f"{name}.png")
            context.close()


def main() -> None:
    """Measure, weigh, and take pictures where they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--screenshots", type=Path)
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        weigh(given.folder)
        if given.rounds:
            measure(browser, given.folder.resolve(), given.pictures, given.rounds)
        if given.screenshots:
            photograph(browser, given.folder, given.pictures, given.screenshots)
        browser.close()


if __name__ == "__main__":
    main()
