"""The playground in a browser: Debian's Chromium without a window, driven by Playwright."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from samples import encode
from serving.colours import BLUE, CLASSES, RED, scene, write_network
from serving.test_process import Server, running

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, FilePayload, Page, ViewportSize, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
LONG = 60_000
HOSTILE = "<img src=x onerror=alert(1)>'\"&amp;.png"
TOKEN = "a-token-of-enough-characters"  # noqa: S105 - of the test's server
EXPECTED = "Failed to load resource: "
"""What Chromium itself writes of a request that is refused, which the page says in its place."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="apt-get install chromium: no browser is here"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, versions: Path) -> Iterator[Server]:
    colours = write_network(tmp_path_factory.mktemp("net") / "colours.onnx")
    with running(f"colours={colours}", "--folder", str(versions)) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
        )
        yield started
        started.close()


@contextlib.contextmanager
def opened(browser: Browser, address: str, script: str = "", **options: Any) -> Iterator[Page]:
    """Open the page; it may neither write an error nor ask any other host for anything."""
    context = browser.new_context(**options)
    context.set_default_timeout(LONG)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
    page.on(
        "console",
        lambda said: (
            wrong.append(said.text)
            if said.type == "error" and not said.text.startswith(EXPECTED)
            else None
        ),
    )
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    if script:
        page.add_init_script(script)
    page.goto(f"{address}/")
    yield page
    context.close()
    assert not wrong
    assert hosts == {urlsplit(address).netloc}


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with opened(browser, server.address) as page:
        expect(page.locator("#card-body dl").first).to_be_visible(timeout=LONG)
        yield page


def red_picture() -> bytes:
    return encode(scene((RED, 120, 50), size=(240, 160)), "PNG")


def give(page: Page, *files: tuple[str, bytes]) -> None:
    """Choose files, as the system's dialog would."""
    page.set_input_files(
        "#files",
        [FilePayload(name=name, mimeType="image/png", buffer=content) for name, content in files],
    )


def answered(page: Page, number: int = 1) -> None:
    """Wait until so many pictures have an answer or an error."""
    expect(page.locator("#answers article:not([aria-busy])")).to_have_count(number, timeout=LONG)
    expect(page.locator("#answers article[aria-busy]")).to_have_count(0, timeout=LONG)


def pixel(page: Page, x: float, y: float) -> list[int]:
    """Return the colour of a picture at shares of its width and height."""
    colour: list[int] = page.evaluate(
        """([x, y]) => {
          const canvas = document.querySelector("#answers canvas");
          const pen = canvas.getContext("2d");
          return [...pen.getImageData(x * canvas.width, y * canvas.height, 1, 1).data];
        }""",
        [x, y],
    )
    return colour


def asking_for_files(page: Page, selector: str) -> Callable[[], bool]:
    """Return what tells whether the system's dialog was asked for, which does not open."""
    page.locator(selector).evaluate(
        """(input) => input.addEventListener("click", (event) => {
          event.preventDefault();
          input.dataset.asked = "yes";
        })"""
    )
    return lambda: page.locator(selector).get_attribute("data-asked") == "yes"


def data_transfer(page: Page, *files: tuple[str, bytes]) -> Any:
    return page.evaluate_handle(
        """(files) => {
          const transfer = new DataTransfer();
          for (const [name, bytes] of files) {
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
          }
          return transfer;
        }""",
        [[name, list(content)] for name, content in files],
    )


