"""Logs: a line for each event, as JSON for programs or as text for people."""

from __future__ import annotations

import contextlib
import datetime
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from fleetnet.json_text import json_text
from fleetnet.labels import printable

FIELDS = (
    "request_id", "trace_id", "protocol", "model", "version", "bundle", "status", "cause", "images",
    "batch", "queue_ms", "decode_ms", "compute_ms", "total_ms", "address", "worker",
    "worker_process", "ended_by", "again_in_s",
)  # fmt: skip
"""What an event may say besides its name."""
_LOGGERS = ("fleetnet.serving", "grpc", "opentelemetry", "python_multipart", "uvicorn")
_TRACEPARENT = re.compile("[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Trace(NamedTuple):
    """A W3C trace context: the trace's id and the caller's span."""

    trace: str
    span: str


def trace_of(traceparent: str | None) -> Trace | None:
    """Return the trace that a ``traceparent`` header names; None if it is absent or wrong."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or traceparent is None or traceparent.startswith("ff"):
        return None
    trace, span = found[1], found[2]
    return None if not (trace.strip("0") and span.strip("0")) else Trace(trace, span)


def id_of(given: str | None) -> str | None:
    """Return a client's request id, if it is one that a log and a header can hold."""
    return given if given and _ID.fullmatch(given) else None


class _Lines(logging.Formatter):
    def __init__(self, kind: Literal["text", "json"], worker: int | None) -> None:
        super().__init__()
        self._kind = kind
        self._worker = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            name: record.__dict__[name] for name in FIELDS if record.__dict__.get(name) is not None
        } | self._worker
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        stamp = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = record.getMessage()
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        if self._kind == "json":
            line = {"time": stamp, "level": record.levelname.lower(), "event": message, **fields}
            return json_text(line, indent=None)
        told = "".join(f" {name}={value}" for name, value in fields.items() if name != "traceback")
        words = message + told
        shown = words if words.isprintable() else printable(words)
        text = f"{stamp} {record.levelname.lower()} {shown}"
        return f"{text}\n{fields['traceback']}" if "traceback" in fields else text


@contextlib.contextmanager
def logs_put_back() -> Iterator[None]:
    """Leave the loggers at the end as they were: what serves next may write elsewhere."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    former = [(one, one.handlers[:], one.level, one.propagate) for one in loggers]
    try:
        yield
    finally:
        for logger, handlers, level, propagate in former:
            logger.handlers[:] = handlers
            logger.setLevel(level)
            logger.propagate = propagate


def set_up_logs(kind: Literal["text", "json"], worker: int | None = None) -> None:
    """Write this package's events, and the server's warnings, to standard error.

    Args:
        kind: of the lines.
        worker: the number of this process among several, which every line then has.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(kind, worker))
    others = ("grpc", "opentelemetry", "uvicorn")
    levels = {"fleetnet.serving": logging.INFO, **dict.fromkeys(others, logging.WARNING)}
    for name, level in levels.items():
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
    # It has a line for each bad form, in a form of its own, and whoever sent it is told anyway.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
