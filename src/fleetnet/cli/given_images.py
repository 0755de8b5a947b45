"""The images that a person names: files, folders, globs, and shards of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from fleetnet.image_bytes import StoredImage
from fleetnet.image_files import find_images, walk_images
from fleetnet.left_out import LeftOut

SHARDS = (".tar", ".parquet")
_SHARD_GLOBS = tuple(f"{above}*{suffix}" for suffix in SHARDS for above in ("", "*/"))


def given_images(
    given: Iterable[str], left_out: LeftOut | None = None, *, lenient: bool = False
) -> Iterator[str | StoredImage]:
    """Yield the images that a person names, one after another.

    Args:
        given: what was typed.
        left_out: counts what is skipped.
        lenient: yield folders that cannot be read; reading them as images then gives the reason.

    Raises:
        DataError: there are none, or a folder cannot be read.
    """
    left_out = LeftOut() if left_out is None else left_out
    for word in given:
        if are_shards(word):
            # Here, because images alone need nothing of data to train on.
            from fleetnet.data.shard_images import images_in

            yield from images_in(word)
        else:
            yield from find_images([word], left_out, lenient=lenient)


def are_shards(word: str) -> bool:
    """Tell whether what a person typed names shards.

    A folder of shards is one that has no images.
    """
    if "://" in word:
        from fleetnet.data.remote.store import is_remote

        return is_remote(word)
    if not os.path.isdir(word):  # noqa: PTH112 - a Path raises where one may not look
        return word.lower().endswith(SHARDS)
    return _has_shards(Path(word)) and next(walk_images(Path(word), lenient=True), None) is None


def _has_shards(folder: Path) -> bool:
    try:
        if not any(next(folder.glob(pattern), None) for pattern in _SHARD_GLOBS):
            return False
    except OSError:
        return False
    from fleetnet.data.shard_images import holds_shards

    return bool(holds_shards(folder))
