"""The page in Chromium: from a server, from a file, without a network, by keyboard, on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.web.conftest import CHROMIUM, ISOLATED, LONG, loaded, opened, served, write_folder
from fleetnet.bundle import Bundle
from fleetnet.conformance.files import ConformanceSet
from samples import draw, encode

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=alert(1)>'\"&amp;</script><script>alert(1)</script>"
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def hostile(
    runtime: None, conformance: ConformanceSet, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder whose network and classes have the names that would do harm as markup."""
    file = conformance.path / conformance.description.network.file
    manifest = Bundle.load(file).manifest
    names = tuple(f"{number} {HOSTILE}" for number in range(len(manifest.classes)))
    model = manifest.model.model_copy(update={"name": HOSTILE})
    manifest = manifest.model_copy(update={"classes": names, "model": model})
    return write_folder(tmp_path_factory.mktemp("web") / "hostile", manifest, file.read_bytes())


@pytest.fixture(scope="module")
def address(small: Path) -> Iterator[str]:
    with served(small) as address:
        yield address


def picture(kind: str = "circle", name: str = "circle.png") -> dict[str, Any]:
    content = encode(draw(kind, np.random.default_rng(3)), "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": content}


def answered(page: Any, number: int = 1) -> None:
    from playwright.sync_api import expect

    expect(page.locator("#answers article:not([aria-busy])")).to_have_count(number, timeout=LONG)


