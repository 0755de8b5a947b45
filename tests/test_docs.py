"""What the pages say is so: their links lead somewhere, and their commands exist."""

import importlib
import re
import shlex
import unicodedata
from pathlib import Path

import pytest

from conftest import Run
from fleetnet import Classifier
from fleetnet.bundle import Bundle
from fleetnet.export.targets import TARGETS
from samples import CLASSES, ROOT

PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("benchmarks/**/*.md"),
        *ROOT.glob("examples/*.md"),
        *ROOT.glob(".github/**/*.md"),
    }
)
GROUPS = ("data", "study", "weights")
"""Commands that have commands of their own."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """Return a page without its blocks of code, in which signs mean other things."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return what the forges call a page's headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        kept = (sign for sign in heading.lower() if sign in " -_" or is_word(sign))
        slug = "".join(kept).replace(" ", "-")
        number = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", old) is not None for old in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


def is_word(sign: str) -> bool:
    return unicodedata.category(sign)[0] in "LNM"


def commands(page: Path) -> list[str]:
    """Return the command lines that a page shows, in blocks of code and within sentences."""
    text = page.read_text("utf-8")
    blocks = "\n".join(re.findall(r"```(?:bash)?\n(.*?)```", text, re.DOTALL))
    lines = re.findall(r"^fleetnet .*$", blocks, re.MULTILINE)
    return [*lines, *re.findall(r"`(fleetnet [a-z][^`]*)`", prose(page))]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {
        (index.parent / link).resolve() for link in re.findall(r"\]\(([^)]+\.md)\)", prose(index))
    }
    built = {page for page in PAGES if ".github" not in page.parts and "api" not in page.parts}
    assert built - linked == {index}


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name_of)
def test_every_command_is_one_that_exists(fleetnet: Run, page: Path) -> None:
    for command in commands(page):
        _, verb, *words = shlex.split(re.split(r" #|  +\D|…", command)[0])
        help_text = fleetnet(verb, *words[: verb in GROUPS], "--help")
        assert help_text.code == 0, command
        for word in words:
            if re.match(r"--?[a-z]", word):
                assert re.search(rf"{word}\b", help_text.out), f"{word} of {command!r}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_script_and_every_make_target_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    rules = (ROOT / "Makefile").read_text("utf-8")
    for module in re.findall(r"python -m (benchmarks(?:\.\w+)+)", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module
    for file, options in re.findall(r"python (benchmarks/[\w/]+\.py)([^`\n]*)", text):
        assert (ROOT / file).is_file(), file
        # Scripts share some of their options.
        known = "".join(one.read_text("utf-8") for one in (ROOT / "benchmarks").rglob("*.py"))
        for option in re.findall(r"--[a-z][a-z-]+", options):
            assert f'"{option}"' in known, f"{option} of {file}"
    for target in re.findall(r"(?:`|^)make ([a-z][a-z0-9-]*)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", rules, re.MULTILINE), target


@pytest.mark.parametrize("target", list(TARGETS))
def test_every_target_has_a_page_that_shows_its_command(target: str) -> None:
    devices = ROOT / "docs" / "devices.md"
    rows = devices.read_text("utf-8")
    row = re.search(rf"^\| \[`{target}`\]\(([^)]+)\) \| ([^|]+) \|", rows, re.MULTILINE)
    assert row is not None
    for precision in TARGETS[target].precisions:
        assert precision in row[2]
    page = devices.parent / row[1]
    assert any(re.search(rf"--to {target}\b(?!-)", command) for command in commands(page))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["data", "data-check", "evaluation", "serving", "training", "tuning"]
)
def test_the_python_runs(
    name: str, bundle: Bundle, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[-1]
    for folder in ("cells", "images", "photos"):
        (tmp_path / folder).symlink_to(shapes)
    (tmp_path / "model.bundle").symlink_to(bundle.path)
    (tmp_path / "photo.jpg").symlink_to(min(shapes.glob("*/*.jpg")))
    rows = [f"{kind}/{number:03d}.jpg,{kind}" for kind in CLASSES for number in range(3)]
    (tmp_path / "table.csv").write_text("\n".join(["path,kind", *rows]))
    monkeypatch.chdir(tmp_path)
    # A script that trains does so only where it is called as one, which takes too long here.
    exec(code, {"Classifier": Classifier})  # noqa: S102 - our own pages


def test_the_commands_page_has_every_command(fleetnet: Run) -> None:
    shown = {
        " ".join(command.split()[1 : 3 if command.split()[1] in GROUPS else 2])
        for command in commands(ROOT / "docs" / "commands.md")
    }
    for group in ((), *((name,) for name in GROUPS)):
        listed = fleetnet(*group, "--help").out.partition("Commands:")[2]
        for verb in re.findall(r"^  (\w+) ", listed, re.MULTILINE):
            if (*group, verb) not in ((name,) for name in GROUPS):
                assert " ".join((*group, verb)) in shown


def test_the_reference_begins_with_names_that_exist() -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    names = re.findall(r"^   (fleetnet\.[\w.]+\.\w+)$", page, re.MULTILINE)
    assert len(names) > 5
    for name in names:
        home, _, member = name.rpartition(".")
        assert hasattr(importlib.import_module(home), member), name


def test_the_architecture_names_every_room_and_no_file_that_is_gone() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    there = {path.name for folder in ("src", "native") for path in (ROOT / folder).rglob("*.*")}
    assert set(re.findall(r"`(?:[\w/]+/)?(\w+\.(?:py|toml|tsv))`", page)) <= there
    package = ROOT / "src" / "fleetnet"
    rooms = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    rooms |= {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    assert rooms <= set(re.findall(r"`([\w.]+/?)`", page.partition("## Decisions")[0]))
