"""The options for labelled images, which several verbs share."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_type_hints

import typer

from fleetnet.cli.console import Steps, progress, say, warn, warn_left_out
from fleetnet.cli.flags import flag
from fleetnet.data.findings import FEW
from fleetnet.data.names import odd_names
from fleetnet.data.sources import Source, SourceOptions, left_out_of, notes_of, open_source
from fleetnet.data.sources.watched import opening_watched
from fleetnet.labels import printable

_DATA_HELP = (
    "Labelled images: a folder of class folders (or train/, val/ and test/ of those); a list or "
    "CSV file; .tar or .parquet files, or a folder or pattern of them, also behind s3://, gs://, "
    "az:// or https://; a data set of the hub, hf://owner/name; or 'elpv'."
)
DataArgument = Annotated[str, typer.Argument(metavar="DATA", help=_DATA_HELP)]

OptionalDataArgument = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help=_DATA_HELP, show_default=False),
]

PANEL = "Data"


def _option(
    argument: str, text: str, metavar: str | None = None, *, several: bool = False
) -> dict[str, Any]:
    """Return the option for an argument of :class:`fleetnet.data.sources.SourceOptions`."""
    option = typer.Option(flag(argument), rich_help_panel=PANEL, metavar=metavar, help=text)
    kind: Any = list[str] if several else str
    return {argument: Annotated[kind | None, option]}


OPTIONS: dict[str, Any] = {
    **_option("label", "Which label to learn, for 'elpv': type or defect."),
    **_option(
        "root", "Where the paths of a list or CSV file count from.  [the file's folder]", "DIR"
    ),
    **_option(
        "separator",
        "Between the columns of a list or CSV file: tab, comma, semicolon or any text.  "
        "[white space in a list]",
        "TEXT",
    ),
    **_option("classes", "Names of the classes: one a line, or 'id name'.", "FILE"),
    **_option("val_list", "List of the images to hold out, beside a list to train on.", "FILE"),
    **_option("image_column", "Column of the path or the image.  [by its heading]", "NAME"),
    **_option(
        "label_columns",
        "Column or JSON key of the label, or, several times, columns of 0 and 1.  [by its heading]",
        "NAME",
        several=True,
    ),
    **_option("split_column", "Column that says train, val or test.  [by its heading]", "NAME"),
    **_option(
        "multi_label",
        "Images have any number of labels, written as such or as a 0 or 1 a class.",
        "names|one-hot",
    ),
    **_option(
        "label_separator", "Between several labels of an image.  [comma; | in a CSV file]", "TEXT"
    ),
    **_option(
        "bad_shards",
        "Of shards behind a URL, what cannot be read when opened.  [stop]",
        "stop|skip",
    ),
}
"""By the name of the argument; what each says is its help."""


def source_options(label_columns: list[str] | None = None, **values: Any) -> SourceOptions:
    """Return the options of a source from those of the command line.

    Raises:
        DataError: a value is not known.
    """
    return SourceOptions(label_columns=tuple(label_columns or ()), **values)


def with_source_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options of data sources in place of its parameter ``source``.

    The verb declares ``source: SourceOptions`` and is called with that object; the command line has
    the single options instead.
    """
    hints = get_type_hints(verb, include_extras=True)
    signature = inspect.signature(verb)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in signature.parameters.items()
        if name != "source"
    ]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in OPTIONS.items()
    ]

    @functools.wraps(verb)
    def called(**values: Any) -> None:
        of_source = {name: values.pop(name) for name in OPTIONS}
        verb(**values, source=source_options(**of_source))

    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *added)
    ]
    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called


def open_told(data: str, options: SourceOptions) -> Source:
    """Open labelled images, and tell a person how they were understood and what was left out."""
    source = open_watched(data, options)
    tell_of(source)
    return source


def open_watched(data: str, options: SourceOptions) -> Source:
    """Open labelled images, showing how far that has come where it takes long."""
    with progress() as bar, opening_watched(Steps(bar)):
        return open_source(data, options=options)


def tell_of(source: Source) -> None:
    """Tell a person how a source understood the data and what it left out."""
    for note in notes_of(source):
        say(note)
    warn_left_out(left_out_of(source))


def warn_of_names(source: Source) -> None:
    """Warn, on one line, of names of classes that look like a slip."""
    found = sorted(odd_names(source), key=lambda odd: not odd.wrong)
    if found:
        shown = "; ".join(odd.reason for odd in found[:FEW])
        more = f"; {len(found) - FEW:,} more, which 'fleetnet data check' tells"
        warn(printable(f"class names: {shown}{more if len(found) > FEW else ''}"))


@contextlib.contextmanager
def comparing(source: Source) -> Iterator[Callable[[int], None]]:
    """Show how far the comparison of a source's images, for its split, has come."""
    with progress() as bar:
        task = bar.add_task("comparing", total=len(source.samples))
        yield lambda count: bar.advance(task, count)
