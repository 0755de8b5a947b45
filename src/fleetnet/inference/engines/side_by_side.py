"""Several batches computed at once, their answers in the order of the batches."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from fleetnet.inference.engines import Logits, Pixels

Answer = Callable[[], Logits]
"""Waits for a batch that was started, and returns its logits."""


def side_by_side(
    batches: Iterable[Pixels], start: Callable[[Pixels], Answer], most: int
) -> Iterator[Logits]:
    """Start batches as they come and yield their answers, as if they were computed in turn.

    Args:
        batches: of which one is taken beyond those that are computed.
        start: starts one.
        most: how many are started before the first of them is waited for.

    What ``batches`` or ``start`` raises is raised after the answers to the batches before. Where
    the caller ends the iteration, the batches that were started are finished first.
    """
    running: deque[Answer] = deque()
    coming = iter(batches)
    failure: Exception | None = None
    try:
        while failure is None:
            try:
                batch = next(coming)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            if len(running) == most:
                yield running.popleft()()
            try:
                running.append(start(batch))
            except Exception as error:
                failure = error
        while running:
            yield running.popleft()()
    finally:
        for answer in running:
            with contextlib.suppress(Exception):
                answer()
    if failure is not None:
        raise failure
