"""The protocol of a source of labelled images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fleetnet.data.sources.samples import TEST, Indices, Sample, SampleTable
from fleetnet.left_out import LeftOut


class Source(Protocol):
    """A fixed sequence of labelled images whose bytes are read one at a time.

    A source is pickled to worker processes and read by several threads: it opens a file only when
    an image in it is first read.
    """

    @property
    def description(self) -> str:
        """A short description for people and for provenance."""
        ...

    @property
    def spec(self) -> dict[str, str]:
        """The values from which :func:`open_source_spec` opens it again on this machine."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; a sample's label is an index into them."""
        ...

    @property
    def multi_label(self) -> bool:
        """Whether a sample may have any number of labels, not exactly one."""
        ...

    @property
    def samples(self) -> Sequence[Sample]:
        """All labelled images, in a fixed order."""
        ...

    @property
    def shards(self) -> Indices | None:
        """``intp[N]``: the number of the shard or row group that holds each sample.

        Samples of a shard are consecutive, in the order of the file. None where every image can be
        read equally fast.
        """
        ...

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of sample ``index``.

        Raises:
            ImageError: the file cannot be read.
        """
        ...

    def size(self, index: int) -> int | None:
        """Return how many bytes :meth:`read` would return; None where that takes reading it."""
        ...


@runtime_checkable
class ReadsEnds(Protocol):
    """A source that can read only the last bytes of an image."""

    def read_end(self, index: int, count: int) -> bytes:
        """Return the last ``count`` encoded bytes of sample ``index``, or all if it has fewer.

        Raises:
            ImageError: the file cannot be read.
        """
        ...


@runtime_checkable
class HasDigests(Protocol):
    """A source that may know what its images' bytes are without reading them."""

    @property
    def digests(self) -> npt.NDArray[np.uint8] | None:
        """``uint8[N, 16]``: :func:`fleetnet.data.contents.digest_of` each image's bytes, if known.

        None where they have to be read.
        """
        ...


@runtime_checkable
class Fetches(Protocol):
    """A source whose shards are fetched from elsewhere and do not all stay."""

    @property
    def at_once(self) -> int:
        """How many shards may be read at once, so that none has to be fetched twice for it."""
        ...

    def expect(self, shards: Sequence[int]) -> None:
        """Begin to fetch what is read next, in that order; forget what was expected before."""
        ...


@runtime_checkable
class PartlyLabelled(Protocol):
    """A source with images that nobody has labelled, after those that have labels."""

    @property
    def labelled(self) -> int:
        """How many images, the first ones, have labels of their own; the others' are guessed."""
        ...


@runtime_checkable
class HasNotes(Protocol):
    """A source that has notes on how it understood the data."""

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know about it, a line each."""
        ...


@runtime_checkable
class LeavesOut(Protocol):
    """A source that may leave out files."""

    @property
    def left_out(self) -> LeftOut:
        """What it left out."""
        ...


def labelled_of(source: Source) -> int | None:
    """Return how many images, the first ones, have labels of their own; None for all."""
    return source.labelled if isinstance(source, PartlyLabelled) else None


def notes_of(source: Source) -> tuple[str, ...]:
    """Return a source's notes on how it understood the data."""
    return tuple(source.notes) if isinstance(source, HasNotes) else ()


def left_out_of(source: Source) -> LeftOut:
    """Return what a source left out."""
    return source.left_out if isinstance(source, LeavesOut) else LeftOut()


def fingerprint_of(source: Source, indices: Indices) -> str:
    """Return what some images of a source are recognised by, in their order."""
    chosen = hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()
    return f"{fingerprint(source)} {chosen}"


def fingerprint(source: Source) -> str:
    """Return a digest of the names and classes of all samples, to recognise the same data.

    The test split does not count, because training does not see it.
    """
    digest = hashlib.sha256()
    for lines in SampleTable.of(source.samples).lines(source.classes, but=TEST):
        digest.update(lines)
    return digest.hexdigest()
