"""Ray for as long as a command needs it: of this machine alone, or a cluster that runs."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from fleetnet.errors import FleetnetError, one_line

ADDRESS = "RAY_ADDRESS"
"""The variable with a cluster's address, as Ray itself reads it."""
LOCAL = "local"
"""The address of none: Ray is started on this machine."""
FIND = "auto"
"""The address of whatever cluster this machine is in."""
STORE_BYTES = 200 * 2**20
"""Ray's shared memory on this machine: bundles and some numbers pass through it, no images."""
LOOPBACK = "127.0.0.1"
CONNECT_S = 10.0
"""Within which a cluster has to accept a connection."""
_AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")

Line = Callable[[str, str], None]
"""Takes the name of a process of Ray's and a line that it wrote."""


@contextlib.contextmanager
def connected(
    address: str | None,
    *,
    processors: int,
    gpus: int = 0,
    store_bytes: int = STORE_BYTES,
    show: Line | None = None,
) -> Iterator[Any]:
    """Connect to a cluster, or start Ray on this machine, and yield the module ``ray``.

    What is started here is bound to loopback, as far as Ray lets it be, and refuses whoever does
    not have its token; it keeps its files in a folder that is removed, and ends with the block.

    Args:
        address: of the cluster; None for this machine.
        processors: of this machine that may be reserved; it need not have them all.
        gpus: likewise.
        store_bytes: of shared memory on this machine.
        show: is called with what processes of this machine write; None for nobody.

    Raises:
        FleetnetError: the cluster is not there, or is another version of Ray or Python.
    """
    if address is not None:
        check_reachable(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What its C++ part has to say on standard error is for whoever develops it.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if address is None:
        # On a machine that is busy otherwise, a process may take longer than Ray's minute to begin.
        os.environ.setdefault("RAY_worker_register_timeout_seconds", "600")
    if address is None and not any(map(os.environ.get, _AUTHENTICATION)):
        # Not every server of Ray's can be bound to loopback.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with contextlib.ExitStack() as stack, reported():
        import ray

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
                "address": LOCAL,
                "num_cpus": processors,
                "num_gpus": gpus,
                "object_store_memory": store_bytes,
                "include_dashboard": False,
                "log_to_driver": show is not None,
                # Ray's servers bind to all addresses unless the node's is this one.
                "_node_ip_address": LOOPBACK,
                "_temp_dir": folder,
            }
        logging.getLogger("ray").setLevel(logging.ERROR)
        with _silent():
            ray.init(**settings)
        stack.callback(ray.shutdown)
        if address is None and show is not None:
            stack.enter_context(_shown(show))
        yield ray


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Say in one line what Ray says in many.

    Raises:
        FleetnetError: Ray failed in the block.
    """
    import ray

    try:
        yield
    except ConnectionError as error:
        raise _no_cluster(one_line(error)[:200]) from None
    except (ray.exceptions.RayError, RuntimeError, ValueError, TimeoutError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise FleetnetError(f"Ray gave up: {one_line(lines[-1])[:300]}") from error


def check_reachable(address: str) -> None:
    """Refuse at once what Ray would try for minutes.

    Raises:
        FleetnetError: it is no address, or nothing listens there.
    """
    if address == FIND:
        return  # Ray looks for a cluster on this machine
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise _no_cluster(f"'{address}' is no address such as 10.0.0.4:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise _no_cluster(f"{address}: {reason}") from None


def _no_cluster(why: str) -> FleetnetError:
    return FleetnetError(
        f"there is no Ray cluster: {why}; check ray_address= or the variable {ADDRESS}",
        arguments=["ray_address"],
    )


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
def _shown(show: Line) -> Iterator[None]:
    """Hand on what processes write as they write it, not with Ray's marks before each line."""
    from ray._private.ray_logging import global_worker_stdstream_dispatcher as written

    def hand_on(data: dict[str, Any]) -> None:
        for line in data["lines"]:
            show(str(data.get("actor_name", "")), line)

    written.remove_handler("ray_print_logs")
    written.add_handler("fleetnet", hand_on)
    try:
        yield
    finally:
        written.remove_handler("fleetnet")
