"""``fleetnet predict``: what is in these images?"""

from __future__ import annotations

import contextlib
import functools
import glob
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetnet.amounts import count
from fleetnet.bundle import while_replaced
from fleetnet.cli.console import progress, say, warn_left_out
from fleetnet.cli.given_images import are_shards, given_images
from fleetnet.cli.opening import choose_what_computes, open_bundle
from fleetnet.cli.options import (
    MODEL_HELP,
    DeviceOption,
    EngineOption,
    PrecisionOption,
    ThreadsOption,
)
from fleetnet.cli.predict_asked import OFF, Asked
from fleetnet.cli.predict_cluster import check_needs_ray, predict_on_cluster
from fleetnet.cli.prediction_rows import Writer, writer_of
from fleetnet.cli.remote import is_address, predictions_of
from fleetnet.cli.streams import is_terminal
from fleetnet.errors import FleetnetError, ImageError
from fleetnet.image_bytes import STDIN, StoredImage
from fleetnet.inference.automatic import check_asked
from fleetnet.inference.classifier import AUTO, LOW_PRECISION_BATCH, PYTORCH_BATCH, Classifier
from fleetnet.inference.prediction import Prediction
from fleetnet.inference.tuning_cache import ENOUGH
from fleetnet.left_out import LeftOut

if TYPE_CHECKING:
    from fleetnet.inference.engines import Mode


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("predict", short_help="Classify images.")(predict)


def predict(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help=f"{MODEL_HELP} Or a server's: http://host:8000/NAME."),
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES",
            help="Files, folders, globs; .tar or .parquet files, or a folder or pattern of them, "
            "here or behind a URL; '-' reads one image from standard input.",
        ),
    ],
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Classes to name.")] = 5,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=1,
            max=4096,
            help=f"Images the engine gets at once.  [1; of several {LOW_PRECISION_BATCH} with "
            f"fewer bits than fp32, {PYTORCH_BATCH} for PyTorch; auto chooses]",
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Decode large JPEGs whole: slower, to the last bit."),
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Names of the classes: one a line, or 'id name'."),
    ] = None,
    reject: Annotated[
        str | None,
        typer.Option(
            "--reject",
            metavar=f"THRESHOLD|{OFF}",
            help="Reject by another threshold of the bundle's score, or nothing.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="An object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A header and a row an image.")] = False,
    ray: Annotated[
        bool,
        typer.Option("--ray", help="By many processes or machines, through Ray, into --output."),
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="With --ray: folder or URL for Parquet files, new or half-made."
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(help="With --ray: of a cluster.  [RAY_ADDRESS; else this machine alone]"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help="With --ray: processes at most.  [all cores]"),
    ] = None,
    per_part: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, help="With --ray: loose images in a file.  [1000]"),
    ] = None,
) -> None:
    """Classify images.

    One image is answered as soon as possible. Of several, as many as possible are answered per
    second, in order, and the next ones are read ahead. An image or folder that cannot be read gets
    a row that says why; the others get their answers, and the exit code is 1.

    With --ray many processes answer, and IMAGES may also be tar and Parquet files and URLs. Called
    again after it was killed, it goes on with what is missing.
    """
    if as_json and as_csv:
        raise FleetnetError("--json and --csv exclude each other: choose one")
    asked = Asked(
        top_k=top_k,
        engine=engine,
        precision=precision,
        threads=threads,
        device=device,
        batch_size=batch_size,
        exact=exact,
        labels=labels,
        reject=reject,
    )
    if ray:
        if as_json or as_csv:
            raise FleetnetError("--ray writes Parquet files: leave --json and --csv out")
        predict_on_cluster(
            model,
            images,
            asked,
            output=output,
            address=ray_address,
            workers=workers,
            per_part=per_part,
        )
        return
    check_needs_ray(output=output, ray_address=ray_address, workers=workers, per_part=per_part)
    kind = functools.partial(writer_of, as_json=as_json, as_csv=as_csv)
    if is_address(model):
        _predict_by_server(model, images, asked, kind, as_csv=as_csv)
    else:
        _predict_here(model, images, asked, kind)


