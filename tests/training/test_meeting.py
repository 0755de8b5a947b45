"""Processes meet those that were started with them, in a store that remembers earlier ones."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from fleetnet.data.shares import Place
from fleetnet.training.meeting import meet


class Store:
    """In the memory of this process."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def set(self, key: str, value: str) -> None:
        self.words[key] = value

    def get(self, key: str) -> bytes:
        return self.words[key].encode()

    def check(self, keys: list[str]) -> bool:
        return all(key in self.words for key in keys)


def meeting(store: Store, size: int) -> set[str]:
    with ThreadPoolExecutor(size) as pool:
        return set(pool.map(lambda rank: meet(store, Place(rank, size), 60), range(size)))


def test_all_have_one_name_and_another_one_each_time() -> None:
    store = Store()
    names = [meeting(store, size) for size in (3, 3, 2, 4)]
    assert all(len(name) == 1 for name in names)
    assert len(set.union(*names)) == 4


def test_who_comes_after_the_call_for_one_that_is_gone_is_called_again() -> None:
    """Rank 2 answers a call that names an earlier rank 1, and must not begin by it."""
    store = Store()
    store.set("here/1", "gone")
    with ThreadPoolExecutor(3) as pool:
        early = [pool.submit(meet, store, Place(rank, 3), 60) for rank in (0, 2)]
        while not any(key.startswith("answer/") for key in [*store.words]):
            pass
        late = pool.submit(meet, store, Place(1, 3), 60)
        assert len({one.result() for one in [*early, late]}) == 1
    assert len({key for key in store.words if key.startswith("begun/")}) == 1


def test_who_does_not_come_is_named() -> None:
    with pytest.raises(TimeoutError, match="no word from rank 1, 2"):
        meet(Store(), Place(0, 3), 0.2)
    with pytest.raises(TimeoutError, match="no word from rank 0"):
        meet(Store(), Place(1, 3), 0.2)
