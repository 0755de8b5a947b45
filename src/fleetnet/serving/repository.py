"""Which bundles may be loaded, by name and version: never by a path from outside."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from fleetnet.bundle.artifacts import MANIFEST
from fleetnet.errors import FleetnetError, nearest
from fleetnet.serving.errors import NotFoundError, RequestError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
FIRST = "1"
"""The version of a bundle that has no other."""
_ENDINGS = (".bundle", ".onnx")


def check_name(what: str, name: str) -> str:
    """Return a model's name or version, after checking that it can be no path.

    Raises:
        RequestError: it holds anything but letters, digits, dots, hyphens and underscores.
    """
    if not _is_name(name):
        raise RequestError(
            f"{name[:100]!r} is no {what}: give up to 100 letters, digits, dots, hyphens or "
            "underscores, the first a letter or a digit"
        )
    return name


def name_of(path: Path) -> str:
    """Return the name under which a bundle is served that was given none: its folder's or file's.

    Raises:
        FleetnetError: that can be no name.
    """
    found = path.resolve()
    name = found.parent.name if found.name == MANIFEST else found.name
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    name = re.sub("[^A-Za-z0-9._-]+", "-", name).strip("-._")
    if not _is_name(name):
        raise FleetnetError(f"{path} gives no name for a model: give one, as in NAME={path}")
    return name


def by_age(version: str) -> tuple[tuple[int, int | str], ...]:
    """Return what sorts versions, older ones first: the numbers in them as numbers."""
    parts = re.findall(r"\d+|\D+", version)
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts)


class Repository:
    """Bundles that were given, and those in a folder.

    In the folder, ``NAME/VERSION/`` is a bundle, and so are ``NAME/``, ``NAME.bundle/`` and
    ``NAME.onnx``, whose version is ``1``. It is read again whenever something is looked for.

    Args:
        given: paths of bundles by name and version, which come before the folder's.
        folder: may be None.

    Raises:
        FleetnetError: the folder is none.
    """

    def __init__(self, given: dict[tuple[str, str], Path], folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise FleetnetError(f"{folder} is no folder of models")
        self._given = dict(given)
        self._folder = folder

    def names(self) -> list[str]:
        """Return the names of all models, sorted."""
        names = {name for name, _ in self._given}
        if self._folder is not None:
            found = {_stem(path) for path in _entries(self._folder)}
            names |= {name for name in found if self._in_folder(name)}
        return sorted(names)

    def passed_over(self) -> list[tuple[Path, str]]:
        """Return what lies in the folder and is no model, each with the reason.

        Hidden files are none of it, nor are files that are no networks, such as a README.
        """
        if self._folder is None:
            return []
        root = self._folder.resolve()
        found: list[tuple[Path, str]] = []
        for path in _visible(self._folder):
            name = _stem(path)
            known = self._in_folder(name) if _is_name(name) else {}
            if path in known.values():
                continue
            alone = not known or not path.is_dir() or _is_bundle(path, root)
            looked_at = [path] if alone else _visible(path)
            found += [
                (each, why)
                for each in looked_at
                if each not in known.values() and (why := _why_not(each, root))
            ]
        return found

    def versions(self, name: str) -> dict[str, Path]:
        """Return the versions of a model with their paths, the oldest first.

        Raises:
            RequestError: the name can be none.
            NotFoundError: there is no such model.
        """
        check_name("name of a model", name)
        found = self._in_folder(name)
        found |= {version: path for (model, version), path in self._given.items() if model == name}
        if not found:
            raise NotFoundError(
                f"there is no model '{name}' to load{nearest(name, self.names())}", model=name
            )
        return dict(sorted(found.items(), key=lambda entry: by_age(entry[0])))

    def path(self, name: str, version: str) -> Path:
        """Return the path of a version.

        Raises:
            RequestError: the name or version can be none.
            NotFoundError: there is no such model or version.
        """
        versions = self.versions(name)
        found = versions.get(check_name("version", version))
        if found is None:
            raise NotFoundError(
                f"there is no version '{version}' of the model '{name}' to load (there are: "
                f"{', '.join(versions)})",
                model=name,
                version=version,
            )
        return found

    def require_place(self, path: Path) -> None:
        """Require that a path that was found is one that may be loaded, still.

        Between the finding and the opening of a bundle it may have been replaced by a link.

        Raises:
            NotFoundError: it leads out of the folder now, or to nothing.
        """
        if path in self._given.values():
            return
        if self._folder is None or not _is_bundle(path, self._folder.resolve()):
            raise NotFoundError(f"{path.name} was taken out of the folder while it was loaded")

    def _in_folder(self, name: str) -> dict[str, Path]:
        """Return a model's versions in the folder; nothing that a link leads out of it to."""
        if self._folder is None:
            return {}
        root = self._folder.resolve()
        inside = self._folder / name
        alone = [inside, *(inside.with_name(name + ending) for ending in _ENDINGS)]
        whole = next((path for path in alone if _is_bundle(path, root)), None)
        found = {} if whole is None else {FIRST: whole}
        if not found and inside.is_dir() and _within(inside, root):
            for path in _entries(inside):
                version = _stem(path)
                if _is_name(version) and _is_bundle(path, root):
                    found[version] = path
        return found


def _stem(path: Path) -> str:
    for ending in _ENDINGS:
        if path.name.endswith(ending):
            return path.name.removesuffix(ending)
    return path.name


def _is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and ".." not in text


def _visible(folder: Path) -> list[Path]:
    try:
        return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    except OSError:
        return []


def _entries(folder: Path) -> Iterable[Path]:
    return [path for path in _visible(folder) if _is_name(path.name)]


def _why_not(path: Path, root: Path) -> str:
    """Return why a file or folder is no model; empty if nobody would take it for one."""
    if not path.is_dir() and not path.name.endswith(".onnx"):
        return ""
    if not _within(path, root):
        return "a link that leads out of the folder"
    if not _is_name(_stem(path)):
        return "a name has letters, digits, dots, hyphens and underscores only"
    if _is_bundle(path, root):
        return "another model has its name"
    return f"there is no {MANIFEST} in it" if path.is_dir() else "it is no file"


def _within(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # links in a circle
        return False


def _is_bundle(path: Path, root: Path) -> bool:
    file = path if path.name.endswith(".onnx") else path / MANIFEST
    return _within(path, root) and _within(file, root) and file.is_file()