def _predict_by_server(
    address: str, images: list[str], asked: Asked, kind: Callable[..., Writer], *, as_csv: bool
) -> None:
    """Write what a server answers."""
    left_out = LeftOut()
    paths, mode, single = _peek(images, left_out)
    at_once = mode == "throughput"
    predictions = predictions_of(address, paths, asked.top_k, at_once=at_once, **asked.local())
    predictions, rejects = _rejecting(predictions) if as_csv else (predictions, False)
    write = kind(single=single, rejects=rejects)
    _tell(_shown(predictions, images, mode), asked.top_k, write, left_out)


def _predict_here(model: str, images: list[str], asked: Asked, kind: Callable[..., Writer]) -> None:
    """Write what a bundle answers on this machine."""
    check_asked(asked.engine, asked.precision, asked.device)
    loose = [image for image in images if image != STDIN and not are_shards(image)]
    opened = open_bundle(model, loose)
    names = asked.names(len(opened.manifest.classes))
    left_out = LeftOut()
    paths, mode, single = _peek(images, left_out)
    sample = list(itertools.islice(paths, ENOUGH)) if asked.engine == AUTO else []
    chosen = choose_what_computes(
        opened,
        mode,
        lambda: _readable(sample),
        engine=asked.engine,
        precision=asked.precision,
        threads=asked.threads,
        batch_size=asked.batch_size,
        device=asked.device,
    )
    open_it = functools.partial(
        Classifier,
        engine=chosen.engine,
        precision=chosen.precision,
        threads=chosen.threads,
        batch_size=chosen.batch_size,
        labels=names,
        mode=mode,
        exact=asked.exact,
        device=chosen.device,
        reject=asked.rejection,
    )
    with while_replaced(opened, open_it) as classifier:
        top_k = min(asked.top_k, len(classifier.classes))
        write = kind(single=single, rejects=classifier.rejection is not None)
        paths = itertools.chain(sample, paths)
        answers = _shown(classifier.predict(paths, top_k), images, mode)
        _tell(answers, top_k, write, left_out)


def _rejecting(predictions: Iterator[Prediction]) -> tuple[Iterator[Prediction], bool]:
    """Tell by its first answer whether a server's model rejects, for the header of CSV."""
    head: list[Prediction] = []
    for prediction in predictions:
        head.append(prediction)
        if prediction.ok:
            break
    scored = any(prediction.score is not None for prediction in head)
    return itertools.chain(head, predictions), scored


def _tell(predictions: Iterable[Prediction], top_k: int, write: Writer, left_out: LeftOut) -> None:
    """Write predictions, then what was left out and how many could not be read."""
    total, failed = write(predictions, top_k)
    warn_left_out(left_out)
    if failed:
        say(f"{failed} of {count(total, 'image')} could not be read")
        raise typer.Exit(1)


def _peek(images: list[str], left_out: LeftOut) -> tuple[Iterator[str | StoredImage], Mode, bool]:
    """Return the paths, the mode, and whether there is only one image."""
    paths = given_images(images, left_out, lenient=True)
    first = list(itertools.islice(paths, 2))
    # Only this thread reads standard input, because an interrupt can end it.
    single = len(first) < 2
    soon = single or STDIN in images
    return itertools.chain(first, paths), "latency" if soon else "throughput", single


def _readable(images: Iterable[str | StoredImage]) -> list[Path | bytes]:
    """Return images to measure with, but for those that cannot be had again or at all."""
    found: list[Path | bytes] = []
    for image in images:
        if isinstance(image, StoredImage):
            with contextlib.suppress(ImageError):
                found.append(image.content)
        elif image != STDIN:
            found.append(Path(image))
    return found


def _count(images: list[str]) -> int | None:
    """Return how many images are asked for, where that takes no walk through folders."""
    # os.path says no where a Path would raise: in a folder that may not be looked into.
    if any(
        os.path.isdir(image) or glob.has_magic(image) or are_shards(image)  # noqa: PTH112
        for image in images
    ):
        return None
    return len(images)


def _shown(
    predictions: Iterator[Prediction], images: list[str], mode: Mode
) -> Iterator[Prediction]:
    """Pass predictions on and show their number, because rows that go to a file show nothing."""
    if mode != "throughput" or is_terminal(sys.stdout):
        yield from predictions
        return
    with progress() as bar:
        task = bar.add_task("predicting", total=_count(images))
        for prediction in predictions:
            yield prediction
            bar.advance(task)
