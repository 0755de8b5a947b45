"""Every export target: whether it is here, what it offers, and what was measured with a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetnet.amounts import size
from fleetnet.bundle import Bundle, Quantization, Verification
from fleetnet.cache import cache_folder
from fleetnet.errors import INSTALL, BundleError, FleetnetError, one_line
from fleetnet.export.targets import TARGETS, Target, find_target
from fleetnet.reporting import Begin, Say

if TYPE_CHECKING:  # targets are listed where PyTorch is not installed
    from fleetnet.data.sources import Source
    from fleetnet.export.shown import Allowed


@dataclass(frozen=True)
class Device:
    """A target in one precision, and what it is worth with a network.

    Attributes:
        record: of the comparison with the trained network; None before there was one.
        bytes: of all files that a device gets; None likewise.
        refused: why there is none.
        quantization: how a network in int8 was made; None for others.
    """

    target: Target
    precision: str
    record: Verification | None = None
    bytes: int | None = None
    refused: str = ""
    quantization: Quantization | None = None

    @property
    def word(self) -> str:
        """What ``export --to`` takes."""
        return f"{self.target.name}:{self.precision}"

    @property
    def state(self) -> str:
        """Whether it can be converted to here, or what that takes."""
        return state_of(self.target)

    @property
    def latency_ms(self) -> float | None:
        """Time of an image, where it was measured; a simulator's is none."""
        return None if self.record is None or self.target.simulated else self.record.latency_ms

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "target": self.target.name,
            "title": self.target.title,
            "precision": self.precision,
            "state": self.state,
            "package": self.target.package,
            "version": self.target.version or None,
            "runs_here": self.target.load is not None,
            "bytes": self.bytes,
            "verification": self.record and self.record.model_dump(mode="json"),
            "quantization": self.quantization and self.quantization.model_dump(mode="json"),
            "refused": self.refused or None,
        }


def state_of(target: Target) -> str:
    """Return whether a target can be converted to here, or what that takes, in a few words."""
    if module := target.lacking:
        return f"{INSTALL} '{target.needs[module]}'"
    environment = target.environment
    if environment is not None and environment.missing:
        return f"needs {environment.missing}"
    if environment is None or environment.made:
        return "here"
    return f"fetched when first used, {size(environment.megabytes * 10**6)}"


def chosen(words: Iterable[str]) -> list[tuple[Target, str]]:
    """Return targets and precisions: those named, with all precisions where none is said, or all.

    Raises:
        FleetnetError: one is unknown.
    """
    found: list[tuple[Target, str]] = []
    for word in tuple(words) or tuple(TARGETS):
        target, precision = find_target(word)
        found += [(target, one) for one in ([precision] if ":" in word else target.precisions)]
    return found


def measured(bundle: Bundle, words: Iterable[str] = ()) -> Iterator[Device]:
    """Yield the targets with what was measured earlier, as far as anything was.

    Raises:
        FleetnetError: a target is unknown.
    """
    for target, precision in chosen(words):
        yield _kept(bundle, target, precision)


def measure(
    bundle: Bundle,
    words: Iterable[str] = (),
    *,
    images: Iterable[str] = (),
    data: Source | None = None,
    allowed: Allowed | None = None,
    say: Say = lambda _: None,
    begin: Begin = lambda _what, _steps: lambda _done: None,
) -> Iterator[Device]:
    """Convert a bundle to targets and yield each as it was measured; the files stay in the cache.

    What cannot be converted, or is refused because its answers differ, is yielded with the reason.

    Args:
        bundle: whose network is converted.
        words: targets such as ``litert`` and ``litert:fp16``; if empty, all that are here.
        images: to verify with; see :func:`fleetnet.export.converted.export_to`.
        data: labelled images to verify with, likewise.
        allowed: what fewer bits may lose; None for half a point of top-1.
        say: called with what is being done, in a line.
        begin: called with the packages that an environment takes.

    Raises:
        FleetnetError: a target is unknown.
    """
    from fleetnet.export.converted import export_to
    from fleetnet.export.shown import Allowed

    words, images = tuple(words), tuple(images)
    for target, precision in chosen(words):
        if not words and state_of(target) != "here":
            yield _kept(bundle, target, precision)
            continue
        place = _place(bundle, target, precision)
        say(f"{target.name}:{precision}")
        steps = ["begin"]
        try:
            export_to(
                bundle.path,
                f"{target.name}:{precision}",
                place,
                images=images,
                data=data,
                allowed=allowed if allowed is not None and precision != "fp32" else Allowed(),
                say=steps.append,
                begin=begin,
            )
        except FleetnetError as error:
            yield Device(target, precision, refused=one_line(error))
        except Exception as error:
            # Nobody foresaw it; the other targets are measured all the same.
            yield Device(
                target, precision, refused=_unforeseen(target, precision, steps[-1], error)
            )
        else:
            yield _kept(bundle, target, precision)


def _unforeseen(target: Target, precision: str, step: str, error: Exception) -> str:
    """Return the line about an error of which there is none, with where it came from."""
    return (
        f"{target.name}:{precision} failed at the step '{step}': "
        f"{type(error).__name__}: {one_line(error)}"
    )


def _place(bundle: Bundle, target: Target, precision: str) -> Path:
    return cache_folder() / "devices" / bundle.hash[:16] / f"{target.name}-{precision}"


def _kept(bundle: Bundle, target: Target, precision: str) -> Device:
    try:
        place = _place(bundle, target, precision) / target.version_folder
        (artifact,) = Bundle.load(place).artifacts
    except (BundleError, OSError):
        return Device(target, precision)
    record = artifact.verification[0] if artifact.verification else None
    return Device(target, precision, record, artifact.bytes, quantization=artifact.quantization)
