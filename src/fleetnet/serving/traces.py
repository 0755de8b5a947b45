"""Traces by OpenTelemetry: a span for each request, and one for each part of its time.

The packages are an extra, and nothing of them is imported before traces are asked for.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import fleetnet
from fleetnet.errors import INSTALL, FleetnetError, one_line, require
from fleetnet.serving.errors import Cause, cause_of
from fleetnet.serving.explaining import Explanation
from fleetnet.serving.requests import Request, Result

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span

EXTRA = "telemetry"
NAMED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables that name a collector."""
FAULTS: tuple[Cause, ...] = ("internal", "unavailable", "overloaded", "deadline")
"""Causes for which the span is an error: the others are the client's."""
log = logging.getLogger("fleetnet.serving")


class Traces:
    """Makes the spans of requests.

    Args:
        processor: what becomes of a span that has ended.
    """

    def __init__(self, processor: SpanProcessor) -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        ours = {
            SERVICE_NAME: "fleetnet",
            "service.version": fleetnet.__version__,
            "service.instance.id": str(uuid.uuid4()),
        }
        resource = Resource.create({**ours, **OTELResourceDetector().detect().attributes})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("fleetnet.serving", fleetnet.__version__)
        self._context = TraceContextTextMapPropagator()

    @contextlib.contextmanager
    def of(
        self, request: Request, name: str = "infer"
    ) -> Iterator[Callable[[Result | Explanation], None]]:
        """Make the span of a request that is answered in the block, which tells the result."""
        from opentelemetry.trace import SpanKind

        begun = time.time_ns()
        span = self._tracer.start_span(
            name,
            self._context.extract({"traceparent": request.traceparent}),
            SpanKind.SERVER,
            {
                "fleetnet.request.id": request.id,
                "fleetnet.protocol": request.protocol,
                "fleetnet.images": len(request.images),
            },
            start_time=begun,
        )
        try:
            yield lambda result: self._answered(span, result, begun)
        except BaseException as error:
            _failed(span, error)
            raise
        finally:
            span.end()

    def close(self) -> None:
        """Send what has not been sent."""
        self._provider.shutdown()

    def _answered(self, span: Span, result: Result | Explanation, begun: int) -> None:
        """Say what the answer was, and of a result where the time went.

        The parts are shown one after the other, each of its length: of several images it is the
        longest, and waiting for a batch is shown with waiting for a thread, before the rest.
        """
        if not span.is_recording():
            return
        from opentelemetry.trace import set_span_in_context

        now = time.time_ns()
        span.set_attributes(
            {
                "fleetnet.model": result.model,
                "fleetnet.version": result.version,
                "fleetnet.bundle": result.bundle,
            }
        )
        if isinstance(result, Explanation):
            return
        timing = result.timing
        span.set_attribute("fleetnet.batch", timing.batch)
        parent, start = set_span_in_context(span), begun
        stages = {"queue": timing.queue, "decode": timing.decode, "compute": timing.compute}
        for name, seconds in stages.items():
            end = min(start + round(seconds * 1e9), now)
            self._tracer.start_span(name, parent, start_time=start).end(end)
            start = end


def _failed(span: Span, error: BaseException) -> None:
    from opentelemetry.trace import Status, StatusCode

    cause: Cause = cause_of(error) if isinstance(error, Exception) else "cancelled"
    span.set_attribute("error.type", cause)
    if cause in FAULTS:
        span.set_status(Status(StatusCode.ERROR, cause))


def traces_of(asked: bool | None, environment: Mapping[str, str]) -> Traces | None:
    """Return what sends traces over OTLP/HTTP, as the variables ``OTEL_*`` say; None for nothing.

    Args:
        asked: whether to send them; None where the extra is installed and a collector named.
        environment: the process's own, of which the exporter reads more.

    Raises:
        FleetnetError: they are asked for, and the extra is not installed or is set up wrongly.
    """
    if asked is False or environment.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    if asked is None and not any(environment.get(name) for name in NAMED):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError:
        if asked:
            raise require("OpenTelemetry", EXTRA, "telemetry") from None
        log.warning("no traces are sent to the collector: %s 'fleetnet[%s]'", INSTALL, EXTRA)
        return None
    try:
        return Traces(BatchSpanProcessor(OTLPSpanExporter()))
    except (ValueError, OSError) as error:
        raise FleetnetError(f"traces cannot be sent: {one_line(error)}") from None
