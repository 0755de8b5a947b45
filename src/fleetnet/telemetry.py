"""Nobody is told that Fleetnet is used."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

PACKAGE = "openvino_telemetry"
VARIABLE = "ORT_DISABLE_TELEMETRY"


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Import OpenVINO, NNCF or ONNX Runtime inside the block, so that they report nothing.

    OpenVINO tells Google Analytics that it was imported, NNCF what is done with it, unless their
    common package for that is absent: then each puts a stand-in in its place, for good. So it is
    made to seem absent for as long as they are imported. ONNX Runtime, from 1.29 on, tells
    Microsoft of sessions and models and leaves a device's number in the home folder, unless a
    variable of the environment says otherwise when it is imported.
    """
    package, variable = sys.modules.get(PACKAGE), os.environ.get(VARIABLE)
    sys.modules[PACKAGE] = None  # type: ignore[assignment]  # Python takes this for "absent"
    os.environ[VARIABLE] = "1"
    try:
        yield
    finally:
        del sys.modules[PACKAGE]
        if package is not None:
            sys.modules[PACKAGE] = package
        if variable is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = variable
