"""The playground's files and the model card, without a browser."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fleetnet.bundle import Bundle
from serving.colours import CLASSES, write_network
from serving.conftest import Serve

FILES = {
    file.name: file.read_text("utf-8")
    for file in resources.files("fleetnet.serving.rest").joinpath("page").iterdir()
}
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class Tags(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_every_file_is_served_with_its_type_and_the_policy(net: TestClient) -> None:
    for name, text in FILES.items():
        response = net.get(f"/page/{name}")
        assert response.status_code == 200, name
        assert response.text == text
        assert response.headers["content-type"].startswith(TYPES[name.rpartition(".")[2]])
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        policy = dict(
            rule.split(" ", 1) for rule in response.headers["content-security-policy"].split("; ")
        )
        assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert "unsafe" not in response.headers["content-security-policy"]
    assert net.get("/").text == FILES["index.html"]
    assert "location" not in net.get("/").headers


def test_a_browser_that_has_a_file_is_told_so(net: TestClient) -> None:
    first = net.get("/page/app.js")
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        again = net.get("/page/app.js", headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    assert net.get("/page/app.js", headers={"if-none-match": '"other"'}).status_code == 200
    assert len({net.get(f"/page/{name}").headers["etag"] for name in FILES}) == len(FILES)


@pytest.mark.parametrize(
    "path",
    ["/page/", "/page/none.js", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page/..%5capp.py",
     "/page//etc/passwd", "/page/%00", "/page/app.js/", "/page/APP.JS", "/index.html"],
)  # fmt: skip
def test_no_other_file_is_served(net: TestClient, path: str) -> None:
    response = net.get(path)
    assert response.status_code == 404
    assert set(response.json()) == {"error", "code", "fields"}
    assert net.post("/page/app.js").status_code == 405


def test_the_pages_load_nothing_from_elsewhere_and_have_no_script_in_their_text(
    net: TestClient,
) -> None:
    for path in ("/", "/docs"):
        for tag, attributes in Tags(net.get(path).text).found:
            assert tag != "style"
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
            assert tag != "script" or attributes["src"], "a script in the text"
            for name in ("src", "href"):
                target = attributes.get(name) or "/"
                assert target[0] in "/#"
                assert not target.startswith("//")
                if target[0] == "/":
                    assert net.get(target).status_code == 200, target
    for name, text in FILES.items():
        found = re.findall(r"https?://[^\s\"'`]+", text)
        assert found in ([], ["http://www.w3.org/2000/svg"]), name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_page_needs_no_token_and_holds_no_secret(
    serve: Serve, network: Path, tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_text("infer a-token-of-enough-characters\n")
    client = serve(models={"net": network}, tokens=tmp_path / "tokens")
    for path in ("/", "/page/app.js", "/docs"):
        assert client.get(path).status_code == 200
    assert client.post("/v2/repository/index").status_code == 401


def test_other_sites_pages_can_neither_ask_nor_change_anything(
    serve: Serve, network: Path, picture: bytes
) -> None:
    """A browser sends such requests without asking first, but says whose they are."""
    client = serve(models={"net": network})
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        headers = {"sec-fetch-site": site, "content-type": "text/plain"}
        unload = client.post("/v2/repository/models/other/unload", content="{}", headers=headers)
        assert unload.status_code == (404 if status == 200 else 403)
        headers["content-type"] = "image/jpeg"
        assert client.post("/classify", content=picture, headers=headers).status_code == status
        assert client.get("/", headers=headers).status_code == 200
    assert client.get("/v2/models/net").status_code == 200


def test_the_card_is_what_the_bundle_says_and_what_computes_it(
    serve: Serve, versions: Path
) -> None:
    client = serve(folder=versions, limits={"images": 9})
    manifest = Bundle.load(versions / "shapes" / "2").manifest
    card = client.get("/models/shapes/card").json()
    assert (card["model"], card["version"], card["versions"]) == ("shapes", "2", ["1", "2"])
    assert card["classes"] == list(manifest.classes)
    assert card["provenance"]["served_as"] == "2"
    assert card["metrics"] == manifest.metrics
    assert card["preprocess"] == manifest.preprocess.to_json()
    records = card["artifacts"][0]["verification"]
    assert {record["engine"] for record in records} == {"onnxruntime", "openvino"}
    assert card["engine"]["name"] == "openvino"
    assert card["limits"]["images"] == 9
    assert card["explains"] is True
    older = client.get("/models/shapes/versions/1/card").json()
    assert older["bundle"] != card["bundle"]
    for path in ("/models/none/card", "/models/shapes/versions/3/card"):
        assert client.get(path).status_code == 404
    assert str(versions) not in json.dumps(card)


def test_a_card_is_json_whatever_the_bundle_says(serve: Serve, tmp_path: Path) -> None:
    client = serve(models={"colours": write_network(tmp_path / "colours.onnx")})
    text = client.get("/models/colours/card").text
    card = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert card["metrics"]["held_out"] == {"images": 20, "top1": 0.95, "not_measured": None}
    assert card["classes"] == list(CLASSES)
    assert card["artifacts"] == []
