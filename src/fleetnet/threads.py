"""Work that several threads do at once, with results in the order of the work.

:func:`map_in_threads` has all of its work done by threads. Where some of it has to be done at once
by the caller's thread, or by an engine of its own, :func:`in_order` takes what starts it: so
:mod:`fleetnet.inference.prefetch` keeps the only other pool.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    ahead: int | None = None,
    name: str = "",
) -> Generator[Result]:
    """Yield ``function(item)`` for each item, in order, computed by so many threads.

    The generator holds at most ``ahead + 1`` results and items. An error is raised in place of the
    result. Then, or if the caller ends the iteration, running calls are finished and waiting ones
    are cancelled.

    Args:
        function: called from the threads.
        items: taken one after another by the thread of the caller.
        workers: how many threads.
        ahead: how many items are taken before their results are asked for; twice the number of
            threads if None: one that each thread works on and one that waits for it.
        name: what the threads' names begin with.
    """
    with ThreadPoolExecutor(workers, name) as pool:
        yield from in_order(
            items,
            lambda item: pool.submit(function, item).result,
            2 * workers if ahead is None else ahead,
            cancel=lambda: pool.shutdown(wait=False, cancel_futures=True),
        )


def in_order(
    items: Iterable[Item],
    start: Callable[[Item], Callable[[], Result]],
    ahead: int,
    cancel: Callable[[], object] = lambda: None,
) -> Generator[Result]:
    """Start work on each item as it comes, and yield the results as if each were waited for.

    What ``items`` or ``start`` raises is raised after the results of the earlier items. If a result
    is an error, or the caller ends the iteration, work that has started is finished first.

    Args:
        items: what to work on.
        start: starts the work on one item and returns a function that waits for its result.
        ahead: how many items are taken before their results are asked for; with 0 an item is taken
            when its result is asked for.
        cancel: called if results are no longer wanted, to cancel work that has not begun.
    """
    started: deque[Callable[[], Result]] = deque()
    coming = iter(items)
    failure: Exception | None = None
    try:
        while True:
            try:
                item = next(coming)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            try:
                started.append(start(item))
            except Exception as error:
                failure = error
                break
            if len(started) > ahead:
                yield started.popleft()()
        while started:
            yield started.popleft()()
    except BaseException:
        cancel()
        raise
    finally:
        for wait in started:
            with contextlib.suppress(Exception):
                wait()
    if failure is not None:
        raise failure
