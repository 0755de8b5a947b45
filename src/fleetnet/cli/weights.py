"""``fleetnet weights``: files of weights from elsewhere, in and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetnet.cli.console import console, print_json, say
from fleetnet.errors import CheckpointError, FleetnetError, nearest, require

if TYPE_CHECKING:
    from fleetnet.weights.identify import Identity
    from fleetnet.weights.read import WeightsFile

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A .pdparams, .pth, .pt, .ckpt or .safetensors file.")
]


def register(app: typer.Typer) -> None:
    """Add the verb and its own verbs."""
    weights = typer.Typer(
        help="Weights from PaddleClas, timm, torchvision and ReXNet's authors, and back.",
        rich_markup_mode=None,
    )
    weights.command("inspect")(inspect)
    weights.command("convert")(convert)
    app.add_typer(weights, name="weights")


def inspect(
    file: FileArgument,
    shapes: Annotated[bool, typer.Option("--shapes", help="List every tensor.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say what a file is: format, network, layout, classes; nothing in it is run."""
    read, identity = _open(file)
    if as_json:
        print_json(_as_json(read, identity))
        return
    out = console()
    also = f" (also {', '.join(identity.also)})" if identity.also else ""
    rows = {
        "file": str(file),
        "format": read.format,
        "wrapped in": " ".join(read.unwrapped) or "–",
        "network": f"{identity.entry.name}{also}",
        "layout": identity.adapter.name,
        "classes": str(identity.num_classes),
        "image channels": str(identity.in_channels),
        "tensors": str(len(read.state)),
        "numbers": f"{sum(value.numel() for value in read.state.values()):,}",
    }
    for name, text in rows.items():
        out.print(f"{name:<15} {text}", markup=False, soft_wrap=True)
    if shapes:
        for key, value in read.state.items():
            shape = "×".join(map(str, value.shape)) or "one"
            out.print(f"{shape:>16}  {key}", markup=False, soft_wrap=True)


def convert(
    file: FileArgument,
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="A .safetensors or .pdparams file.")
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="Whose layout: fleetnet, paddle, timm, torchvision or clovaai.  [fleetnet for "
            ".safetensors, paddle for .pdparams]",
        ),
    ] = None,
) -> None:
    """Write the weights of FILE to OUT, in another's names and shapes."""
    read, identity = _open(file)
    from fleetnet.weights import clovaai, paddle, timm, torchvision
    from fleetnet.weights.identify import OWN, from_ours, to_ours
    from fleetnet.weights.write import check_writable, write_weights

    check_writable(output)
    adapters = {
        "fleetnet": OWN,
        "paddle": paddle.ADAPTER,
        "timm": timm.ADAPTER,
        "torchvision": torchvision.ADAPTER,
        "clovaai": clovaai.ADAPTER,
    }
    target = to or ("paddle" if output.suffix == ".pdparams" else "fleetnet")
    if target not in adapters:
        raise FleetnetError(
            f"unknown layout '{target}'{nearest(target, adapters)} (known: {', '.join(adapters)})"
        )
    if output.exists() and output.samefile(file):
        raise CheckpointError(f"{output} is the file to convert: choose another place")
    state = from_ours(to_ours(read.state, identity), identity.entry, adapters[target])
    write_weights(output, state)
    say(
        f"{identity.entry.name}: {identity.adapter.name} ({read.format}) to "
        f"{adapters[target].name} in {output}"
    )


def _open(file: Path) -> tuple[WeightsFile, Identity]:
    try:
        from fleetnet.weights.identify import identify
        from fleetnet.weights.read import read_weights
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        raise require("PyTorch", "train", "reading weights") from None
    read = read_weights(file)
    return read, identify(read.state, str(file))


def _as_json(read: WeightsFile, identity: Identity) -> dict[str, Any]:
    return {
        "file": str(read.path),
        "format": read.format,
        "wrapped_in": list(read.unwrapped),
        "network": identity.entry.name,
        "also": list(identity.also),
        "layout": identity.adapter.name,
        "num_classes": identity.num_classes,
        "in_channels": identity.in_channels,
        "shapes": {key: list(value.shape) for key, value in read.state.items()},
    }
