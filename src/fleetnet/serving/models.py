"""Models that are loaded: their versions, and which of them answers a request.

All of it belongs to the thread of the event loop. So choosing a version and queueing the images are
one step, and nothing that is swapped or unloaded in between can lose a request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fleetnet.errors import nearest
from fleetnet.serving.batching import Lane
from fleetnet.serving.errors import NotFoundError, RequestError
from fleetnet.serving.loaded import LoadedModel
from fleetnet.serving.repository import by_age


@dataclass(eq=False, slots=True)
class Version:
    """A version of a model that answers."""

    model: str
    version: str
    loaded: LoadedModel
    lane: Lane


@dataclass(slots=True)
class Routing:
    """Which versions of a model get its requests.

    Attributes:
        default: answers where no version is asked for; None for the newest that is loaded.
        split: shares of those requests for other versions, such as ``{"2": 0.1}``.
        shadow: a version that computes the same images, for comparison only.
    """

    default: str | None = None
    split: Mapping[str, float] = field(default_factory=dict)
    shadow: str | None = None
    _owed: dict[str, float] = field(default_factory=dict)

    def next_canary(self) -> str | None:
        """Return the version whose turn it is; None for the default.

        Shares are kept exactly over any stretch of requests, and not only on average.
        """
        for version, share in self.split.items():
            owed = self._owed.get(version, 0.0) + share
            self._owed[version] = owed - 1 if owed >= 1 - 1e-9 else owed
            if owed >= 1 - 1e-9:
                return version
        return None


class Models:
    """What is loaded, and how it is found.

    Args:
        routing: by model.
        aliases: other names of models: ``{"latest-shapes": ("shapes", "")}``, the second being a
            version, or empty for the default.
    """

    def __init__(
        self,
        routing: Mapping[str, Routing] | None = None,
        aliases: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        self._routing = dict(routing or {})
        self._aliases = dict(aliases or {})
        self._versions: dict[str, dict[str, Version]] = {}

    def __iter__(self) -> Iterator[Version]:
        """Iterate over all versions that are loaded."""
        return iter([version for all_ in self._versions.values() for version in all_.values()])

    def names(self) -> list[str]:
        """Return the names of the models that are loaded, without aliases."""
        return sorted(self._versions)

    def versions(self, name: str) -> list[str]:
        """Return the loaded versions of a model, the oldest first; none if it is not loaded."""
        return sorted(self._versions.get(name, {}), key=by_age)

    def put(self, version: Version) -> Version | None:
        """Let a version answer from now on, and return the one that it replaces."""
        versions = self._versions.setdefault(version.model, {})
        former = versions.get(version.version)
        versions[version.version] = version
        return former

    def take(self, name: str, version: str | None = None) -> list[Version]:
        """Take a version, or all of them, out of service, and return what it was."""
        versions = self._versions.get(name, {})
        taken = [versions.pop(one) for one in list(versions) if version in (None, one)]
        if not versions:
            self._versions.pop(name, None)
        return taken

    def find(self, name: str, version: str = "") -> Version:
        """Return the version that a request gets, without counting it for a canary.

        Raises:
            RequestError: no model is named, and there are several.
            NotFoundError: it, or no model at all, is loaded.
        """
        name, version = self._named(name, version)
        versions = self._versions.get(name)
        if not versions:
            raise NotFoundError(
                f"no model '{name}' is loaded{nearest(name, self.names())}", model=name
            )
        wanted = version or self._default(name)
        found = versions.get(wanted)
        if found is None:
            raise NotFoundError(
                f"version '{wanted}' of the model '{name}' is not loaded (loaded: "
                f"{', '.join(self.versions(name))})",
                model=name,
                version=wanted,
            )
        return found

    def route(self, name: str, version: str = "") -> tuple[Version, Version | None]:
        """Return the version that a request gets, and the one that shadows it, if any.

        Raises:
            RequestError: as :meth:`find`.
            NotFoundError: likewise.
        """
        found = self.find(name, version)
        routing = self._routing.get(found.model)
        name, version = self._named(name, version)
        if routing is None or version:
            return found, None
        versions = self._versions[found.model]
        canary = routing.next_canary()
        if canary is not None:
            found = versions.get(canary, found)
        shadow = versions.get(routing.shadow) if routing.shadow else None
        return found, None if shadow is found else shadow

    def default(self, name: str, version: str) -> None:
        """Let a version be the default of a model.

        Raises:
            NotFoundError: it is not loaded.
        """
        self.prefer(self.find(name, version).model, version)

    def prefer(self, name: str, version: str) -> None:
        """Let a version be the default of a model whenever it is loaded."""
        self._routing.setdefault(name, Routing()).default = version

    def _named(self, name: str, version: str) -> tuple[str, str]:
        if not name:
            if not self._versions:
                raise NotFoundError("no model is loaded")
            if len(self._versions) != 1:
                raise RequestError(
                    f"name the model: {len(self._versions)} are loaded ({', '.join(self.names())})"
                )
            return next(iter(self._versions)), version
        if name in self._aliases and name not in self._versions:
            target, fixed = self._aliases[name]
            return target, version or fixed
        return name, version

    def _default(self, name: str) -> str:
        chosen = self._routing.get(name, Routing()).default
        if chosen is not None and chosen in self._versions[name]:
            return chosen
        # What only gets a share, or nothing, is no default as long as there is another.
        routing = self._routing.get(name, Routing())
        spare = {*routing.split, routing.shadow}
        versions = self.versions(name)
        return next((one for one in reversed(versions) if one not in spare), versions[-1])
