"""Errors of converters, each of which raises its own, as lines that say what was converted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from fleetnet.bundle import Bundle
from fleetnet.errors import INSTALL, FleetnetError, reason_of
from fleetnet.export.targets import Target


@contextlib.contextmanager
def converting(bundle: Bundle, target: Target) -> Iterator[None]:
    """Turn whatever a target's converter raises in the block into one line.

    Raises:
        FleetnetError: names the model, the target, and what its converter says; or the package
            that it lacks.
    """
    try:
        yield
    except FleetnetError:
        raise
    except ModuleNotFoundError as error:
        raise FleetnetError(
            f"the target '{target.name}' needs {error.name}, which is not installed: {INSTALL} "
            f"{error.name}",
            code="not-installed",
            package=error.name,
        ) from None
    except Exception as error:
        raise FleetnetError(
            f"{bundle.path} cannot be converted to {target.title}: {reason_of(error)}"
        ) from None