def test_a_picture_gets_bars_times_and_a_heat_map_on_its_object(page: Page, server: Server) -> None:
    picture = red_picture()
    give(page, ("disc.png", picture))
    answered(page)
    _, value = server.post("/classify?model=colours", picture)
    top = value["predictions"][0]["top"]
    shown = page.locator(".bars li .name").all_text_contents()
    assert shown == [score["class"] for score in top]
    assert shown[0] == "red"
    numbers = page.locator(".bars .number").all_text_contents()
    assert [float(text.strip("%<>")) for text in numbers] == pytest.approx(
        [100 * score["probability"] for score in top], abs=0.11
    )
    terms = page.locator(".times dt").all_text_contents()
    assert terms == ["Round trip", "Waiting", "Decoding", "Computing", "On the way"]
    assert all(text.endswith(" ms") for text in page.locator(".times dd").all_text_contents())
    expect(page.locator("#told")).to_have_text(f"disc.png: red, {numbers[0]}")

    disc, edge = (0.5, 50 / 160), (0.05, 0.5)
    before = pixel(page, *disc), pixel(page, *edge)
    heat = page.get_by_role("button", name="Heat map")
    heat.click()
    expect(heat).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".heat p[role=status]")).to_contain_text("place hidden", timeout=LONG)
    after = pixel(page, *disc), pixel(page, *edge)
    assert after[0][1] > before[0][1] + 60  # red turns yellow where it is hot
    assert sum(after[1][:3]) < 0.7 * sum(before[1][:3])  # what the network does not see is darker
    page.get_by_role("combobox", name="What speaks for").select_option("blue")
    expect(page.locator(".heat p[role=status]")).to_contain_text("No single", timeout=LONG)
    heat.click()
    assert (pixel(page, *disc), pixel(page, *edge)) == before


def test_several_are_dropped_and_errors_are_said_in_their_place(page: Page) -> None:
    files = (HOSTILE, red_picture()), ("none.png", b"no picture")
    page.dispatch_event("#title", "dragenter")
    expect(page.locator("#drop")).to_have_class("drop over")
    page.dispatch_event("#title", "drop", {"dataTransfer": data_transfer(page, *files)})
    answered(page, 2)
    good, bad = page.locator("#answers article").all()
    expect(good.get_by_role("heading")).to_have_text(HOSTILE)
    expect(good.get_by_role("img")).to_have_attribute("aria-label", HOSTILE)
    expect(bad.locator(".wrong")).to_contain_text("image")
    expect(bad.locator(".bars")).to_have_count(0)
    expect(bad.get_by_text("No preview")).to_be_visible()
    told = page.locator("#told").text_content() or ""
    assert f"{HOSTILE}: red" in told
    assert "none.png: " in told
    for markup in ("img", "main i"):
        assert page.locator(markup).count() == 0
    assert CLASSES[2] in page.locator(".classes").inner_text()
    bad.get_by_role("button", name="Try again").click()
    expect(bad.get_by_role("heading")).to_be_focused()
    answered(page, 2)
    bad.get_by_role("button", name="Remove").click()
    expect(page.locator("#answers > li")).to_have_count(1)
    page.get_by_role("button", name="Remove all").click()
    expect(page.locator("#pictures")).to_be_hidden()


def test_a_picture_is_pasted(page: Page) -> None:
    page.evaluate(
        """(transfer) => document.body.dispatchEvent(
          new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }))""",
        data_transfer(page, ("pasted.png", red_picture())),
    )
    answered(page)
    expect(page.locator(".bars li").first).to_contain_text("red")


def test_a_photograph_is_taken(page: Page) -> None:
    page.get_by_role("button", name="Use the camera").click()
    shoot = page.get_by_role("button", name="Take the picture")
    expect(shoot).to_be_enabled(timeout=LONG)
    expect(shoot).to_be_focused()
    shoot.click()
    answered(page)
    expect(page.get_by_role("heading", name="photograph")).to_be_visible()
    expect(page.locator("#camera")).to_be_hidden()
    assert page.evaluate("document.getElementById('film').srcObject") is None
    page.get_by_role("button", name="Use the camera").click()
    page.keyboard.press("Escape")
    expect(page.locator("#camera")).to_be_hidden()


