"""Ray for as long as a service needs it: of this machine alone, or a cluster that runs."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from fleetnet.errors import FleetnetError, one_line

ADDRESS = "RAY_ADDRESS"
"""The variable with a cluster's address, as Ray itself reads it."""
LOCAL = "local"
LOOPBACK = "127.0.0.1"
STORE_BYTES = 128 * 2**20
"""Ray's shared memory on this machine, through which the bundles pass."""
_AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_REPLICA = "ServeReplica"
log = logging.getLogger("fleetnet.serving")


@contextlib.contextmanager
def connected(address: str | None, *, processors: int, gpus: int, held: int) -> Iterator[Any]:
    """Connect to a cluster, or start Ray on this machine, and yield the module ``ray``.

    What is started here listens to this machine only, keeps its files in a folder that is removed,
    and ends with the block.

    Args:
        address: of the cluster; None for this machine.
        processors: of this machine that replicas may reserve; it need not have them all.
        gpus: likewise.
        held: bytes that are sent.

    Raises:
        FleetnetError: the cluster does not answer, or is another version of Ray or Python.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What its C++ part has to say on standard error is for whoever develops it.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "1")
    os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "1")
    if address is None and not any(map(os.environ.get, _AUTHENTICATION)):
        # Not every server of Ray's can be bound to this machine: what has no token is refused.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    import ray

    with contextlib.ExitStack() as stack:
        options: dict[str, Any] = {"address": address, "log_to_driver": False}
        if address is None:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
            )
            options |= {
                "address": LOCAL,
                "num_cpus": processors,
                "num_gpus": gpus,
                "object_store_memory": STORE_BYTES + 4 * held,
                "include_dashboard": False,
                "log_to_driver": True,
                # Ray's servers bind to all addresses unless the node's is this one.
                "_node_ip_address": LOOPBACK,
                "_temp_dir": folder,
            }
        stack.callback(ray.shutdown)
        try:
            ray.init(logging_level=logging.ERROR, **options)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            where = "Ray cannot start" if address is None else f"no Ray cluster at {address}"
            raise FleetnetError(f"{where}: {_last_line(error)}") from error
        if address is None:
            stack.enter_context(_lines_of_replicas())
            log.info("ray is started", extra={"address": ray.get_runtime_context().gcs_address})
        yield ray


@contextlib.contextmanager
def _lines_of_replicas() -> Iterator[None]:
    """Write what replicas say as they say it, and not with Ray's marks before each line."""
    from ray._private.ray_logging import global_worker_stdstream_dispatcher as lines

    def show(data: dict[str, Any]) -> None:
        if str(data.get("actor_name", "")).startswith(_REPLICA):
            for line in data["lines"]:
                sys.stderr.write(f"{line}\n")

    lines.remove_handler("ray_print_logs")
    lines.add_handler("fleetnet", show)
    try:
        yield
    finally:
        lines.remove_handler("fleetnet")


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return one_line(lines[-1])[:300]
