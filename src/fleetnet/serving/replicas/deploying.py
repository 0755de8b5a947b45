"""Deploying a service, and waiting for it: what is there answers until the new one is warm."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fleetnet.cluster.connection import STORE_BYTES, connected
from fleetnet.errors import FleetnetError, one_line, require_all
from fleetnet.serving.auth import Tokens
from fleetnet.serving.config import Settings
from fleetnet.serving.lifecycle import asked_to_end, check_models, say_ready, warn_if_open
from fleetnet.serving.logs import logs_put_back, set_up_logs
from fleetnet.serving.replicas.asked import Replicas, check_settings
from fleetnet.serving.replicas.replica import deployable
from fleetnet.serving.replicas.sent import Beginning
from fleetnet.serving.replicas.sums import Sums
from fleetnet.serving.rest.server import bind
from fleetnet.serving.systemd import notify

HA_PROXY = "RAY_SERVE_ENABLE_HA_PROXY"
"""The variable by which Ray Serve puts HAProxy in front."""
NAME = "fleetnet"
"""Of the application on the cluster: the one that is deployed next takes its place."""
REPLICAS = "replicas"
SUMS = "fleetnet-sums"
SURGE = 25
"""Percent of replicas, rounded up, that are there twice while others take their place."""
GRACE = 5.0
"""Seconds beyond the drain that a replica has before it is killed."""
PER_THREAD = 2
"""Requests at once, for each thread, at which a replica has enough to do."""
STARTS = 3
"""How often replicas may fail to start before the deployment has failed."""
POLL_SECONDS = 0.25
SAY_SECONDS = 10.0
_DRAINING = "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"
"""The variable that says how long a replica behind HAProxy waits before it ends, in seconds."""
_REPLICA = "ServeReplica"
"""With what Ray Serve's names of replicas' processes begin."""
_QUIET = {"log_level": "ERROR", "enable_access_log": False}
log = logging.getLogger("fleetnet.serving")


def serve_replicas(settings: Settings, replicas: Replicas, address: str | None) -> bool:
    """Serve by replicas: here until asked to end, or on a cluster, where they stay.

    Args:
        settings: of the server.
        replicas: how many.
        address: of a running cluster; None for one on this machine that ends with this process.

    Returns:
        Whether the service is there, or was until it was asked to end.

    Raises:
        FleetnetError: Ray is not installed or not there, a setting asks for what it cannot do, or
            a model cannot be loaded.
    """
    require_all(("ray", "fastapi"), "cluster", "serving by Ray")
    check_settings(settings)
    with logs_put_back():
        set_up_logs(settings.log)
        check_models(settings)
        beginning = Beginning.of(_completed(settings, here=address is None))
        with _connected(beginning, replicas, address):
            listening = _listening(beginning.settings)
            settings = beginning.settings.model_copy(update=listening)
            warn_if_open(settings, Tokens.of(beginning.tokens))
            _deploy(replace(beginning, settings=settings), replicas)
            return asyncio.run(_stay(settings, ends_here=address is None))


def _completed(settings: Settings, *, here: bool) -> Settings:
    """Return settings with the threads of a replica and, on this machine, a port that is free.

    Raises:
        FleetnetError: the port is taken, or the address is none of this machine.
    """
    engine = settings.engine.model_copy(update={"threads": settings.engine.threads or 1})
    settings = settings.model_copy(update={"engine": engine})
    if not here:
        return settings
    with contextlib.closing(bind(settings.host, settings.port)) as listening:
        return settings.model_copy(update={"port": listening.getsockname()[1]})


@contextlib.contextmanager
def _connected(beginning: Beginning, replicas: Replicas, address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start Ray with room for all replicas that there may be at once."""
    if os.environ.get(HA_PROXY) == "1":
        log.warning("HAProxy shows its statistics on all addresses: let nobody reach the ports")
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "1")
    if address is None:
        os.environ.setdefault(_DRAINING, "1")
    # As many as a rolling update takes: the new replicas are warm before the old ones end.
    most = replicas.most + -(-replicas.most * SURGE // 100)
    reserved = _reserved(beginning.settings)
    with connected(
        address,
        processors=most * reserved["num_cpus"],
        gpus=most * reserved["num_gpus"],
        store_bytes=STORE_BYTES + 4 * beginning.size,
        show=_show,
    ) as ray:
        if address is None:
            here = ray.get_runtime_context().gcs_address
            log.info("ray is started", extra={"address": here})
        yield


def _reserved(settings: Settings) -> dict[str, int]:
    """Return what a replica reserves, as Ray names it."""
    on_gpu = (settings.engine.device or "").startswith("cuda")
    return {"num_cpus": settings.engine.threads or 1, "num_gpus": int(on_gpu)}


def _show(name: str, line: str) -> None:
    """Write what a replica writes, as if it were one process with this."""
    if name.startswith(_REPLICA):
        sys.stderr.write(f"{line}\n")


def _listening(settings: Settings) -> dict[str, Any]:
    """Start Ray Serve, if it is not there, and return the host and port where it listens.

    Raises:
        FleetnetError: it listens elsewhere than the settings say.
    """
    from ray import serve
    from ray.serve.context import _get_global_client

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(
        proxy_location="EveryNode",
        http_options={"host": settings.host, "port": settings.port},
        logging_config=_QUIET,
    )
    there = _get_global_client().http_config
    listening = {"host": there.host, "port": there.port}
    for setting, found in listening.items():
        if setting in settings.model_fields_set and getattr(settings, setting) != found:
            raise FleetnetError(
                f"Ray Serve on this cluster listens on {there.host}:{there.port} already: leave "
                "host= and port= out, or end it there first with 'serve shutdown'",
                arguments=["host", "port"],
            )
    return listening


def _sums() -> Any:
    """Return the handle of what adds up metrics, which outlives the deployments of replicas."""
    from ray import serve

    if SUMS not in serve.status().applications:
        deployed = serve.deployment(
            Sums,
            name=SUMS,
            max_ongoing_requests=1000,
            ray_actor_options={"num_cpus": 0},
            logging_config=_QUIET,
        )
        serve.run(deployed.bind(), name=SUMS, route_prefix=None)
    return serve.get_app_handle(SUMS)


def _deploy(beginning: Beginning, replicas: Replicas) -> None:
    """Hand the service to Ray Serve, in the place of the one that is there."""
    from ray import serve

    settings = beginning.settings
    reserved = _reserved(settings)
    number: dict[str, Any] = {"num_replicas": replicas.least}
    if replicas.most > replicas.least:
        number = {
            "autoscaling_config": {
                "min_replicas": replicas.least,
                "max_replicas": replicas.most,
                "target_ongoing_requests": PER_THREAD * reserved["num_cpus"],
            }
        }
    ours = serve.deployment(
        serve.ingress()(deployable()),
        name=REPLICAS,
        ray_actor_options=reserved,
        # What is over the queue is shed by the service, whose answer says so; not by Ray Serve.
        max_ongoing_requests=settings.limits.connections,
        max_queued_requests=settings.limits.connections,
        graceful_shutdown_timeout_s=settings.drain + GRACE,
        graceful_shutdown_wait_loop_s=0.1,
        health_check_period_s=2,
        health_check_timeout_s=10,
        max_constructor_retry_count=STARTS,
        max_surge_percent=SURGE,
        logging_config=_QUIET,
        **number,
    )
    serve.run_many(
        [serve.RunTarget(ours.bind(beginning, _sums()), name=NAME, route_prefix="/")],
        wait_for_applications_running=False,
    )


async def _stay(settings: Settings, *, ends_here: bool) -> bool:
    """Wait until the service is there and, if it ends with this process, until that is to end."""
    with asked_to_end() as ended:
        if await _is_there(ended):
            say_ready({"rest": f"http://{settings.host}:{settings.port}"})
            if not ends_here:
                return True
            await ended.wait()
        return await _end(settings.drain) if ends_here else False


async def _is_there(ended: asyncio.Event) -> bool:
    """Wait until all replicas are new and warm; return whether they are before this is to end.

    Raises:
        FleetnetError: they cannot start; what answered before still does.
    """
    from ray import serve

    said = time.monotonic()
    while not ended.is_set():
        found = serve.status().applications.get(NAME)
        if found is None:
            raise FleetnetError("the service was taken off the cluster before it was there")
        states = found.deployments.get(REPLICAS)
        if found.status == "RUNNING":
            return True
        if found.status == "DEPLOY_FAILED" or (states and states.status == "UPDATE_FAILED"):
            raise FleetnetError(f"the replicas cannot start: {_why(states)}")
        if time.monotonic() - said > SAY_SECONDS:
            said = time.monotonic()
            log.info("waiting for replicas: %s", _counted(states))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await ended.wait()
    return False


def _counted(states: Any) -> str:
    counts = {} if states is None else states.replica_states
    return ", ".join(f"{number} {state.lower()}" for state, number in counts.items()) or "none yet"


def _why(states: Any) -> str:
    """Return the last line of what Ray Serve says, without the name of the error's class."""
    lines = ("" if states is None else states.message).strip().splitlines() or ["unknown"]
    return one_line(re.sub(r"^[\w.]+(?:Error|Exception): ", "", lines[-1].strip()))[:500]


async def _end(drain: float) -> bool:
    """Take nothing new, and return whether what was taken was answered in time."""
    from ray import serve

    log.info("draining")
    notify("STOPPING=1")
    serve.delete(NAME, _blocking=False)
    end = time.monotonic() + drain + 2 * GRACE
    while (there := NAME in serve.status().applications) and time.monotonic() < end:
        await asyncio.sleep(POLL_SECONDS)
    log.info("stopped before everything was answered" if there else "drained")
    return not there
