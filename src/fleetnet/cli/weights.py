"""``fleetnet weights``: files of weights from elsewhere, in and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fleetnet.amounts import percent
from fleetnet.cli.console import console, print_json, print_line, say
from fleetnet.cli.opening import open_file
from fleetnet.cli.options import ModelArgument
from fleetnet.errors import PYTORCH, needing
from fleetnet.weights.published import cached_path, find_weights, published_weights
from fleetnet.weights.subject import Subject, find_subject

if TYPE_CHECKING:
    from fleetnet.weights.read import WeightsFile


def register(app: typer.Typer) -> None:
    """Add the verb and its own verbs."""
    weights = typer.Typer(
        help="Weights from PaddleClas, timm, torchvision and others, and back.",
        short_help="Published weights, and files of others.",
        rich_markup_mode=None,
    )
    weights.command("list", short_help="List the published sets of weights.")(list_published)
    weights.command("fetch", short_help="Download published weights into the cache.")(fetch)
    weights.command("inspect", short_help="Say what a file of weights is.")(inspect)
    weights.command("convert", short_help="Write weights in another layout or format.")(convert)
    app.add_typer(weights, name="weights")


WIDE = 90
"""Columns of a terminal that has room for licences."""


def list_published(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """List the published sets: figures as their publishers state them, and where they are."""
    entries = published_weights()
    if as_json:
        print_json([entry.to_json() for entry in entries])
        return
    # In 80 columns a single space between columns, and no licences: figures would be cut off.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    licences = console().width >= WIDE
    for heading in ("set", "network"):
        table.add_column(heading, no_wrap=True)
    for heading in ("top-1", "top-5"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("resize", *(["licence"] if licences else []), "cached"):
        table.add_column(heading, no_wrap=True)
    for entry in entries:
        preprocess = entry.preprocess
        table.add_row(
            entry.set,
            entry.model,
            percent(entry.top1),
            percent(entry.top5),
            f"{preprocess.resize} {preprocess.interpolation}",
            *([entry.licence] if licences else []),
            "yes" if cached_path(entry).exists() else "–",
        )
    console().print(table)


def fetch(
    set_name: Annotated[
        str, typer.Argument(metavar="SET", help="A set from 'fleetnet weights list'.")
    ],
    model: Annotated[str, typer.Argument(metavar="NETWORK", help="A name from 'fleetnet models'.")],
    offline: Annotated[
        bool, typer.Option("--offline", help="Only say where it is in the cache.")
    ] = False,
) -> None:
    """Download published weights into the cache, checked and resumed, and print the path."""
    subject = Subject.of(find_weights(set_name, model), f"{set_name}:{model}")
    print_line(str(open_file(subject, offline=offline)))


def inspect(
    model: ModelArgument,
    shapes: Annotated[bool, typer.Option("--shapes", help="List every tensor.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say what a file is: format, network, layout, classes, the rest; nothing in it is run."""
    read = _open(open_file(find_subject(model)))
    from fleetnet.weights.state import some

    identity = read.identity
    if as_json:
        print_json(read.to_json())
        return
    rows = {
        "file": str(read.path),
        "format": read.format,
        "wrapped in": " ".join(read.unwrapped) or "–",
        "network": identity.entry.name,
        "layout": identity.adapter.name,
        "classes": str(identity.num_classes),
        "image channels": str(identity.in_channels),
        "tensors": str(len(read.state)),
        "numbers": f"{sum(value.numel() for value in read.state.values()):,}",
    }
    if read.left_out:
        rows["left out"] = "; ".join(read.left_out)
    if read.objects:
        rows["not run"] = f"objects of Python: {some(list(read.objects))}"
    for name, text in rows.items():
        print_line(f"{name:<15} {text}")
    if shapes:
        for key, value in read.state.items():
            shape = "×".join(map(str, value.shape)) or "one"
            print_line(f"{shape:>16}  {key}")


def convert(
    model: ModelArgument,
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="A .safetensors, .pdparams or .ckpt file.")
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="Whose layout: fleetnet, paddle, timm, torchvision, clovaai or "
            "efficientnet-pytorch.  [fleetnet for .safetensors, paddle for .pdparams]",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", help="For .ckpt: names of the classes.  [MODEL's, or ImageNet's, if 1000]"
        ),
    ] = None,
) -> None:
    """Write the weights of MODEL to OUT, in another's names and shapes.

    A .ckpt is a checkpoint that 'fleetnet export' takes, with the source's own preprocessing and
    the names of the classes.
    """
    subject = find_subject(model)
    file = open_file(subject)
    with needing(PYTORCH, "train", "reading weights"):
        from fleetnet.weights.convert import check_other_file, convert_weights
    check_other_file(file, output)
    read = _open(file)
    if output.suffix == ".ckpt" and to is None:
        from fleetnet.training.adopt import checkpoint_of

        checkpoint_of(subject, file, labels, say=say).save(output)
        say(f"checkpoint in {output}; next: fleetnet export {output} --images DIR")
        return
    if read.remarks:
        say(f"left out: {read.remarks}")
    written = convert_weights(read, output, to)
    identity = read.identity
    say(
        f"{identity.entry.name}: {identity.adapter.name} ({read.format}) to "
        f"{written.name} in {output}"
    )


def _open(file: Path) -> WeightsFile:
    with needing(PYTORCH, "train", "reading weights"):
        from fleetnet.weights.read import read_weights
    return read_weights(file)
