"""What every source of labelled images offers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from fleetnet.data.sources.samples import Indices, Sample
from fleetnet.left_out import LeftOut


class Source(Protocol):
    """A fixed sequence of labelled images whose bytes are read one at a time.

    A source is pickled to worker processes and read from by several threads: it opens files when
    they are first read, never before.
    """

    @property
    def description(self) -> str:
        """What it is, for people and for provenance."""
        ...

    @property
    def spec(self) -> dict[str, str]:
        """What :func:`open_source_spec` opens it again from on this machine."""
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

        Samples of a shard are neighbours, in the order of the file. None where any image is read as
        fast as any other.
        """
        ...

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of sample ``index``.

        Raises:
            ImageError: the file cannot be read.
        """
        ...

    def size(self, index: int) -> int | None:
        """Return how many bytes :meth:`read` would return; None where only reading tells."""
        ...


@runtime_checkable
class ReadsEnds(Protocol):
    """A source that can read the last bytes of an image without the rest."""

    def read_end(self, index: int, count: int) -> bytes:
        """Return the last ``count`` encoded bytes of sample ``index``, or all if it has fewer.

        Raises:
            ImageError: the file cannot be read.
        """
        ...


@runtime_checkable
class HasNotes(Protocol):
    """A source that has to say how it understood the data."""

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know of it, a line each."""
        ...


@runtime_checkable
class LeavesOut(Protocol):
    """A source that may have passed over files."""

    @property
    def left_out(self) -> LeftOut:
        """What it passed over."""
        ...


def notes_of(source: Source) -> tuple[str, ...]:
    """Return what a source has to say of how it understood the data."""
    return tuple(source.notes) if isinstance(source, HasNotes) else ()


def left_out_of(source: Source) -> LeftOut:
    """Return what a source passed over."""
    return source.left_out if isinstance(source, LeavesOut) else LeftOut()


def fingerprint(source: Source) -> str:
    """Return a digest of the names and classes of all samples: is this the same data?

    A test split does not count: training knows nothing of it.
    """
    digest = hashlib.sha256()
    classes = source.classes
    for sample in source.samples:
        if sample.split == "test":
            continue
        line = "\0".join([*(classes[label] for label in sample.labels), sample.name]) + "\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
