"""Ray's part: processes that answer parts, on this machine or on those of a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, cast

from fleetnet.cluster.job import OpenPart
from fleetnet.cluster.worker import Answered, Order, PartClassifier
from fleetnet.errors import FleetnetError, needing, one_line

ADDRESS = "RAY_ADDRESS"
"""The variable with a cluster's address, as Ray itself reads it."""
STORE_BYTES = 200 * 2**20
"""Ray's shared memory on this machine: the bundle and some numbers pass through it, no images."""
MOST_BLOCKS = 10_000
LOOPBACK = "127.0.0.1"


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
    with needing(("ray", "pandas", "pyarrow"), "cluster", "prediction through Ray"):
        import ray
        import ray.data
    with _reported(), _connected(ray, address, workers, order.threads):
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


@contextlib.contextmanager
def _connected(ray: Any, address: str | None, workers: int | None, threads: int) -> Iterator[None]:
    """Start Ray on this machine, or connect to a cluster, for the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What its C++ part has to say on standard error is for whoever develops it.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1  # a part whose processes keep dying stays open, and is named
    with contextlib.ExitStack() as stack:
        settings: dict[str, Any] = {
            "address": address,
            "log_to_driver": False,
            "logging_level": "error",
        }
        if address is None:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
            )
            settings |= {
                "address": "local",
                "num_cpus": (workers or max(_processors() // threads, 1)) * threads,
                "num_gpus": 0,
                "object_store_memory": STORE_BYTES,
                "include_dashboard": False,
                # Ray's servers bind to all addresses unless the node's is this one.
                "_node_ip_address": LOOPBACK,
                "_temp_dir": folder,
            }
        with _silent():
            ray.init(**settings)
        stack.callback(ray.shutdown)
        yield


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep off standard error what Ray's C++ part says there before it has read its settings."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Say in one line what Ray says in many."""
    import ray

    try:
        yield
    except ConnectionError as error:
        raise FleetnetError(
            f"there is no Ray cluster: {one_line(error)[:200]}; check ray_address= or the "
            f"variable {ADDRESS}",
            arguments=["ray_address"],
        ) from None
    except (ray.exceptions.RayError, RuntimeError, ValueError, TimeoutError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise FleetnetError(f"Ray gave up: {one_line(lines[-1])[:300]}") from error


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
