"""A whole job: begun or gone on with, answered by a pool, and summed up."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fleetnet.bundle import Bundle, while_replaced
from fleetnet.cluster.connection import check_reachable
from fleetnet.cluster.folder import Folder, LocalFolder, open_folder
from fleetnet.cluster.job import ABOUT, BUNDLES, JOB, Asked, begin, holds_others
from fleetnet.cluster.parts import PER_PART
from fleetnet.cluster.pool import answered
from fleetnet.cluster.sent import SentBundle
from fleetnet.cluster.worker import Order
from fleetnet.errors import DataError, require_all
from fleetnet.files import write_error
from fleetnet.inference.classifier import DEFAULT_ENGINE, Classifier
from fleetnet.inference.engines import Precision
from fleetnet.left_out import LeftOut
from fleetnet.locks import locked
from fleetnet.reporting import Begin


@dataclass(frozen=True)
class Options:
    """How a job is done.

    Attributes:
        top_k: classes of a row.
        engine: that computes.
        precision: of the arithmetic.
        exact: decode every image in full size.
        labels: names of the classes, instead of the bundle's.
        per_part: images of a part.
        address: of a cluster; None for processes of this machine.
        workers: processes at most.
        threads: of each process.
        batch_size: images that the engine gets at once.
        reject: as :class:`fleetnet.Classifier` takes it.
    """

    top_k: int = 5
    engine: str = DEFAULT_ENGINE
    precision: Precision = "fp32"
    exact: bool = False
    labels: tuple[str, ...] | None = None
    per_part: int = PER_PART
    address: str | None = None
    workers: int | None = None
    threads: int = 1
    batch_size: int | None = None
    reject: bool | float = True


@dataclass(frozen=True)
class Summary:
    """What there is in a job's folder after a call.

    Attributes:
        parts: how many there are in all.
        made: how many of them this call made.
        missing: how many are not whole.
        images: rows of those that are whole.
        unreadable: rows that are errors.
        problems: why those are not whole, a line each where it is known.
    """

    parts: int
    made: int
    missing: int
    images: int
    unreadable: int
    problems: tuple[str, ...]


def predict_into(
    output: str,
    bundle: Bundle,
    sources: Sequence[str],
    options: Options,
    left_out: LeftOut,
    begin_steps: Begin = lambda _what, _steps: lambda _done: None,
) -> Summary:
    """Classify images by the processes of a pool, into a folder of Parquet files.

    A call that was killed is continued by the same one; parts that are whole are not made again.

    Args:
        output: the folder, by its path or URL.
        bundle: that answers.
        sources: as :func:`fleetnet.cluster.parts.parts_of` takes them.
        options: how.
        left_out: counts what is skipped.
        begin_steps: told how far it is, in parts.

    Raises:
        FleetnetError: a package is not installed, the folder has another job, there are no images,
            the bundle cannot be opened as asked, or Ray gives up.
    """
    require_all(("ray", "pyarrow", "filelock"), "cluster", "prediction through Ray")
    folder = open_folder(output)
    if options.address is not None and folder.read(JOB) is None:
        check_reachable(options.address)  # before anything is written
    # Here, because what is wrong with the arguments would be said by every process.
    classes = _classes(bundle, options)
    sent = while_replaced(bundle, SentBundle.of)
    asked = Asked(
        model=bundle.path.name,
        bundle=sent.hash,
        engine=options.engine,
        precision=options.precision,
        exact=options.exact,
        top_k=min(options.top_k, classes),
        labels=options.labels and _digest(options.labels),
        per_part=options.per_part,
        rejection=_rejection(options.reject),
    )
    order = Order(
        bundle=sent,
        asked=asked,
        folder=folder,
        base=os.getcwd(),  # noqa: PTH109 - as paths are typed, with what is odd in it
        labels=options.labels,
        threads=options.threads,
        batch_size=options.batch_size,
        reject=options.reject,
    )
    with _alone(folder, output):
        begun = begin(folder, asked, sources, left_out, output)
        images = sum(done.images for done in begun.done)
        unreadable = sum(done.unreadable for done in begun.done)
        made, problems = 0, []
        if begun.open:
            advance = begin_steps("predicting", begun.job.parts)
            advance(len(begun.done))
            for part in answered(
                order, begun.open, address=options.address, workers=options.workers
            ):
                if part["problem"]:
                    problems.append(part["problem"])
                    continue
                made, images = made + 1, images + part["images"]
                unreadable += part["unreadable"]
                advance(1)
    missing = begun.job.parts - len(begun.done) - made
    return Summary(begun.job.parts, made, missing, images, unreadable, tuple(problems))


def _classes(bundle: Bundle, options: Options) -> int:
    """Open the bundle as the processes will, and return how many classes it has."""
    with Classifier(
        bundle,
        engine=options.engine,
        precision=options.precision,
        threads=options.threads,
        batch_size=options.batch_size,
        labels=options.labels,
        mode="throughput",
        reject=options.reject,
    ) as classifier:
        return len(classifier.classes)


def _rejection(reject: bool | float) -> str:
    """Return what a classifier is told, in words: True is equal to a threshold of 1."""
    if isinstance(reject, bool):
        return BUNDLES if reject else "none"
    return f"by {reject!r}"


def _digest(labels: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(labels).encode()).hexdigest()


@contextlib.contextmanager
def _alone(folder: Folder, output: str) -> Iterator[None]:
    """Refuse a second call for a folder of this machine's disk while the block runs.

    In a store of objects two calls do the same work twice, and leave the same files.
    """
    if not isinstance(folder, LocalFolder):
        yield
        return
    about = folder.path / ABOUT
    new = not folder.path.exists()
    if not new and not about.exists() and any(folder.path.iterdir()):
        raise holds_others(output)
    with contextlib.ExitStack() as stack:
        try:
            about.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(about / "lock", timeout=0))
        except TimeoutError:
            raise DataError(f"another process is writing to {output}: wait for it") from None
        except OSError as error:
            raise write_error(folder.path, error) from error
        try:
            folder.remove_parts()
            yield
        finally:
            if not (folder.path / JOB).exists():  # no images were found
                shutil.rmtree(folder.path if new else about, ignore_errors=True)
