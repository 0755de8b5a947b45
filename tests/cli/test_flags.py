import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import fleetnet
from fleetnet.cli import VERBS, _app
from fleetnet.cli.flags import flag, with_flags
from fleetnet.errors import DataError, FleetnetError, at, following
from fleetnet.reporting import Note

PACKAGE = Path(fleetnet.__file__).parent


@pytest.mark.parametrize(
    ("message", "argument", "shown"),
    [
        ("give some with images=, or more", "images", "give some with --images, or more"),
        ("measure all with split='all'", "split", "measure all with --split all"),
        ("leave calibrate= out", "calibrate", "leave --calibrate out"),
        ("name a column with label_columns=", "label_columns", "name a column with --label-column"),
        ("(split='all' too)", "split", "(--split all too)"),
        ("go on with resume='runs/a b'", "resume", "go on with fleetnet train --resume runs/a b"),
    ],
)
def test_arguments_become_flags(message: str, argument: str, shown: str) -> None:
    assert with_flags(Note(message, arguments=[argument])) == shown
    assert with_flags(Note.of(FleetnetError(message, arguments=[argument]))) == shown
    assert with_flags(message) == message
    assert with_flags(Note(message, arguments=["other"], settings=[argument])) == message


@pytest.mark.parametrize(
    ("message", "key"),
    [("set data.workers=0 loads without", "data.workers"), ("or set compile=false", "compile")],
)
def test_settings_become_flags(message: str, key: str) -> None:
    shown = message.replace("set ", "--set ")
    assert with_flags(Note(message, settings=[key])) == shown
    assert with_flags(Note.of(FleetnetError(message, settings=[key]))) == shown
    assert with_flags(message) == message


@pytest.mark.parametrize(
    "message",
    [
        "no such file: data/split=train/0.parquet",
        "no such file: split=train/0.parquet",
        "no such file: 'images=.jpg'",
        "no such file: images=.jpg",
        "the set of images",
        "threads is 0; it must be from 1 to 8",
        "offset=3",
        "cannot read 'a images= b.jpg'",
        "cannot read a images= b.jpg",
        "cannot read set a=b",
        "cannot read set data.workers=0",
        "my threads= and output=x",
    ],
)
def test_a_line_that_names_nothing_stays(message: str) -> None:
    """However much a name in it looks like an argument."""
    assert with_flags(message) == message
    assert with_flags(Note.of(FleetnetError(message))) == message


@pytest.mark.parametrize(
    "message",
    [
        "no such file: data/split=train/0.parquet",
        "no such file: split=train/0.parquet",
        "no such file: 'images=.jpg'",
        "no such file: images=.jpg",
        "cannot read 'a images= b.jpg'",
        "no such file: '/data/set a=b/y.jpg'",
        "photos/a images= b.jpg: not an image",
        "photos/set a=b/y.jpg: not an image",
        "my split='all'.jpg: not an image",
    ],
)
def test_names_that_look_like_what_the_line_names_stay(message: str) -> None:
    note = Note(message, arguments=["images", "split"], settings=["a"])
    assert with_flags(note) == message


def test_what_is_named_survives_other_errors_and_processes() -> None:
    inner = FleetnetError("say separator=, or set a.b=1", arguments=["separator"], settings=["a.b"])
    placed = at("list.txt, line 3", inner, DataError, file="list.txt", line=3)
    longer = following(placed, f"{placed}; give up", DataError)
    shown = "list.txt, line 3: say --separator, or --set a.b=1; give up"
    assert with_flags(Note.of(longer)) == shown
    assert longer.fields["line"] == 3
    sent = pickle.loads(pickle.dumps(longer))  # noqa: S301 - our own
    assert with_flags(Note.of(sent)) == shown
    note = Note.of(longer)
    again = pickle.loads(pickle.dumps(note))  # noqa: S301 - our own
    assert (again, again.arguments, again.settings) == (note, note.arguments, note.settings)


