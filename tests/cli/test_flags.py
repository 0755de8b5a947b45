import ast
import re
from pathlib import Path

import pytest

import fleetnet
from fleetnet.cli.flags import FLAGS, with_flags

PACKAGE = Path(fleetnet.__file__).parent


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("give some with images=, or more", "give some with --images, or more"),
        ("measure all with split='all'", "measure all with --split all"),
        ("leave calibrate= out", "leave --calibrate out"),
        ("name a column with label_columns=", "name a column with --label-column"),
        ("(split='all' too)", "(--split all too)"),
        ("set data.workers=0 loads without", "--set data.workers=0 loads without"),
        ("or set compile=false", "or --set compile=false"),
        ("go on with resume='runs/a b'", "go on with fleetnet train --resume runs/a b"),
    ],
)
def test_arguments_become_flags(message: str, shown: str) -> None:
    assert with_flags(message) == shown


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
        "no such file: '/data/set a=b/y.jpg'",
        "photos/a images= b.jpg: not an image",
        "set a=b.jpg: not an image",
        "photos/set a=b/y.jpg: not an image",
        "my split='all'.jpg: not an image",
    ],
)
def test_everything_else_stays(message: str) -> None:
    assert with_flags(message) == message


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


PROGRAMS = {"benchmark/process.py", "evaluation/charts.py", "formats.py"}
"""What calls other programs, or names variables of a style sheet."""


def test_flags_are_named_by_the_command_line_only() -> None:
    found = [
        f"{file.relative_to(PACKAGE)}: {text}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.relative_to(PACKAGE).parts[0] != "cli"
        and file.relative_to(PACKAGE).as_posix() not in PROGRAMS
        for text in texts(file)
        if re.search(r"(?<![\w-])--[a-z]", text)
    ]
    assert not found


def test_what_the_other_rooms_call_an_argument_has_a_flag() -> None:
    """Whatever they put as ``name=`` at the end of a word in a message is known here."""
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.relative_to(PACKAGE).parts[0] == "cli":
            continue
        for text in texts(file):
            for name in re.findall(r"(?:with|give|say|without|by|another|leave) ([a-z_]+)=", text):
                assert name in FLAGS, f"{file}: {text}"
