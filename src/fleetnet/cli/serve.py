"""``fleetnet serve``: answer requests over the network."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from fleetnet.cli.opening import open_bundle
from fleetnet.cli.options import DeviceOption, PrecisionOption, ThreadsOption
from fleetnet.cluster.connection import ADDRESS, LOCAL
from fleetnet.errors import FleetnetError, nearest, require_all

_NEEDS = {
    "starlette": "Starlette",
    "uvicorn": "uvicorn",
    "httptools": "httptools",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "google_crc32c": "google-crc32c",
    "multipart": "python-multipart",
    "prometheus_client": "prometheus-client",
    "yaml": "PyYAML",
}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("serve", short_help="Answer requests over the network.")(serve)


def serve(
    bundles: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]MODEL",
            help="Bundles, or what else names a model; NAME or NAME/VERSION is for clients.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="More models: NAME/VERSION, NAME.bundle or NAME.onnx."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings in YAML; flags come first.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on.  [127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="0 for any.  [8000]")
    ] = None,
    grpc_port: Annotated[
        int | None,
        typer.Option("--grpc-port", min=0, max=65535, help="0 for any.  [that of HTTP plus 1]"),
    ] = None,
    grpc: Annotated[
        bool | None, typer.Option("--grpc/--no-grpc", help="Answer over gRPC too.  [--grpc]")
    ] = None,
    brpc_port: Annotated[
        int | None,
        typer.Option("--brpc-port", min=0, max=65535, help="0 for any.  [that of HTTP plus 2]"),
    ] = None,
    brpc: Annotated[
        bool | None, typer.Option("--brpc/--no-brpc", help="Answer over bRPC too.  [--brpc]")
    ] = None,
    tokens: Annotated[
        Path | None, typer.Option("--tokens", help="File of tokens: a role and a token a line.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            "--split",
            metavar="[NAME/]VERSION=SHARE",
            help="Share of a model's requests for a version, such as 2=10%.",
        ),
    ] = None,
    shadow: Annotated[
        list[str] | None,
        typer.Option(
            "--shadow", metavar="[NAME/]VERSION", help="Version that computes along, to compare."
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            metavar="[NAME=]FILE",
            help="What 'fleetnet evaluate --reference' wrote: /metrics says how far requests are "
            "from it.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="ENGINE",
            help="openvino, onnxruntime, torch; auto: what 'fleetnet tune' chose.  [openvino]",
        ),
    ] = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = None,
    max_batch: Annotated[
        int | None, typer.Option("--max-batch", min=1, max=4096, help="Images computed together.")
    ] = None,
    max_delay: Annotated[
        float | None,
        typer.Option(
            "--max-delay", min=0, help="Milliseconds a batch waits for what is decoded.  [2]"
        ),
    ] = None,
    log: Annotated[str | None, typer.Option("--log", help="text or json.  [text]")] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, max=256, help="Processes behind the same ports.  [1]"),
    ] = None,
    telemetry: Annotated[
        bool | None,
        typer.Option(
            "--telemetry/--no-telemetry",
            help="Send traces as the variables OTEL_* say.  [where they name a collector]",
        ),
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Answer by replicas, through Ray Serve; HTTP only.")
    ] = False,
    replicas: Annotated[
        str | None,
        typer.Option(
            "--replicas",
            metavar="N|N..M",
            help="With --ray: how many, or from how many to how many as the load wants.  [1]",
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            metavar="HOST:PORT",
            help="With --ray: a running cluster to deploy to.  [RAY_ADDRESS; else Ray is started "
            "here]",
        ),
    ] = None,
) -> None:
    """Answer requests over HTTP, gRPC and bRPC, until the process is asked to end.

    With --ray, replicas on a cluster answer over HTTP. On a running one they stay, and what is
    deployed there next takes their place without losing a request.

    Settings come from flags, then from variables FLEETNET_SERVE_*, then from the file of --config.
    """
    if not ray and (replicas is not None or ray_address is not None):
        which = "--replicas" if replicas is not None else "--ray-address"
        raise FleetnetError(f"{which} is for replicas: give --ray too")
    require_all(_NEEDS, "serve", "fleetnet serve")
    from fleetnet.serving.config import Settings
    from fleetnet.serving.lifecycle import repository_of
    from fleetnet.serving.lifecycle import serve as run

    flags: dict[str, Any] = {
        "models": _models(bundles or []),
        "folder": folder,
        "host": host,
        "port": port,
        "grpc": {"port": grpc_port, "enabled": grpc},
        "brpc": {"port": brpc_port, "enabled": brpc},
        "tokens": tokens,
        "log": log,
        "workers": workers,
        "telemetry": telemetry,
        "engine": {
            "name": engine,
            "precision": precision,
            "threads": threads,
            "device": device,
            "batch": max_batch,
        },
        "queue": {"delay_ms": max_delay},
    }
    repository = repository_of(Settings.load_all(config, os.environ, flags))
    versions = {name: list(repository.versions(name)) for name in repository.names()}
    if not versions:
        raise FleetnetError("there is nothing to serve: name a bundle, or a folder of models")
    names = list(versions)
    # They may leave out the name of an only model, wherever that is named.
    flags["routing"] = _routing(names, split or [], shadow or [])
    flags["drift"] = {"references": _references(versions, reference or [])}
    settings = Settings.load_all(config, os.environ, flags)
    for key in settings.drift.references:
        if key.partition("/")[0] not in names:
            raise FleetnetError(
                f"there is a reference for '{key}', but no such model{nearest(key, names)}"
            )
    if ray:
        from fleetnet.serving.replicas.asked import replicas_of
        from fleetnet.serving.replicas.deploying import serve_replicas

        address = ray_address or os.environ.get(ADDRESS) or LOCAL
        done = serve_replicas(
            settings, replicas_of(replicas or "1"), None if address == LOCAL else address
        )
    else:
        done = asyncio.run(run(settings))
    if not done:
        raise typer.Exit(1)


def _models(words: list[str]) -> dict[str, str]:
    """Return the paths of bundles by name; what is none yet is made into one."""
    from fleetnet.serving.repository import name_of

    models: dict[str, str] = {}
    for word in words:
        name, equals, subject = word.partition("=")
        path = open_bundle(subject if equals else word).path
        name = name if equals else name_of(path)
        if name in models:
            hint = f"NAME={path}" if "/" in name else f"{name}/2={path} for another version of it"
            raise FleetnetError(f"two models are called '{name}': give names, as in {hint}")
        models[name] = str(path)
    return models


def _routing(names: list[str], split: list[str], shadow: list[str]) -> dict[str, Any]:
    from fleetnet.serving.config import share_of

    routing: dict[str, Any] = {}
    for word in split:
        which, equals, share = word.partition("=")
        if not equals:
            raise FleetnetError(f"--split is VERSION=SHARE, such as 2=10%, not '{word}'")
        try:
            share_of(share)
        except ValueError as error:
            raise FleetnetError(f"--split {word}: {error}") from None
        name, version = _which(names, which)
        routing.setdefault(name, {}).setdefault("split", {})[version] = share
    for word in shadow:
        name, version = _which(names, word)
        routing.setdefault(name, {})["shadow"] = version
    return routing


def _references(versions: dict[str, list[str]], words: list[str]) -> dict[str, str]:
    """Return the references by model; a name may be left out where there is only one bundle."""
    bundles = [f"{name}/{version}" for name, several in versions.items() for version in several]
    references: dict[str, str] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals:
            if len(bundles) != 1:
                raise FleetnetError(f"of which model is the reference {word}? Give NAME={word}")
            name, path = bundles[0], word
        references[name] = path
    return references


def _which(names: list[str], word: str) -> tuple[str, str]:
    """Return a model and a version; the model may be left out where there is only one."""
    name, slash, version = word.partition("/")
    if slash:
        return name, version
    if len(names) != 1:
        raise FleetnetError(f"of which model is the version '{word}'? Give NAME/{word}")
    return names[0], word
