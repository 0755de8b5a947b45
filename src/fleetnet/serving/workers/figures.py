"""The metrics of all workers as one server's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Labels = tuple[tuple[str, str], ...]
Figures = list[Metric]
"""What a worker's registry holds at one moment."""

GAUGES: dict[str, Callable[[Iterable[float]], float]] = {
    "fleetnet_ready": min,
    "fleetnet_images_in_house": sum,
    "fleetnet_model_loaded": max,
}
"""How gauges of several workers make one; those of other names get a label of the worker."""


class Whole(Collector):
    """Adds up what workers have counted, those that have ended too, so that no counter goes back.

    Args:
        workers: how many there should be.
    """

    def __init__(self, workers: int) -> None:
        self._last: dict[int, Figures] = {}
        self._ended: dict[str, Metric] = {}
        own = CollectorRegistry()
        self._deaths = Counter(
            "fleetnet_worker_deaths",
            "Workers that ended without being asked to.",
            ("worker",),
            registry=own,
        )
        self._running = Gauge(
            "fleetnet_workers_ready", "Workers that answer requests.", registry=own
        )
        for number in range(workers):
            self._deaths.labels(str(number))
        self._own = own
        self._lock = threading.Lock()
        self._text = CollectorRegistry()
        self._text.register(self)

    def seen(self, worker: int, figures: Figures) -> None:
        """Take what a worker says now, in the place of what it said before."""
        with self._lock:
            self._last[worker] = figures
            self._running.set(len(self._last))

    def ended(self, worker: int, *, died: bool) -> None:
        """Keep what a worker has counted until the last time that it was asked."""
        with self._lock:
            if died:
                self._deaths.labels(str(worker)).inc()
            for metric in self._last.pop(worker, []):
                if metric.type != "gauge":
                    kept = self._ended.get(metric.name)
                    parts = [metric] if kept is None else [kept, metric]
                    self._ended[metric.name] = _added(parts)
            self._running.set(len(self._last))

    def text(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return generate_latest(self._text)

    def describe(self) -> Iterable[Metric]:
        """Return no names: what workers count is not known before they do."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all workers together, and those about them."""
        with self._lock:
            found: dict[str, dict[int | None, Metric]] = {}
            for name, metric in self._ended.items():
                found.setdefault(name, {})[None] = metric
            for worker, figures in sorted(self._last.items()):
                for metric in figures:
                    found.setdefault(metric.name, {})[worker] = metric
        for name, parts in found.items():
            gauges = next(iter(parts.values())).type == "gauge"
            if gauges and name not in GAUGES:
                yield _labelled(parts)
            else:
                yield _added(list(parts.values()), GAUGES.get(name, sum))
        yield from self._own.collect()


def _like(metric: Metric) -> Metric:
    return Metric(metric.name, metric.documentation, metric.type, metric.unit)


def _added(parts: list[Metric], together: Callable[[Iterable[float]], float] = sum) -> Metric:
    values: dict[tuple[str, Labels], list[float]] = {}
    for metric in parts:
        for sample in metric.samples:
            key = (sample.name, tuple(sample.labels.items()))
            values.setdefault(key, []).append(sample.value)
    whole = _like(parts[0])
    for (name, labels), found in values.items():
        # When counting began is a time, of which the first counts.
        value = min(found) if name.endswith("_created") else together(found)
        whole.add_sample(name, dict(labels), value)
    return whole


def _labelled(parts: dict[int | None, Metric]) -> Metric:
    whole = _like(next(iter(parts.values())))
    for worker, metric in parts.items():
        for sample in metric.samples:
            whole.add_sample(sample.name, {**sample.labels, "worker": str(worker)}, sample.value)
    return whole
