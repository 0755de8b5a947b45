"""``fleetnet explain``: where in an image the network finds a class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from PIL import Image

from fleetnet.amounts import count
from fleetnet.cli.console import print_json, print_line, say, warn_left_out
from fleetnet.cli.opening import open_trained
from fleetnet.cli.options import NetworkArgument
from fleetnet.errors import FleetnetError, ImageError
from fleetnet.evaluation.explanation import class_index, explain_image
from fleetnet.files import atomic_file
from fleetnet.formats import is_image_name
from fleetnet.image_bytes import STDIN, read_bytes
from fleetnet.image_files import find_images
from fleetnet.images import Pixels
from fleetnet.left_out import LeftOut
from fleetnet.trained import TrainedNetwork

if TYPE_CHECKING:
    from fleetnet.evaluation.explain import GradCam

LONGEST = 240
"""Bytes of a picture's name, so that there is room for a number and an ending."""
SIDE = 384
"""Pictures of a small input are enlarged to about this, by a whole factor."""
_DOCUMENTS = (".pdf", ".svg", ".html")
"""Endings of what people may ask for beside images."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("explain", short_help="Draw where the network looks.")(explain)


def explain(
    model: NetworkArgument,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES", help="Files, folders, globs or '-'.")
    ],
    name: Annotated[
        str | None, typer.Option("--class", help="Class to look for.  [the most probable]")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A .png file for one image, or a folder for any number.  [explained]",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="An object a line.")] = False,
) -> None:
    """Draw where the network finds a class in images (Grad-CAM).

    Each picture shows the image as the network gets it, and beside it the same under a heat map of
    the places that speak for the class. An image that cannot be read gets a line that says why;
    the exit code is then 1.
    """
    _check_output(output)
    # Answers come from the very network that is looked into.
    trained = open_trained(model, engine="torch")
    chosen = None if name is None else class_index(name, trained.classifier.classes)
    grad_cam = trained.grad_cam()
    left_out = LeftOut()
    sources = list(find_images(images, left_out, lenient=True))
    warn_left_out(left_out)
    failed = 0
    with trained.classifier:
        for source, picture in zip(sources, _outputs(sources, output), strict=True):
            row = _explain_one(trained, grad_cam, source, chosen, picture)
            failed += row["error"] is not None
            _show(row, as_json=as_json)
    if failed:
        say(f"{failed} of {count(len(sources), 'image')} could not be read")
        raise typer.Exit(1)


def _check_output(output: Path | None) -> None:
    """Refuse a file of another kind, which would become the name of a folder."""
    if output is None or output.is_dir() or output.suffix.lower() == ".png":
        return
    if is_image_name(output.name) or output.suffix.lower() in _DOCUMENTS:
        raise FleetnetError(
            f"{output}: pictures are PNG files: name one that ends in .png, or a folder"
        )


def _outputs(sources: list[str], output: Path | None) -> Iterator[Path]:
    """Return where each image's picture goes; no two go to the same place.

    Raises:
        FleetnetError: a file for several images.
    """
    folder = output or Path("explained")
    if folder.suffix.lower() == ".png" and not folder.is_dir():
        if len(sources) > 1:
            raise FleetnetError(
                f"{len(sources)} images do not fit into {folder}: name a folder with --output"
            )
        return iter([folder])
    return _in_folder(sources, folder)


def _in_folder(sources: list[str], folder: Path) -> Iterator[Path]:
    taken: set[str] = set()
    for source in sources:
        stem = "stdin" if source == STDIN else Path(source).stem
        while len(os.fsencode(stem)) > LONGEST:
            stem = stem[:-1]
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        yield folder / f"{name}.png"


def _explain_one(
    trained: TrainedNetwork, grad_cam: GradCam, source: str, chosen: int | None, output: Path
) -> dict[str, Any]:
    try:
        found = explain_image(trained.classifier, grad_cam, read_bytes(source), chosen)
    except ImageError as error:
        return {"image": source, "class": None, "probability": None, "top": None,
                "output": None, "error": str(error)}  # fmt: skip
    _save(output, found.picture)
    return {
        "image": source,
        "class": found.score.label,
        "probability": found.score.probability,
        "top": found.prediction.label,
        "output": str(output),
        "error": None,
    }


def _save(path: Path, pixels: Pixels) -> None:
    factor = max(SIDE // pixels.shape[0], 1)
    picture = Image.fromarray(pixels)
    picture = picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC
    )
    with atomic_file(path) as file:
        picture.save(file, "PNG")


def _show(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(row, lines=True)
        return
    answer = (
        f"error: {row['error']}"
        if row["error"] is not None
        else f"{row['class']} {row['probability']:.1%}  {row['output']}"
    )
    print_line(f"{row['image']}  {answer}")