def test_where_the_page_may_not_use_the_camera_a_phone_does_it_itself(
    browser: Browser, server: Server
) -> None:
    insecure = "Object.defineProperty(window, 'isSecureContext', { value: false });"
    coarse = "window.matchMedia = (query) => ({ matches: query.includes('coarse') });"
    with opened(browser, server.address, insecure) as page:
        expect(page.locator("#photograph")).to_be_hidden()
    with opened(browser, server.address, insecure + coarse) as page:
        asked = asking_for_files(page, "#phone-camera[capture=environment]")
        page.get_by_role("button", name="Use the camera").click()
        assert asked()


def test_everything_is_reached_and_used_by_keyboard(page: Page) -> None:
    def focus(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            focused = page.locator(":focus")
            if focused.count() and name in (focused.text_content() or ""):
                style = "(element) => getComputedStyle(element).outlineStyle"
                assert focused.evaluate(style) == "solid", name
                return
        pytest.fail(f"{name} is not reached")

    asked = asking_for_files(page, "#files")
    focus("Choose pictures")
    page.keyboard.press("Enter")
    assert asked()
    give(page, ("disc.png", red_picture()))
    answered(page)
    focus("Heat map")
    page.keyboard.press("Space")
    expect(page.locator(".heat p[role=status]")).to_contain_text("place hidden", timeout=LONG)
    focus("Files and where it comes from")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Provenance")).to_be_visible()
    focus("curl")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Python")).to_be_focused()
    expect(page.get_by_role("tabpanel")).to_contain_text("import urllib.request")
    page.keyboard.press("End")
    expect(page.get_by_role("tab", name="JavaScript")).to_have_attribute("aria-selected", "true")
    page.locator("h1").click()
    focus("Remove")


def test_models_and_versions_are_chosen_and_their_card_is_shown(page: Page) -> None:
    assert page.locator("#model option").all_text_contents() == ["colours", "shapes"]
    page.get_by_role("combobox", name="Model").select_option("shapes")
    assert page.locator("#version option").all_text_contents() == ["the default", "1", "2"]
    body = page.locator("#card-body")
    expect(body).to_contain_text("shapes, version 2", timeout=LONG)
    expect(body.get_by_role("heading", name="Verified")).to_be_visible()
    for words in ("OpenVINO", "ONNX Runtime", "Top-1", "stripes", "Held-out images"):
        expect(body).to_contain_text(words)
    expect(page.get_by_role("table").first).to_contain_text("square")
    expect(page.get_by_role("tabpanel")).to_contain_text("model=shapes'")
    page.get_by_role("combobox", name="Version").select_option("1")
    expect(body).to_contain_text("shapes, version 1", timeout=LONG)
    expect(page.get_by_role("tabpanel")).to_contain_text("model=shapes&version=1'")
    give(page, ("disc.png", red_picture()))
    answered(page)
    expect(page.locator(".source")).to_have_text("shapes, version 1")
    page.get_by_role("combobox", name="Model").select_option("colours")
    expect(body).to_contain_text("colours, version 1", timeout=LONG)
    page.get_by_role("button", name="Ask again").click()
    expect(page.locator(".source")).to_have_text("colours, version 1", timeout=LONG)


def test_the_code_runs_as_it_is_copied(page: Page, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(red_picture())
    runners = {
        "curl": ["bash", "-c"],
        "fleetnet.client": [sys.executable, "-c"],
        "Python": [sys.executable, "-c"],
        "JavaScript": ["node", "--input-type=module", "-e"],
    }
    page.get_by_role("combobox", name="Model").select_option("colours")
    for language, command in runners.items():
        page.get_by_role("tab", name=language).click()
        code = page.get_by_role("tabpanel").text_content() or ""
        if shutil.which(command[0]) is None or (language == "curl" and not shutil.which("curl")):
            continue
        done = subprocess.run(
            [*command, code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert "red" in done.stdout, language


def test_a_token_is_asked_for_and_kept_in_memory_alone(
    browser: Browser, server: Server, network: Path, tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_text(f"infer {TOKEN}\n")
    with (
        running(
            f"net={network}", "--tokens", str(tmp_path / "tokens"), LIMITS_BODY=10**5
        ) as guarded,
        opened(browser, guarded.address) as page,
    ):
        secret = page.get_by_label("This server wants a token")
        expect(secret).to_be_focused(timeout=LONG)
        secret.fill("another-token-which-is-wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#token-said")).to_have_text("This token is not known.", timeout=LONG)
        secret.fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#card-body dl").first).to_be_visible(timeout=LONG)
        expect(page.locator("#token")).to_be_hidden()
        give(page, ("disc.png", red_picture()))
        answered(page)
        expect(page.locator(".bars li")).to_have_count(4)
        code = page.get_by_role("tabpanel").text_content() or ""
        assert "$FLEETNET_TOKEN" in code
        assert TOKEN not in page.content()
        give(page, ("large.png", bytes(10**5 + 1)))
        answered(page, 2)
        expect(page.locator(".wrong")).to_contain_text("larger than the 100,000 bytes")
        kept = "[localStorage.length, sessionStorage.length, document.cookie]"
        assert page.evaluate(kept) == [0, 0, ""]


def test_a_server_that_is_away_is_said_and_asked_again(page: Page) -> None:
    page.context.set_offline(True)
    give(page, ("disc.png", red_picture()))
    expect(page.locator(".wrong")).to_contain_text("cannot be reached", timeout=LONG)
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".bars li").first).to_contain_text("red", timeout=LONG)


def test_several_heat_maps_wait_for_each_other(page: Page) -> None:
    """The server computes one at a time, and sheds the others."""
    give(page, *((f"{number}.png", red_picture()) for number in range(3)))
    answered(page, 3)
    for button in page.get_by_role("button", name="Heat map").all():
        button.click()
    for sentence in page.locator(".heat p[role=status]").all():
        expect(sentence).to_contain_text("place hidden", timeout=LONG)


def test_more_pictures_than_are_shown_are_left_out_and_said(page: Page) -> None:
    small = encode(scene((BLUE, 20, 20), size=(40, 40)), "PNG")
    give(page, *((f"{number}.png", small) for number in range(63)))
    expect(page.locator("#state")).to_contain_text("3 were left out")
    answered(page, 60)
    assert page.locator(".wrong").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
def test_it_fits_and_is_accessible(
    browser: Browser, server: Server, scheme: Any, width: int
) -> None:
    """On a phone as on a desk; axe checks contrast, names, roles and landmarks."""
    view = ViewportSize(width=width, height=800)
    options: dict[str, Any] = {"color_scheme": scheme, "viewport": view, "reduced_motion": "reduce"}
    wide = "document.documentElement.scrollWidth"
    with opened(browser, server.address, **options) as page:
        page.get_by_role("combobox", name="Model").select_option("shapes")
        expect(page.locator("#card-body")).to_contain_text("stripes", timeout=LONG)
        give(page, ("W" * 200 + ".png", red_picture()), ("none.png", b"no picture"))
        answered(page, 2)
        page.get_by_role("button", name="Heat map").click()
        expect(page.locator(".heat p[role=status]")).to_contain_text("%", timeout=LONG)
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate(wide) == width
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        page.goto(f"{server.address}/docs")
        assert page.evaluate(wide) == width
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_the_policy_stops_a_script_that_got_into_the_page(browser: Browser, server: Server) -> None:
    """Were a name to become markup after all, nothing of it would run."""
    page = browser.new_page()
    page.goto(f"{server.address}/")
    ran = page.evaluate(
        """() => {
          const script = document.createElement("script");
          try { script.text = "window.ran = true"; document.body.append(script); } catch { }
          try { document.body.innerHTML += "<b>x</b>"; window.ran = true; } catch { }
          return window.ran === true;
        }"""
    )
    page.close()
    assert not ran
