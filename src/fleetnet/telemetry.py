"""Keeping libraries from reporting that they are used."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

PACKAGE = "openvino_telemetry"
VARIABLE = "ORT_DISABLE_TELEMETRY"


class _Absence:
    """Makes the package seem absent while any thread imports, and puts back what was there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._importing = 0
        self._package: ModuleType | None = None
        self._variable: str | None = None

    def begin(self) -> None:
        with self._lock:
            if self._importing == 0:
                self._package = sys.modules.get(PACKAGE)
                self._variable = os.environ.get(VARIABLE)
                # Python takes this for "absent".
                sys.modules[PACKAGE] = None  # type: ignore[assignment]
                os.environ[VARIABLE] = "1"
            self._importing += 1

    def end(self) -> None:
        with self._lock:
            self._importing -= 1
            if self._importing:
                return
            sys.modules.pop(PACKAGE, None)
            if self._package is not None:
                sys.modules[PACKAGE] = self._package
            os.environ.pop(VARIABLE, None)
            if self._variable is not None:
                os.environ[VARIABLE] = self._variable


_absence = _Absence()


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Import OpenVINO, NNCF or ONNX Runtime inside the block, so that they report nothing.

    OpenVINO reports its import, and NNCF its use, to Google Analytics through a package that both
    share. If that package is absent at import, each uses a stand-in from then on; so it is made to
    seem absent during the import. ONNX Runtime, from 1.29 on, reports sessions and models to
    Microsoft and leaves a device number in the home folder, unless an environment variable is set
    when it is imported.
    """
    _absence.begin()
    try:
        yield
    finally:
        _absence.end()
