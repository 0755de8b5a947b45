"""How processes that were started together find each other, and not those of an earlier start."""

from __future__ import annotations

import json
import time
import uuid
from typing import Protocol

from fleetnet.data.shares import Place

_LOOKING_S = 0.05


class Store(Protocol):
    """Where the processes leave word for each other, as PyTorch's stores do it."""

    def set(self, key: str, value: str) -> None:
        """Leave a word."""

    def get(self, key: str) -> bytes:
        """Return a word, and wait for it if it is not there."""

    def check(self, keys: list[str]) -> bool:
        """Tell whether all these words are there."""


def meet(store: Store, place: Place, timeout_s: float) -> str:
    """Return a name that all processes of this start have, and none of an earlier one.

    torchrun's store outlives the processes, with the addresses of those that are gone, and its
    count of restarts differs from machine to machine. So every process leaves a word that is only
    its own; the first one calls a meeting of those whose words it finds, and calls again when a
    word has changed, until all have answered.

    Raises:
        TimeoutError: not all have come.
    """
    end = time.monotonic() + timeout_s
    return _call(store, place.size, end) if place.rank == 0 else _come(store, place.rank, end)


def _call(store: Store, size: int, end: float) -> str:
    others = range(1, size)
    name, called = "", dict[str, str]()
    while time.monotonic() < end:
        here = [rank for rank in others if store.check([f"here/{rank}"])]
        words = {str(rank): store.get(f"here/{rank}").decode() for rank in here}
        if words != called or not name:
            name, called = uuid.uuid4().hex, words
            store.set("call", json.dumps([name, words]))
        if all(store.check([f"answer/{name}/{rank}"]) for rank in others):
            store.set(f"begun/{name}", "")
            return name
        time.sleep(_LOOKING_S)
    missing = [rank for rank in others if not store.check([f"answer/{name}/{rank}"])]
    raise TimeoutError(f"no word from rank {', '.join(map(str, missing))}")


def _come(store: Store, rank: int, end: float) -> str:
    own = uuid.uuid4().hex
    store.set(f"here/{rank}", own)
    answered = ""
    while time.monotonic() < end:
        if store.check(["call"]):
            name, words = json.loads(store.get("call"))
            if words.get(str(rank)) == own:
                if name != answered:
                    store.set(f"answer/{name}/{rank}", "")
                    answered = name
                if store.check([f"begun/{name}"]):
                    return str(name)
        time.sleep(_LOOKING_S)
    raise TimeoutError("no word from rank 0, or from another that it waits for")
