"""Writing a tar file of samples, and reading it back."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fleetnet.data.contents import DIGEST_BYTES, digest_of
from fleetnet.data.sharding.images import Taken
from fleetnet.data.sources.samples import join_names
from fleetnet.data.sources.shards import Handle
from fleetnet.data.sources.tar_columns import TarColumns
from fleetnet.data.sources.tar_index import index_shard
from fleetnet.errors import DataError
from fleetnet.files import sha256_of


class TarShard:
    """A tar file that is being written: of each sample its image, and its label in a file beside.

    Args:
        path: of the file.
        classes: names of the classes.
        multi_label: whether samples have any number of labels; they are then a list in JSON.
    """

    def __init__(self, path: Path, classes: Sequence[str], *, multi_label: bool) -> None:
        self._path = path
        self._classes = tuple(classes)
        self._multi_label = multi_label
        # Where classes are called by digits, a label in digits is a name.
        self._by_name = any(name.isdigit() for name in classes)
        self._digests: list[bytes] = []
        self._labels: list[tuple[int, ...]] = []
        self._names: list[str] = []
        self._out = _Hashing(path)
        self._tar = tarfile.open(  # noqa: SIM115 - closed by close
            fileobj=self._out, mode="w", format=tarfile.PAX_FORMAT
        )

    def add(self, key: str, image: Taken, labels: tuple[int, ...]) -> None:
        """Add the next sample."""
        self._member(f"{key}.{image.ending}", image.data)
        words = [self._classes[label] if self._by_name else label for label in labels]
        if self._multi_label:
            self._member(f"{key}.json", json.dumps({"label": words}).encode())
        else:
            self._member(f"{key}.cls", str(words[0]).encode())
        self._names.append(f"{key}.{image.ending}")
        self._labels.append(labels)
        self._digests.append(digest_of(image.data))

    def close(self) -> str:
        """Complete the file, and return the SHA-256 of what was written."""
        self._tar.close()
        self._out.close()
        return self._out.digest.hexdigest()

    def abandon(self) -> None:
        """Close the file without completing it."""
        self._out.close()

    def verified(self, name: str, sha256: str) -> TarColumns:
        """Read the file back, and return what is in it.

        Args:
            name: of the shard.
            sha256: of what was written.

        Raises:
            DataError: it is not what was written.
        """
        size = self._path.stat().st_size
        found = index_shard(self._path, None) if self._names else None
        names = found.names if found else []
        offsets, sizes = (found.offsets, found.sizes) if found else ([], [])
        handle = Handle(self._path)
        digests = [
            digest_of(handle.read_at(offset, size))
            for offset, size in zip(offsets, sizes, strict=True)
        ]
        if names != self._names or digests != self._digests or sha256_of(self._path) != sha256:
            raise DataError(
                f"{self._path.parent / name} is not on the disk as it was written: check the disk, "
                "and start again"
            )
        joined, name_ends = join_names(f"{name}/{image}" for image in names)
        return TarColumns(
            files=(name,),
            bytes=(size,),
            classes=self._classes,
            multi_label=self._multi_label,
            names=np.frombuffer(joined, np.uint8),
            name_ends=name_ends,
            labels=np.array([label for labels in self._labels for label in labels], np.int32),
            label_ends=np.cumsum([len(labels) for labels in self._labels], dtype=np.int64),
            shards=np.zeros(len(names), np.int64),
            offsets=np.array(offsets, np.int64),
            sizes=np.array(sizes, np.int64),
            digests=np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES),
        )

    def _member(self, name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        self._tar.addfile(info, io.BytesIO(content))


class _Hashing(io.RawIOBase):
    """A file that knows the hash of what was written to it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("wb")
        self.digest = hashlib.sha256()
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.digest.update(data)
        self._file.write(data)
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        self._file.close()
        super().close()
