"""What is counted and timed, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from fleetnet.serving.batching import Lane
from fleetnet.serving.drift import Watch
from fleetnet.serving.requests import Answer, Result

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The figures of one service, in a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        which = ("model", "version")
        self._requests = Counter(
            "fleetnet_requests", "Requests answered.", (*which, "protocol"), registry=registry
        )
        self._errors = Counter(
            "fleetnet_errors",
            "Requests not answered, by cause.",
            ("model", "protocol", "cause"),
            registry=registry,
        )
        self._images = Counter("fleetnet_images", "Images answered.", which, registry=registry)
        self._explained = Counter(
            "fleetnet_explanations", "Heat maps computed.", which, registry=registry
        )
        self._unreadable = Counter(
            "fleetnet_unreadable_images", "Images that cannot be read.", which, registry=registry
        )
        self._stages = {
            stage: Histogram(
                f"fleetnet_{stage}_seconds", text, which, buckets=SECONDS, registry=registry
            )
            for stage, text in (
                ("queue", "Time that a request's images waited."),
                ("decode", "Time to decode and resize an image."),
                ("inference", "Time of the network for a batch."),
            )
        }
        self._batches = Histogram(
            "fleetnet_batch_size",
            "Images computed together.",
            which,
            buckets=SIZES,
            registry=registry,
        )
        self._shadowed = Counter(
            "fleetnet_shadow_answers",
            "Images compared with the shadow version, by whether the class is the same.",
            ("model", "version", "shadow", "same"),
            registry=registry,
        )
        self._shadow_lost = Counter(
            "fleetnet_shadow_lost",
            "Requests that the shadow version did not answer.",
            ("model", "shadow"),
            registry=registry,
        )
        self._loaded = Gauge(
            "fleetnet_model_loaded",
            "Versions that are loaded.",
            (*which, "bundle"),
            registry=registry,
        )
        self._waiting = Gauge(
            "fleetnet_images_in_house", "Images waiting or in work.", which, registry=registry
        )
        self._watches = _Watches()
        registry.register(self._watches)
        self.ready = Gauge("fleetnet_ready", "1 if the service is ready.", registry=registry)

    def answered(self, result: Result, protocol: str) -> None:
        """Count a request that was answered."""
        self._requests.labels(result.model, result.version, protocol).inc()

    def looked_at(self, result: Result) -> None:
        """Count the images of a request, whether that can be answered with them or not."""
        which = (result.model, result.version)
        unreadable = sum(answer.error is not None for answer in result.answers)
        self._images.labels(*which).inc(len(result.answers) - unreadable)
        if unreadable:
            self._unreadable.labels(*which).inc(unreadable)
        self._stages["queue"].labels(*which).observe(result.timing.queue)
        self._stages["decode"].labels(*which).observe(result.timing.decode)

    def explained(self, model: str, version: str) -> None:
        """Count a heat map."""
        self._explained.labels(model, version).inc()

    def failed(self, model: str, protocol: str, cause: str) -> None:
        """Count a request that was not answered; the model is a loaded one's name, or empty.

        The service counts what reached it, and a transport what it refused itself.
        """
        self._errors.labels(model, protocol, cause).inc()

    def computed(self, lane: Lane, size: int, seconds: float) -> None:
        """Count a batch."""
        model, _, version = lane.name.partition("/")
        self._batches.labels(model, version).observe(size)
        self._stages["inference"].labels(model, version).observe(seconds)

    def compared(self, model: str, version: str, shadow: str, *, same: int, other: int) -> None:
        """Count images that a shadow version answered too."""
        for word, number in (("true", same), ("false", other)):
            if number:
                self._shadowed.labels(model, version, shadow, word).inc(number)

    def shadow_lost(self, model: str, shadow: str) -> None:
        """Count a request that a shadow version did not answer."""
        self._shadow_lost.labels(model, shadow).inc()

    def loaded(self, lane: Lane, model: str, version: str, bundle: str) -> None:
        """Show a version from now on."""
        self._loaded.labels(model, version, bundle).set(1)
        self._waiting.labels(model, version).set_function(lambda: lane.images)

    def unloaded(self, model: str, version: str, bundle: str, *, replaced: bool) -> None:
        """Show a version no more."""
        self._loaded.remove(model, version, bundle)
        if not replaced:
            self._waiting.remove(model, version)
            self.watch(model, version, None)

    def watch(self, model: str, version: str, watch: Watch | None) -> None:
        """Show from now on how far a version's requests are from its reference, if it has one."""
        self._watches.put(model, version, watch)

    def text(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return generate_latest(self.registry)


class _Watches(Collector):
    """How far requests are from references, compared when somebody asks."""

    def __init__(self) -> None:
        self._watches: dict[tuple[str, str], Watch] = {}

    def put(self, model: str, version: str, watch: Watch | None) -> None:
        if watch is None:
            self._watches.pop((model, version), None)
        else:
            self._watches[model, version] = watch

    def collect(self) -> Iterator[GaugeMetricFamily]:
        which = ("model", "version")
        images = GaugeMetricFamily(
            "fleetnet_drift_images", "Answers that are compared with the reference.", labels=which
        )
        index = GaugeMetricFamily(
            "fleetnet_drift_psi",
            "Population stability index of the last images against the reference.",
            labels=(*which, "statistic"),
        )
        divergence = GaugeMetricFamily(
            "fleetnet_drift_jensen_shannon",
            "Jensen-Shannon divergence in bits of the last images from the reference.",
            labels=(*which, "statistic"),
        )
        for key, watch in self._watches.items():
            images.add_metric(key, watch.images)
            for found in watch.drift():
                index.add_metric((*key, found.statistic), found.stability_index)
                divergence.add_metric((*key, found.statistic), found.jensen_shannon)
        yield from (images, index, divergence)


def same_classes(ours: tuple[Answer, ...], theirs: tuple[Answer, ...]) -> int:
    """Return for how many images two versions name the same most probable class."""
    return sum(
        one.logits is not None
        and other.logits is not None
        and int(np.argmax(one.logits)) == int(np.argmax(other.logits))
        for one, other in zip(ours, theirs, strict=True)
    )
