"""What docs/serving.md shows is run as it stands there, against a server of all protocols."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetnet.serving.auth import Tokens
from fleetnet.serving.config import Settings
from samples import ROOT
from serving.test_process import Server, by_triton, needs_triton, running

pytestmark = pytest.mark.slow
PAGE = (ROOT / "docs" / "serving.md").read_text("utf-8")
LONG = 60.0
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="this takes curl")


def block(language: str, *words: str) -> str:
    """Return the block of code that has all of these words."""
    blocks = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", PAGE, re.DOTALL | re.MULTILINE)
    (found,) = [
        "\n".join(line.removeprefix(indent) for line in text.splitlines())
        for indent, kind, text in blocks
        if kind == language and all(word in text for word in words)
    ]
    return found + "\n"


@pytest.fixture(scope="module")
def server(network: Path) -> Iterator[Server]:
    with running(f"shapes={network}") as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, picture: bytes) -> Path:
    """A folder in which a reader has the pictures that the page names."""
    for name in ("photo.jpg", "a.jpg", "b.png"):
        (tmp_path / name).write_bytes(picture)
    return tmp_path


def ran(command: list[str], place: Path) -> str:
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, timeout=LONG, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_curl
def test_every_way_of_curl_gets_an_answer(server: Server, place: Path) -> None:
    shown = block("", "curl -F image=@a.jpg") + block("", "/models/shapes/card")
    for number, command in enumerate(re.split(r"\n(?=curl|printf)", shown)):
        script = command.replace("http://127.0.0.1:8000", server.address)
        told = json.loads(ran(["bash", "-c", script.replace("curl ", "curl -sS ")], place))
        assert "error" not in told, (number, told)
        if "/classify" in command:
            images = 2 if "b.png" in command else 1
            assert [one["error"] for one in told["predictions"]] == [None] * images
            assert len(told["predictions"][0]["top"]) == (3 if "top_k" in command else 4)
    assert number == 4


@needs_triton
def test_tritonclients_code_gets_an_answer(server: Server, place: Path) -> None:
    code = block("python", "tritonclient.http")
    address = server.address.removeprefix("http://")
    (place / "code.py").write_text(code.replace("127.0.0.1:8000", address), "utf-8")
    assert len(re.findall(r"\[\[.*?\]\]", by_triton(place / "code.py", cwd=place))) == 1


def test_brpcs_frame_gets_an_answer(network: Path, place: Path) -> None:
    code = block("python", "PRPC")
    with running(f"shapes={network}") as server:
        host, _, port = server.address_of("brpc").rpartition(":")
        (place / "code.py").write_text(
            code.replace('("127.0.0.1", 8002)', f'("{host}", {port})'), "utf-8"
        )
        told = ran([sys.executable, "code.py"], place)
    assert len(told.strip(" []\n").split()) == 4


def test_the_service_in_python_gets_an_answer(network: Path, place: Path) -> None:
    shutil.copy(network, place / "network.onnx")
    code = block("python", "Service(").replace("model.bundle", "network.onnx")
    (place / "code.py").write_text(code, "utf-8")
    assert "square" in ran([sys.executable, "code.py"], place)


def test_the_file_of_tokens_is_one(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(block("", "sha256:"), "utf-8")
    tokens = Tokens(file)
    tokens.check("a-long-random-token", "infer")
    tokens.check("password", "admin")  # whose SHA-256 everybody knows


def test_the_settings_are_the_defaults_and_all_of_them(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(block("yaml", "limits:"), "utf-8")
    shown = Settings.load_all(file, {}, {})
    defaults = Settings()
    examples = {name: getattr(defaults, name) for name in ("models", "aliases", "routing")}
    assert shown.model_copy(update=examples) == defaults
    for name in Settings.model_fields:
        assert re.search(rf"^{name}:", file.read_text("utf-8"), re.MULTILINE), name
