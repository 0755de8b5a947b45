"""``fleetnet explain``: where in an image the network finds a class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleetnet.amounts import count
from fleetnet.cli.console import print_json, print_line, say, warn_left_out
from fleetnet.cli.opening import open_trained
from fleetnet.cli.options import NetworkArgument
from fleetnet.evaluation.explained_images import ExplainedImage, check_output, explain_images
from fleetnet.evaluation.explanation import class_index
from fleetnet.image_files import find_images
from fleetnet.left_out import LeftOut


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
    check_output(output)
    # Answers come from the very network that is looked into.
    trained = open_trained(model, engine="torch")
    chosen = None if name is None else class_index(name, trained.classifier.classes)
    grad_cam = trained.grad_cam()
    left_out = LeftOut()
    sources = list(find_images(images, left_out, lenient=True))
    warn_left_out(left_out)
    failed = 0
    with trained.classifier as classifier:
        for explained in explain_images(classifier, grad_cam, sources, chosen, output):
            failed += explained.error is not None
            _show(explained, as_json=as_json)
    if failed:
        say(f"{failed} of {count(len(sources), 'image')} could not be read")
        raise typer.Exit(1)


def _show(explained: ExplainedImage, *, as_json: bool) -> None:
    if as_json:
        print_json(explained.to_json(), lines=True)
        return
    answer = (
        f"error: {explained.error}"
        if explained.error is not None
        else f"{explained.label} {explained.probability:.1%}  {explained.output}"
    )
    print_line(f"{explained.image}  {answer}")