def texts(file: Path) -> list[str]:
    """Return the literal texts of a module, docstrings left out."""
    tree = ast.parse(file.read_text("utf-8"))
    documents = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documents
    ]


PROGRAMS = {
    "benchmark/process.py",
    "evaluation/charts.py",
    "export/native_program.py",
    "formats.py",
}
"""What calls other programs or says how to, or names variables of a style sheet."""
OTHERS = ("export/separate/", "export/targets/", "export/web/")
"""Rooms for that: other projects' converters and runtimes."""


def test_flags_are_named_by_the_command_line_only() -> None:
    found = [
        f"{file.relative_to(PACKAGE)}: {text}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.relative_to(PACKAGE).parts[0] != "cli"
        and not file.relative_to(PACKAGE).as_posix().startswith((*PROGRAMS, *OTHERS))
        for text in texts(file)
        if re.search(r"(?<![\w-])--[a-z]", text)
    ]
    assert not found


_NAMED = re.compile(r"(?<![\w.[])([a-z][a-z_]*)=(?=[\s,;:)]|'|$)")
_SET = re.compile(r"(?<![\w-])set ([a-z_.]+)=")
_NOT_MESSAGES = {
    "evaluation/charts.py",
    "export/native_program.py",
    "models/layers.py",
    "weights/hub.py",
    "benchmark/process.py",
    "formats.py",
}
"""What writes SVG, the settings of layers, headers of HTTP, or calls other programs."""


def named_in(tree: ast.AST, given: frozenset[str] = frozenset()) -> Iterator[tuple[str, bool]]:
    """Yield what literal texts name, and whether a call around them says that it does."""
    if isinstance(tree, ast.Call):
        for keyword in tree.keywords:
            if keyword.arg in ("arguments", "settings"):
                given |= {
                    node.value
                    for node in ast.walk(keyword.value)
                    if isinstance(node, ast.Constant) and isinstance(node.value, str)
                }
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant):
        return
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        for name in (*_NAMED.findall(tree.value), *_SET.findall(tree.value)):
            yield f"{name}: {tree.value!r}", name in given
    for child in ast.iter_child_nodes(tree):
        yield from named_in(child, given)


def test_whoever_names_an_argument_says_so() -> None:
    """An error or a note lists what it names: only by that the command line knows of it."""
    elsewhere = {  # parts of messages, whose errors and notes say it
        ("data/sources/folder.py", "split"),
        ("training/checkpointing.py", "weights"),
        ("training/checkpointing.py", "optimizer.lr"),
        ("training/run_folder.py", "resume"),
        ("training/shorthands.py", "epochs"),  # a setting itself
    }
    silent = []
    for file in sorted(PACKAGE.rglob("*.py")):
        place = file.relative_to(PACKAGE).as_posix()
        # The command line gives the client what it needs, and has no flags for its arguments.
        apart = ("cli/", "client/", "export/separate/scripts/")
        if place.startswith(apart) or place in _NOT_MESSAGES:
            continue
        for text, said in named_in(ast.parse(file.read_text("utf-8"))):
            if not said and (place, text.partition(":")[0]) not in elsewhere:
                silent.append(f"{place}: {text}")
    assert not silent


def test_every_argument_that_is_named_has_a_flag() -> None:
    command = typer.main.get_command(_app(VERBS))
    flags = {option for options in options_of(command) for option in options}
    named = set()
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "arguments":
                named |= {
                    inner.value
                    for inner in ast.walk(node.value)
                    if isinstance(inner, ast.Constant)
                    and isinstance(inner.value, str)
                    and inner.value.isidentifier()
                }
    assert len(named) > 15
    for name in named:
        assert flag(name).split()[-1] in flags, name


def options_of(command: object) -> Iterator[list[str]]:
    yield from (parameter.opts for parameter in getattr(command, "params", []))
    for inner in getattr(command, "commands", {}).values():
        yield from options_of(inner)
