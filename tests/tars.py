"""Tar files of samples, for tests of their sources."""

import io
import tarfile
from pathlib import Path

Members = list[tuple[str, bytes]]


def shard(path: Path, members: Members, form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def pairs(numbers: range, classes: int = 2) -> Members:
    return [
        member
        for number in numbers
        for member in (
            (f"{number:04d}.jpg", b"image %d" % number),
            (f"{number:04d}.cls", b"%d" % (number % classes)),
        )
    ]
