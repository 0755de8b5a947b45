"""The programs of docs/clients.md, as they stand there, against a server and an overloaded one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from client.conftest import LONG, Scripted, reply
from fleetnet.classifier import Classifier
from samples import ROOT

pytestmark = pytest.mark.slow

ADDRESS = "http://127.0.0.1:8000"
GOOD = b'{"predictions": [{"top": [{"class": "of-a-kind", "index": 0, "probability": 0.75}]}]}'
SHED = reply(b'{"error": "full"}', 429, "Retry-After: 1")


@dataclass(frozen=True)
class Language:
    """How a program of the page is run.

    Attributes:
        fence: what its blocks of code begin with.
        file: that it is written to.
        tools: it takes, of the system.
        run: the command.
        build: the command before that.
        header: a file that some include needs.
    """

    fence: str
    file: str
    tools: tuple[str, ...]
    run: tuple[str, ...]
    build: tuple[str, ...] = ()
    header: str = ""


LANGUAGES = {
    "curl": Language("bash", "classify.sh", ("curl", "bash"), ("bash", "classify.sh")),
    "Python": Language("python", "classify.py", (), (sys.executable, "classify.py")),
    "JavaScript": Language("js", "classify.mjs", ("node",), ("node", "classify.mjs")),
    "C++": Language(
        "cpp",
        "classify.cpp",
        ("g++",),
        ("./classify",),
        ("g++", "-std=c++17", "-Wall", "-Werror", "classify.cpp", "-lcurl", "-o", "classify"),
        "<curl/curl.h>",
    ),
    "Go": Language("go", "classify.go", ("go",), ("./classify",), ("go", "build", "classify.go")),
    "Java": Language(
        "java", "Classify.java", ("java", "javac"), ("java", "Classify"), ("javac", "Classify.java")
    ),
}


def code_of(language: str) -> str:
    """Return the program of a language: all of the blocks under its heading."""
    page = (ROOT / "docs" / "clients.md").read_text("utf-8")
    under = re.findall(rf"^## {re.escape(language)}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    fence = LANGUAGES[language].fence
    return "\n".join(re.findall(rf"^```{fence}\n(.*?)^```", under[0], re.M | re.S))


def test_every_language_of_the_page_is_tried() -> None:
    page = (ROOT / "docs" / "clients.md").read_text("utf-8")
    assert re.findall("^## (.*)$", page, re.M) == list(LANGUAGES)


@pytest.mark.parametrize("number", [0, 1])
def test_the_code_for_python_runs(number: int, server: str, picture: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "client.md").read_text("utf-8")
    code = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)[number]
    (tmp_path / "photos").mkdir()
    for place in ("photo.jpg", "photos/a.jpg"):
        shutil.copy(picture, tmp_path / place)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code.replace(ADDRESS, server)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "photos/a.jpg" in done.stdout


@pytest.fixture(scope="module", params=LANGUAGES)
def program(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, picture: Path
) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Return a function that runs a program against a server at some address."""
    language = LANGUAGES[request.param]
    for tool in language.tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if language.header and ran(("g++", "-E", "-x", "c++", "-"), f"#include {language.header}"):
        pytest.skip(f"{language.header} is not installed")
    folder = tmp_path_factory.mktemp("program")
    shutil.copy(picture, folder / "photo.jpg")
    code = code_of(request.param)
    assert ADDRESS in code

    def run(address: str) -> subprocess.CompletedProcess[str]:
        (folder / language.file).write_text(code.replace(ADDRESS, address), "utf-8")
        environment = {**os.environ, "GOCACHE": str(folder / "go"), "GO111MODULE": "off"}
        for command in filter(None, (language.build, language.run)):
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=5 * LONG,
                check=False,
            )
            if command is language.build:
                assert done.returncode == 0, done.stderr
        return done

    return run


def ran(command: tuple[str, ...], given: str) -> int:
    return subprocess.run(command, input=given.encode(), capture_output=True).returncode


def test_the_program_names_the_classes(
    program: Callable[[str], subprocess.CompletedProcess[str]],
    server: str,
    network: Path,
    picture: Path,
) -> None:
    done = program(server)
    assert done.returncode == 0, done.stderr
    with Classifier(network) as classifier:
        (expected,) = classifier.predict(picture)
    places = [done.stdout.index(score.label) for score in expected.top]
    assert places == sorted(places)


def test_the_program_asks_again_where_it_was_shed_and_says_why_there_is_no_answer(
    program: Callable[[str], subprocess.CompletedProcess[str]],
    scripted: Callable[..., Scripted],
    picture: Path,
) -> None:
    script = scripted(SHED, reply(GOOD))
    done = program(script.url)
    assert done.returncode == 0, done.stderr
    assert "of-a-kind" in done.stdout
    assert [body for _, body in script.requests] == [picture.read_bytes()] * 2
    script = scripted(reply(b'{"error": "the reason"}', 404))
    done = program(script.url)
    assert done.returncode != 0
    assert "the reason" in done.stdout + done.stderr
    assert len(script.requests) == 1
