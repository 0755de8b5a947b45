"""Reading shards from elsewhere through the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO, TypeVar

from fleetnet.data.remote.prefetcher import Prefetcher
from fleetnet.data.remote.shard_cache import ShardCache
from fleetnet.data.remote.store import FetchError, RemoteFile
from fleetnet.errors import ImageError

Result = TypeVar("Result")


class RemoteShards:
    """Reads shards from elsewhere through the cache.

    Args:
        files: by their numbers.
        cache: of them.
    """

    def __init__(self, files: Sequence[RemoteFile], cache: ShardCache) -> None:
        self._files = files
        self._cache = cache
        self._begin()

    def _begin(self) -> None:
        self._prefetcher = Prefetcher(lambda shard: self._cache.fetch(self._files[shard]))
        self._last = -1
        self.at_once = self._cache.at_once(max(file.size for file in self._files))
        """How many may be read at once."""

    def read_at(self, shard: int, offset: int, size: int) -> bytes:
        """Return bytes of a shard."""
        self._go_on_after(shard)
        try:
            return self._cache.read_at(self._files[shard], offset, size)
        except FetchError as error:
            raise ImageError(str(error), code="unreadable") from None

    def read(self, shard: int, function: Callable[[BinaryIO], Result]) -> Result:
        """Return what a function reads of a shard, which is open for it.

        Raises:
            ImageError: the shard cannot be had.
        """
        self._go_on_after(shard)
        try:
            return self._cache.read(self._files[shard], function)
        except FetchError as error:
            raise ImageError(str(error), code="unreadable") from None

    def expect(self, shards: Sequence[int]) -> None:
        """Begin to fetch shards."""
        self._prefetcher.want(shards)

    def name(self, shard: int) -> str:
        """Return a shard's URL."""
        return self._files[shard].url

    def _go_on_after(self, shard: int) -> None:
        """Expect the next shard where they are read one after another, as in an evaluation."""
        before, self._last = self._last, shard
        if shard == before + 1 < len(self._files) - 1 and self.at_once > 1:
            self._prefetcher.want([shard + 1])

    def __getstate__(self) -> tuple[Sequence[RemoteFile], ShardCache]:
        return self._files, self._cache

    def __setstate__(self, state: tuple[Sequence[RemoteFile], ShardCache]) -> None:
        self._files, self._cache = state
        self._begin()
