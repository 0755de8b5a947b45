"""The C interface of the C++ predictor, called by way of ``ctypes``."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class _Options(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("engine", ctypes.c_char_p),
        ("precision", ctypes.c_char_p),
        ("device", ctypes.c_char_p),
        ("threads", ctypes.c_int32),
        ("throughput", ctypes.c_int32),
        ("exact", ctypes.c_int32),
        ("batch_size", ctypes.c_int32),
        ("labels", ctypes.POINTER(ctypes.c_char_p)),
        ("label_count", ctypes.c_size_t),
        ("reject", ctypes.c_int32),
    )


class _Image(ctypes.Structure):
    _fields_ = (
        ("path", ctypes.c_char_p),
        ("data", ctypes.c_char_p),
        ("size", ctypes.c_size_t),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
    )


class LibraryError(Exception):
    """What the library said, in one line."""


class Library:
    """The shared library in a build's folder."""

    def __init__(self, path: Path) -> None:
        self.c = ctypes.CDLL(str(path))
        for name in ("fleetnet_last_error", "fleetnet_answer_error"):
            getattr(self.c, name).restype = ctypes.c_char_p
        for name in ("fleetnet_answer_logits", "fleetnet_answer_certainty"):
            getattr(self.c, name).restype = ctypes.POINTER(ctypes.c_float)

    def open(self, bundle: Path, **options: Any) -> Opened:
        """Open a bundle; the options are the C structure's, text as ``bytes``."""
        handle = ctypes.c_void_p()
        chosen = _Options(size=ctypes.sizeof(_Options), **options)
        self.check(self.c.fleetnet_open(bytes(bundle), ctypes.byref(chosen), ctypes.byref(handle)))
        return Opened(self, handle)

    def check(self, code: int) -> None:
        """Raise what the library said if a call failed."""
        if code:
            raise LibraryError(self.c.fleetnet_last_error().decode())


class Opened:
    """A classifier; closed at the end of a ``with`` block."""

    def __init__(self, library: Library, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = library, handle

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.c.fleetnet_close(self._handle)

    def logits(self, images: list[bytes], classes: int) -> npt.NDArray[np.float32]:
        """Return ``float32[N, classes]`` for the contents of image files."""
        return self.judged(images, classes)[0]

    def judged(
        self, images: list[bytes], classes: int
    ) -> tuple[npt.NDArray[np.float32], list[tuple[bool, float | None]]]:
        """Return the logits, and of each image whether it is rejected and its score."""
        c = self._library.c
        given = (_Image * len(images))(*(_Image(data=image, size=len(image)) for image in images))
        answers = ctypes.c_void_p()
        self._library.check(
            c.fleetnet_classify_batch(
                self._handle,
                given,
                ctypes.c_size_t(len(images)),
                ctypes.c_size_t(1),
                ctypes.byref(answers),
            )
        )
        found = np.empty((len(images), classes), np.float32)
        count = ctypes.c_size_t()
        judged: list[tuple[bool, float | None]] = []
        for place, row in enumerate(found):
            error = c.fleetnet_answer_error(answers, ctypes.c_size_t(place))
            assert error is None, (place, error)
            logits = c.fleetnet_answer_logits(answers, ctypes.c_size_t(place), ctypes.byref(count))
            row[:] = logits[: count.value]
            score = c.fleetnet_answer_certainty(answers, ctypes.c_size_t(place))
            rejected = c.fleetnet_answer_rejected(answers, ctypes.c_size_t(place))
            judged.append((bool(rejected), score[0] if score else None))
        c.fleetnet_answers_free(answers)
        return found, judged
