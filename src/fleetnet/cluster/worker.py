"""What each process of the pool does: a part at a time, from its images to its file of rows."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypedDict, cast

from fleetnet.cluster.folder import Folder
from fleetnet.cluster.images import Broken, Named, images_of
from fleetnet.cluster.job import Asked, Done, done_name, done_of, file_name, images_name, tries_name
from fleetnet.cluster.parts import Part
from fleetnet.cluster.rows import write_rows
from fleetnet.cluster.sent import SentBundle
from fleetnet.errors import DataError, FleetnetError
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.engines import Precision
from fleetnet.inference.prediction import Prediction

MOST_TRIES = 10
"""How often a part is begun: an image may end whatever process decodes it."""


class Answered(TypedDict):
    """What a process says of a part.

    Attributes:
        number: of the part.
        images: rows that it has.
        unreadable: rows that are errors.
        problem: why the part is not whole; empty if it is.
    """

    number: int
    images: int
    unreadable: int
    problem: str


@dataclass(frozen=True)
class Order:
    """All that a process needs to know.

    Attributes:
        bundle: that answers.
        asked: for what.
        folder: of the job.
        base: the folder that paths are relative to.
        labels: names of the classes, if not the bundle's.
        threads: to compute with.
        batch_size: images that the engine gets at once.
        reject: as :class:`fleetnet.Classifier` takes it.
    """

    bundle: SentBundle
    asked: Asked
    folder: Folder
    base: str
    labels: tuple[str, ...] | None
    threads: int
    batch_size: int | None
    reject: bool | float = True


class PartClassifier:
    """Answers parts; a bundle is opened for the first of them and stays open.

    A part's file appears under its name when it is whole, and after it a note that it is. So a
    process may be killed at any moment: whoever gets the part after it does all of it, or finds
    that nothing is left to do.

    Args:
        order: what to do.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._classifier: Classifier | None = None

    def __call__(self, row: dict[str, object]) -> Answered:
        """Answer the part of a row, ``number`` and ``part``, as :class:`OpenPart` has them.

        What cannot be helped by trying at once again becomes the part's problem.
        """
        number, text = cast("int", row["number"]), cast("str", row["part"])
        try:
            done = done_of(self._order.folder, number) or self._answer(number, text.encode())
        except FleetnetError as error:
            return Answered(number=number, images=0, unreadable=0, problem=str(error))
        return Answered(number=number, images=done.images, unreadable=done.unreadable, problem="")

    def _answer(self, number: int, text: bytes) -> Done:
        order, asked = self._order, self._order.asked
        self._count_try(number)
        listed = text or order.folder.read(images_name(number))
        if listed is None:
            raise DataError(f"{images_name(number)} is missing: begin the job in another folder")
        classifier = self._opened()
        rows = write_rows(
            self._predictions(classifier, images_of(Part.from_json(listed), order.base)),
            classifier.classes,
            asked.top_k,
            {"model": asked.model, "bundle": asked.bundle, "engine": asked.engine},
            rejects=classifier.rejection is not None,
        )
        done = Done(
            images=rows.images,
            unreadable=rows.unreadable,
            bytes=len(rows.content),
            sha256=hashlib.sha256(rows.content).hexdigest(),
        )
        order.folder.write(file_name(number), rows.content)
        order.folder.write(done_name(number), done.model_dump_json().encode())
        order.folder.remove(tries_name(number))
        return done

    def _count_try(self, number: int) -> None:
        """Note that a part is begun, and give up one that ends every process.

        Raises:
            DataError: it was begun too often.
        """
        folder, name = self._order.folder, tries_name(number)
        tries = int(folder.read(name) or b"0")
        if tries == MOST_TRIES:
            raise DataError(f"part {number} was begun {tries} times, and its process always ended")
        folder.write(name, b"%d" % (tries + 1))

    def _opened(self) -> Classifier:
        order, asked = self._order, self._order.asked
        if self._classifier is None:
            self._classifier = Classifier(
                order.bundle.here(),
                engine=asked.engine,
                precision=cast("Precision", asked.precision),
                threads=order.threads,
                batch_size=order.batch_size,
                labels=order.labels,
                mode="throughput",
                exact=asked.exact,
                reject=order.reject,
            )
        return self._classifier

    def _predictions(self, classifier: Classifier, images: Iterator[Named]) -> Iterator[Prediction]:
        """Yield the answers under the names that the rows have."""
        names: deque[str] = deque()

        def contents() -> Iterator[str | bytes | Broken]:
            for name, image in images:
                names.append(name)
                yield image

        for prediction in classifier.predict(contents(), self._order.asked.top_k):
            yield replace(prediction, source=names.popleft())
