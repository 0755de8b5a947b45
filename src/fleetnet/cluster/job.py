"""A job in its folder: what was asked for, which parts there are, and which of them are whole."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleetnet.cluster.folder import Folder
from fleetnet.cluster.parts import parts_of
from fleetnet.data.remote.store import ASKED_AT_ONCE
from fleetnet.errors import DataError
from fleetnet.left_out import LeftOut
from fleetnet.schema import first_problem
from fleetnet.threads import map_in_threads

ABOUT = "_job"
"""Folder of what is known of the job; readers of Parquet pass over names that begin so."""
JOB = f"{ABOUT}/job.json"
DONE = f"{ABOUT}/done"
IMAGES = f"{ABOUT}/images"
TRIES = f"{ABOUT}/tries"
BUNDLES = "by the bundle's threshold"


class Asked(BaseModel):
    """What decides the rows, the images aside.

    Attributes:
        model: of the bundle, for people.
        bundle: its hash.
        engine: that computes.
        precision: of the arithmetic.
        exact: whether every image is decoded in full size.
        top_k: classes of a row.
        labels: digest of the names of the classes, where they are not the bundle's.
        per_part: images of a part.
        rejection: by which threshold: :data:`BUNDLES`, another, or none.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    model: str
    bundle: str
    engine: str
    precision: str
    exact: bool
    top_k: int
    labels: str | None
    per_part: int
    rejection: str = BUNDLES


class Job(BaseModel):
    """What ``_job/job.json`` says.

    Attributes:
        format: says that it is one.
        version: of the format.
        asked: for what.
        sources: as they were typed, for people.
        parts: how many there are.
        data: digest of what is in them.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: Literal["fleetnet-prediction"] = "fleetnet-prediction"
    version: Literal[1] = 1
    asked: Asked
    sources: tuple[str, ...]
    parts: int = Field(ge=1)
    data: str


class Done(BaseModel):
    """What is known of a part that is whole.

    Attributes:
        images: how many rows it has.
        unreadable: how many of them are errors.
        bytes: of the file.
        sha256: of the file.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    images: int = Field(ge=0)
    unreadable: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str


class OpenPart(NamedTuple):
    """A part that is not whole yet.

    Attributes:
        number: of the part.
        part: its text; empty where it lies in the job's folder.
    """

    number: int
    part: str


class Begun(NamedTuple):
    """A job that is new or goes on."""

    job: Job
    done: list[Done]
    open: list[OpenPart]


def file_name(number: int) -> str:
    """Return the name of a part's rows."""
    return f"part-{number:06d}.parquet"


def done_name(number: int) -> str:
    """Return the name of what is known of a part once it is whole."""
    return f"{DONE}/{number:06d}.json"


def images_name(number: int) -> str:
    """Return the name of a part's list of images."""
    return f"{IMAGES}/{number:06d}.json"


def tries_name(number: int) -> str:
    """Return the name of the number of times that a part was begun, while it is not whole."""
    return f"{TRIES}/{number:06d}"


def begin(
    folder: Folder, asked: Asked, sources: Sequence[str], left_out: LeftOut, place: str
) -> Begun:
    """Find out what there is to do, and what earlier calls with the same arguments have done.

    Args:
        folder: of the job.
        asked: for what.
        sources: of the images.
        left_out: counts what is skipped.
        place: of the folder, for messages.

    Raises:
        DataError: the folder has another job or other things; or as
            :func:`fleetnet.cluster.parts.parts_of`.
    """
    known = _job_in(folder, place)
    if known is not None:
        _refuse_other(known.asked, asked, place)
    elif folder.sizes():
        raise holds_others(place)
    parts: list[OpenPart] = []
    digest = hashlib.sha256()
    for number, part in enumerate(parts_of(sources, asked.per_part, left_out)):
        text = part.to_json()
        digest.update(text + b"\n")
        if part.kind == "images" and known is None:
            folder.write(images_name(number), text)
        parts.append(OpenPart(number, "" if part.kind == "images" else text.decode()))
    job = Job(asked=asked, sources=tuple(sources), parts=len(parts), data=digest.hexdigest())
    if known is None:
        folder.write(JOB, job.model_dump_json(indent=1).encode())
        return Begun(job, [], parts)
    if known.data != job.data:
        raise DataError(
            f"{place} has the answers for other images: some were added or removed, or other "
            "sources are named; choose another output=",
            arguments=["output"],
        )
    for name in folder.sizes(TRIES):
        folder.remove(f"{TRIES}/{name}")
    done = _done_in(folder, job.parts)
    return Begun(job, list(done.values()), [part for part in parts if part.number not in done])


def holds_others(place: str) -> DataError:
    """Return the error for a folder that is no job's."""
    return DataError(f"{place} holds other things: choose another output=", arguments=["output"])


def _job_in(folder: Folder, place: str) -> Job | None:
    content = folder.read(JOB)
    try:
        return None if content is None else Job.model_validate_json(content)
    except ValidationError as error:
        where = f"{place}/{JOB}"
        raise DataError(
            f"{first_problem(error).at(where)}: choose another output=, or remove this one",
            arguments=["output"],
            file=where,
        ) from None


def _refuse_other(known: Asked, asked: Asked, place: str) -> None:
    """Refuse to go on with a job of another model or other options.

    Raises:
        DataError: names the first that differs.
    """
    for field in Asked.model_fields:
        before, now = getattr(known, field), getattr(asked, field)
        if before == now or field == "model":
            continue
        what = {
            "bundle": f"another model ({known.model})",
            "labels": "other labels",
            "rejection": f"another rejection ({known.rejection})",
        }.get(field, f"{field}={before}, not {now}")
        raise DataError(
            f"{place} has the answers of a job with {what}: choose another output=, or go on as "
            "it was begun",
            arguments=["output"],
        )


def done_of(folder: Folder, number: int) -> Done | None:
    """Return what is known of a part; None if it is not whole, or what says so is damaged.

    Raises:
        FleetnetError: it cannot be read.
    """
    content = folder.read(done_name(number))
    try:
        return None if content is None else Done.model_validate_json(content)
    except ValidationError:
        return None  # the part is done anew, which costs less than a question


def _done_in(folder: Folder, parts: int) -> dict[int, Done]:
    """Return which of so many parts are whole; of others, what says that they are is removed."""
    sizes = folder.sizes()
    names = (name.removesuffix(".json") for name in folder.sizes(DONE))
    numbers = sorted(int(name) for name in names if name.isdecimal())
    found: dict[int, Done] = {}
    records = map_in_threads(lambda number: done_of(folder, number), numbers, ASKED_AT_ONCE)
    for number, done in zip(numbers, records, strict=True):
        if number < parts and done is not None and sizes.get(file_name(number)) == done.bytes:
            found[number] = done
        else:
            folder.remove(done_name(number))
    return found
