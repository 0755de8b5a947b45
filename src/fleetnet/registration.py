"""Things that are found: a file in a folder of ours, another package's entry point, or one added.

Engines, data sources and export targets are found alike, each in a :class:`Registry`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

from fleetnet.errors import FleetnetError, reason_of, unknown


class Named(Protocol):
    """What a registry holds."""

    @property
    def name(self) -> str:
        """What it is found by."""
        ...


Kind = TypeVar("Kind", bound=Named)


class Registry(Mapping[str, Kind], Generic[Kind]):
    """Things of one kind by their names, found when they are first asked for.

    Those of our own folder come first, in ``order``, then those of other packages, by name.
    Whatever cannot be imported is left out until somebody names it.

    Args:
        what: people call one of them.
        kind: their class.
        package: whose files are searched.
        attribute: by which a file presents one.
        group: of the entry points by which other packages bring them: a name to an object.
        order: sorts those of our own folder.
    """

    def __init__(
        self,
        what: str,
        kind: type[Kind],
        package: str,
        attribute: str,
        group: str,
        order: Callable[[Kind], Any] = lambda kind: kind.name,
    ) -> None:
        self.what = what
        self._kind = kind
        self._package = package
        self._attribute = attribute
        self._group = group
        self._order = order
        self._lock = threading.RLock()
        self._found: dict[str, Kind] | None = None
        self._broken: dict[str, str] = {}

    def __getitem__(self, name: str) -> Kind:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._all()))

    def __len__(self) -> int:
        return len(self._all())

    @property
    def broken(self) -> Mapping[str, str]:
        """What could not be loaded: the name of its entry point or file, and why."""
        self._all()
        return dict(self._broken)

    def add(self, kind: Kind) -> None:
        """Make one known for as long as the process lasts.

        Raises:
            FleetnetError: there is one of this name.
        """
        with self._lock:
            if kind.name in self._all():
                article = "an" if self.what[0] in "aeiou" else "a"
                raise FleetnetError(f"there is {article} {self.what} '{kind.name}' already")
            self._all()[kind.name] = kind

    def find(self, name: str) -> Kind:
        """Return the one of this name.

        Raises:
            FleetnetError: there is none, or it could not be loaded.
        """
        found = self._all().get(name)
        if found is not None:
            return found
        if name in self._broken:
            raise FleetnetError(f"the {self.what} '{name}' cannot be loaded: {self._broken[name]}")
        raise unknown(self.what, name, self)

    def _all(self) -> dict[str, Kind]:
        with self._lock:
            if self._found is None:
                own = sorted(self._in_the_folder(), key=self._order)
                self._found = {kind.name: kind for kind in own}
                self._found |= self._of_other_packages(self._found)
            return self._found

    def _in_the_folder(self) -> Iterator[Kind]:
        package = importlib.import_module(self._package)
        for file in pkgutil.iter_modules(package.__path__):
            try:
                module = importlib.import_module(f"{self._package}.{file.name}")
            except Exception as error:
                # Somebody's file: whatever is wrong with it, the others are not the worse.
                self._broken[file.name] = reason_of(error)
                continue
            kind = getattr(module, self._attribute, None)
            if isinstance(kind, self._kind):
                yield kind

    def _of_other_packages(self, known: Mapping[str, Kind]) -> dict[str, Kind]:
        found: dict[str, Kind] = {}
        points = importlib.metadata.entry_points(group=self._group)
        for point in sorted(points, key=lambda point: point.name):
            if point.name in known:
                continue
            try:
                kind = point.load()
            except Exception as error:
                # Anybody's code, as above.
                self._broken[point.name] = reason_of(error)
                continue
            if isinstance(kind, self._kind) and kind.name == point.name:
                found[point.name] = kind
            else:
                what = f"is no {self._kind.__name__} of this name"
                self._broken[point.name] = f"{point.value} {what}"
        return found
