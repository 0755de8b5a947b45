"""``fleetnet predict --ray``: many images by many processes, into Parquet files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

import typer

from fleetnet.amounts import count
from fleetnet.cli.console import Steps, print_line, progress, say, warn, warn_left_out
from fleetnet.cli.flags import flag
from fleetnet.cli.opening import open_bundle
from fleetnet.cli.predict_asked import Asked
from fleetnet.cli.remote import is_address
from fleetnet.cluster.connection import ADDRESS, LOCAL
from fleetnet.errors import FleetnetError
from fleetnet.inference.automatic import check_asked
from fleetnet.inference.classifier import AUTO, DEFAULT_ENGINE
from fleetnet.inference.engines import CPU, Precision
from fleetnet.left_out import LeftOut


def check_needs_ray(**options: object) -> None:
    """Refuse options that say how a pool works where there is none.

    Raises:
        FleetnetError: one is given.
    """
    for name, value in options.items():
        if value is not None:
            raise FleetnetError(f"{flag(name)} is for many processes: give --ray too")


def predict_on_cluster(
    model: str,
    sources: Sequence[str],
    asked: Asked,
    *,
    output: str | None,
    address: str | None,
    workers: int | None,
    per_part: int | None,
) -> None:
    """Classify images into a folder; exits with 1 if some cannot be read, or parts are missing.

    Raises:
        FleetnetError: an option has no meaning here, or as
            :func:`fleetnet.cluster.run.predict_into`.
    """
    if output is None:
        raise FleetnetError("--ray writes rows into a folder: give --output")
    if is_address(model):
        raise FleetnetError("--ray computes itself, where a server would: give a bundle")
    if asked.engine == AUTO:
        raise FleetnetError(
            f"--engine {AUTO} measures this machine, not those of a cluster: name an engine"
        )
    if asked.device not in (None, CPU):
        raise FleetnetError(f"--ray computes on processors: leave --device {asked.device} out")
    check_asked(asked.engine, asked.precision, asked.device)
    from fleetnet.cluster.parts import PER_PART
    from fleetnet.cluster.run import Options, predict_into

    bundle = open_bundle(model)
    names = asked.names(len(bundle.manifest.classes))
    address = address or os.environ.get(ADDRESS) or LOCAL
    options = Options(
        top_k=asked.top_k,
        engine=asked.engine or DEFAULT_ENGINE,
        precision=cast("Precision", asked.precision or "fp32"),
        exact=asked.exact,
        labels=names,
        per_part=per_part or PER_PART,
        address=None if address == LOCAL else address,
        workers=workers,
        threads=asked.threads or 1,
        batch_size=asked.batch_size,
        reject=asked.rejection,
    )
    left_out = LeftOut()
    with progress(unit="parts") as bar:
        found = predict_into(output, bundle, sources, options, left_out, Steps(bar))
    print_line(
        f"{count(found.images, 'image')} in {count(found.parts - found.missing, 'part')}, "
        f"{count(found.made, 'part')} made now: {output}"
    )
    warn_left_out(left_out)
    if found.missing:
        why = next(iter(found.problems), "its processes ended again and again")
        warn(
            f"{count(found.missing, 'part')} could not be made; the first: {why}; the same command "
            "tries again"
        )
    if found.unreadable:
        say(f"{found.unreadable} of {count(found.images, 'image')} could not be read")
    if found.missing or found.unreadable:
        raise typer.Exit(1)
