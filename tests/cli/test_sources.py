from dataclasses import fields
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from fleetnet.cli.flags import flag
from fleetnet.cli.sources import OPTIONS, DataArgument, with_source_options
from fleetnet.data.sources import SourceOptions


@pytest.fixture
def seen() -> list[object]:
    return []


@pytest.fixture
def app(seen: list[object]) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    @with_source_options
    def look(
        data: DataArgument,
        size: Annotated[int, typer.Option("--size")] = 3,
        *,
        source: SourceOptions,
    ) -> None:
        """Look at data."""
        seen.extend((data, size, source))

    return app


def test_a_verb_gets_all_options_as_one(app: typer.Typer, seen: list[object]) -> None:
    words = (
        "x.csv --size 5 --root r --separator tab --classes c.txt --val-list v.txt --label-column a "
        "--label-column b --image-column i --split-column s --multi-label one-hot --label type "
        "--label-separator pipe"
    )
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 0, result.output
    assert seen == ["x.csv", 5, SourceOptions(
        label="type", root="r", separator="\t", classes="c.txt", val_list="v.txt",
        image_column="i", label_columns=("a", "b"), split_column="s", multi_label="one-hot",
        label_separator="|",
    )]  # fmt: skip


def test_none_are_needed(app: typer.Typer, seen: list[object]) -> None:
    assert CliRunner().invoke(app, ["elpv"]).exit_code == 0
    assert seen == ["elpv", 3, SourceOptions()]


def test_help_shows_them_and_the_verbs_own(app: typer.Typer) -> None:
    text = CliRunner().invoke(app, ["--help"]).output
    assert "Look at data." in text
    assert "--size" in text
    for name in OPTIONS:
        assert flag(name) in text
    assert "--source" not in text


def test_every_option_of_a_source_is_on_the_command_line() -> None:
    assert list(OPTIONS) == [field.name for field in fields(SourceOptions)]
