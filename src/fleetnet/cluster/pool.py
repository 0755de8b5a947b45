"""Ray's part: processes that answer parts, on this machine or on those of a cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, cast

from fleetnet.cluster.connection import connected
from fleetnet.cluster.job import OpenPart
from fleetnet.cluster.worker import Answered, Order, PartClassifier
from fleetnet.errors import needing

MOST_BLOCKS = 10_000


def answered(
    order: Order, parts: Sequence[OpenPart], *, address: str | None, workers: int | None
) -> Iterator[Answered]:
    """Answer parts by a pool of processes, and yield each part as it is ready, in any order.

    A process that dies is replaced, and its part begun anew. On a cluster the pool grows from what
    is free now to ``workers``, for which Ray adds machines where it may.

    Args:
        order: what each process needs.
        parts: to answer.
        address: of a cluster; None for processes of this machine, reached by loopback alone.
        workers: how many processes at most; None for one for each free processor here, and for no
            bound in a cluster.

    Raises:
        FleetnetError: Ray is not installed, the cluster is not there, or Ray gives up.
    """
    processors = (workers or max(_processors() // order.threads, 1)) * order.threads
    with connected(address, processors=processors) as ray:
        # Only here, because Ray reads its settings when it is first imported.
        with needing(("pandas", "pyarrow"), "cluster", "prediction through Ray"):
            import_module("ray.data")
        _set_up_data(ray)
        now = max(int(ray.cluster_resources().get("CPU", 1)) // order.threads, 1)
        first = min(now, workers or now, len(parts))
        data = ray.data.from_items(
            [part._asdict() for part in parts], override_num_blocks=min(len(parts), MOST_BLOCKS)
        )
        rows = data.map(
            PartClassifier,
            fn_constructor_args=(order,),
            compute=ray.data.ActorPoolStrategy(
                min_size=1,
                initial_size=first,
                max_size=None if address and not workers else max(workers or now, first),
                max_tasks_in_flight_per_actor=2,
            ),
            num_cpus=order.threads,
        )
        for row in rows.iter_rows():
            yield cast("Answered", row)


def _set_up_data(ray: Any) -> None:
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1  # a part whose processes keep dying stays open, and is named


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