def overflow(page: Any) -> int:
    wide: int = page.evaluate(
        "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return wide


def test_several_pictures_get_bars_times_and_a_heat_map(browser: Any, address: str) -> None:
    from playwright.sync_api import expect

    with opened(browser, address) as page:
        loaded(page)
        assert "WebAssembly, one thread, SIMD" in page.locator("#engine").inner_text()
        text = {"name": "no.png", "mimeType": "image/png", "buffer": b"text"}
        page.set_input_files("#files", [picture(), picture("square", "square.png"), text])
        answered(page, 3)
        assert page.locator(".bars").count() == 2
        assert page.locator(".bars").first.locator("li").count() == 4
        assert "not an image in a known format" in page.locator("#answers").inner_text()
        assert "Decoding" in page.locator(".times").nth(1).inner_text()
        before = page.locator("#answers canvas").last.evaluate("(canvas) => canvas.toDataURL()")
        heat = page.locator("#answers article").last.get_by_role("button", name="Heat map")
        if heat.count() == 0:
            heat = page.get_by_role("button", name="Heat map").last
        heat.click()
        expect(page.locator(".heat p[role=status]:not(.waiting)")).to_contain_text(
            "place", timeout=LONG
        )
        assert before
        page.get_by_role("button", name="Remove all").click()
        expect(page.locator("#pictures")).to_be_hidden()


def test_hostile_names_stay_text(browser: Any, hostile: Path) -> None:
    with served(hostile) as address:
        for url in (address, (hostile / "fleetnet.html").as_uri()):
            with opened(browser, url) as page:
                page.on("dialog", lambda dialog: pytest.fail(dialog.message))
                loaded(page)
                page.set_input_files("#files", [picture(name="x.png")])
                answered(page)
                assert HOSTILE in page.locator(".bars").first.inner_text()
                assert page.title() == f"{HOSTILE} – Fleetnet"
                assert page.locator("img").count() == 0
    described = json.loads((hostile / "package.json").read_text("utf-8"))["description"]
    assert HOSTILE in described


def test_the_single_file_needs_no_server(browser: Any, small: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.html"
    alone.write_bytes((small / "fleetnet.html").read_bytes())
    with opened(browser, alone.as_uri()) as page:
        loaded(page)
        page.set_input_files("#files", [picture()])
        answered(page)
        assert page.locator(".bars li").count() == 4
        page.get_by_role("button", name="Heat map").click()
        page.locator(".heat p[role=status]:not(.waiting)").wait_for(timeout=LONG)


def test_without_a_network_after_one_visit_and_then_with_threads(browser: Any, small: Path) -> None:
    context = browser.new_context()
    context.set_default_timeout(LONG)
    page = context.new_page()
    with served(small) as address:
        page.goto(address)
        loaded(page)
        page.evaluate("() => navigator.serviceWorker.ready.then(() => true)")
    # The server is gone.
    page.goto(address)
    loaded(page)
    assert page.evaluate("() => crossOriginIsolated")
    page.set_input_files("#files", [picture()])
    answered(page)
    assert page.locator(".bars li").count() == 4
    context.close()


def test_a_changed_file_is_another_version(small: Path, tmp_path: Path) -> None:
    manifest = Bundle.load(small).manifest
    graph = (small / "model.onnx").read_bytes()
    same = write_folder(tmp_path / "same", manifest, graph)
    other = write_folder(
        tmp_path / "other", manifest.model_copy(update={"metrics": {"top1": 0.5}}), graph
    )
    scripts = [(folder / "sw.js").read_text("utf-8") for folder in (small, same, other)]
    assert scripts[0] == scripts[1] != scripts[2]
    assert "{version}" not in scripts[0]


def test_threads_where_the_server_isolates_the_page(browser: Any, small: Path) -> None:
    with served(small, ISOLATED) as address, opened(browser, address) as page:
        loaded(page)
        assert page.evaluate("() => crossOriginIsolated")
        page.set_input_files("#files", [picture()])
        answered(page)
        found = page.evaluate(
            """async () => {
              const { Classifier } = await import("./fleetnet.mjs");
              const answers = [];
              for (const threads of [1, 2]) {
                const classifier = await Classifier.open(".", { threads });
                const side = classifier.manifest.preprocess.crop;
                const input = Uint8Array.from({ length: 3 * side * side }, (_, i) => i % 251);
                answers.push([...await classifier.logits(input)], classifier.engine.threads);
              }
              return answers;
            }"""
        )
        np.testing.assert_allclose(found[0], found[2], atol=1e-4)
        assert (found[1], found[3]) == (1, 2)


def test_by_keyboard_and_for_screen_readers(browser: Any, address: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    for scheme in ("light", "dark"):
        with opened(browser, address, color_scheme=scheme, reduced_motion="reduce") as page:
            loaded(page)
            reached = []
            for _ in range(4):
                page.keyboard.press("Tab")
                reached.append(page.evaluate("() => document.activeElement.textContent.trim()"))
            assert "Choose pictures" in reached
            page.set_input_files("#files", [picture()])
            answered(page)
            page.get_by_role("button", name="Heat map").focus()
            page.keyboard.press("Enter")
            page.locator(".heat p[role=status]:not(.waiting)").wait_for(timeout=LONG)
            results = axe.Axe().run(page)
            assert results.violations_count == 0, results.generate_report()
            assert "circle.png" in page.locator("#told").inner_text()


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Any, hostile: Path) -> None:
    with served(hostile) as address, opened(browser, address, viewport=PHONE) as page:
        loaded(page)
        page.set_input_files("#files", [picture(name="a" * 200 + ".png")])
        answered(page)
        assert overflow(page) == 0


def test_a_photograph_by_the_camera(browser: Any, address: str) -> None:
    with opened(browser, address) as page:
        loaded(page)
        page.get_by_role("button", name="Use the camera").click()
        page.get_by_role("button", name="Take the picture").click()
        answered(page)
        assert page.locator(".bars li").count() == 4


def test_a_damaged_model_is_said(browser: Any, small: Path, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in small.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    graph = bytearray((small / "model.onnx").read_bytes())
    graph[-1] ^= 1
    (folder / "model.onnx").write_bytes(graph)
    with served(folder) as address, opened(browser, address) as page:
        expect(page.locator("#state")).to_contain_text(
            "model.onnx is not the file that fleetnet.json describes", timeout=LONG
        )


def test_webgpu_is_taken_only_where_it_is_faster(browser: Any, small: Path) -> None:
    flags = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
    other = browser.browser_type.launch(executable_path=CHROMIUM, args=flags)
    try:
        with served(small) as address, opened(other, address) as page:
            if not page.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())"):
                pytest.skip("this Chromium has no WebGPU, not even in software")
            loaded(page)
            found = page.evaluate(
                """async () => {
                  const { Classifier } = await import("./fleetnet.mjs");
                  const answers = {};
                  for (const engine of ["wasm", "webgpu", "auto"]) {
                    const classifier = await Classifier.open(".", { engine });
                    const side = classifier.manifest.preprocess.crop;
                    const input = Uint8Array.from({ length: 3 * side * side }, (_, i) => i % 251);
                    const logits = await classifier.logits(input);
                    const probabilities = [...classifier.probabilities(logits)];
                    answers[engine] = [classifier.engine.name, probabilities];
                  }
                  return answers;
                }"""
            )
    finally:
        other.close()
    assert (found["wasm"][0], found["webgpu"][0]) == ("WebAssembly", "WebGPU")
    np.testing.assert_allclose(found["webgpu"][1], found["wasm"][1], atol=1e-3)
    assert found["auto"][0] in ("WebAssembly", "WebGPU")
