"""Errors that are the user's to mend: one clear line each, never a traceback."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Collection, Iterable, Mapping
from typing import Any


class FleetnetError(Exception):
    """Something from outside is wrong; the message says what, where, and what to do.

    A message names arguments as Python does, ``images=``: the command line shows its flags in
    their place, prints the message on one line and exits with code 2.

    Attributes:
        code: what is wrong, a word that stays the same whatever the message says: a server answers
            with it, a program decides by it.
        fields: the facts in the message, by name; JSON values.
    """

    code = "invalid"

    def __init__(self, message: str = "", *, code: str | None = None, **fields: Any) -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.fields = fields

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep code and fields on the way from one process to another."""
        return _restored, (type(self), self.args, self.__dict__)

    def to_json(self) -> dict[str, Any]:
        """Return code, message and fields as JSON values."""
        return {"code": self.code, "message": str(self), "fields": self.fields}


def _restored(
    kind: type[FleetnetError], arguments: tuple[Any, ...], state: dict[str, Any]
) -> FleetnetError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    return error


class BundleError(FleetnetError):
    """A bundle is missing, damaged, or asks for something this host cannot do."""

    code = "bundle"


class CheckpointError(FleetnetError):
    """A checkpoint cannot be read, or is not one of ours."""

    code = "checkpoint"


class DataError(FleetnetError):
    """A folder or list of labelled images cannot be used as it is."""

    code = "data"


class ImageError(FleetnetError):
    """An image cannot be read: not an image, damaged, or beyond the limits."""

    code = "image"


class ModelError(FleetnetError):
    """No such network, or its arguments do not make one."""

    code = "model"


class RecipeError(FleetnetError):
    """A training recipe has a wrong key or value."""

    code = "recipe"


class OvertakenError(FleetnetError):
    """Another process made or is making the same thing; it keeps what is its own."""

    code = "overtaken"


class Interrupted(FleetnetError):  # noqa: N818 - nothing is wrong
    """A run was asked to end and has saved itself; ``exit_code`` is the shell's for that signal."""

    code = "interrupted"

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class VerificationError(FleetnetError):
    """An exported artifact does not answer as the trained network does."""

    code = "verification"


def unknown(
    what: str,
    word: str,
    known: Iterable[str],
    kind: type[FleetnetError] = FleetnetError,
    *,
    shown: str | None = None,
) -> FleetnetError:
    """Return the error that a word names nothing, with the nearest that does and all there are.

    Args:
        what: the word should name, such as ``engine``.
        word: that was given.
        known: words that name one.
        kind: class of the error.
        shown: the known words as the message lists them; None for all, with commas.
    """
    known = list(known)
    listed = ", ".join(known) if shown is None else shown
    return kind(
        f"unknown {what} '{word}'{nearest(word, known)} (known: {listed})",
        code=f"unknown-{what.replace(' ', '-')}",
        given=word,
        known=known,
    )


def one_line(error: object) -> str:
    """Return the text of an error of somebody else's on one line, empty where it has none."""
    return " ".join(str(error).split())


_TELLING = 3
"""Letters from which on the beginning of a name says which is meant."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` for the known word closest to ``word``, else ``""``."""
    by_folded = {name.casefold(): name for name in known}
    folded = word.casefold()
    # Of a name that is cut off the shortest that goes on like it: of networks the plain, small one.
    goes_on = [name for name in by_folded if len(folded) >= _TELLING and name.startswith(folded)]
    close = sorted(goes_on, key=len) or difflib.get_close_matches(
        folded, by_folded, n=1, cutoff=0.5
    )
    return f", did you mean '{by_folded[close[0]]}'?" if close else ""


def check_known(what: str, word: str, known: Collection[str]) -> None:
    """Refuse a word that is none of those known.

    Raises:
        FleetnetError: names the nearest and all of them.
    """
    if word not in known:
        raise unknown(what, word, known)


def the_first(unreadable: Iterable[str], introduction: str = "the first") -> str:
    """Return ``"; the first: x"`` for the first of what cannot be read, ``""`` if there is none.

    Where nothing can be read, all of it often lacks one and the same thing, which ``x`` then names.
    """
    return next((f"; {introduction}: {text}" for text in unreadable), "")


INSTALL = "pip install"
"""What is in every message that something is not installed."""


def require(module: str, extra: str, purpose: str) -> FleetnetError:
    """Return the error that says which extra to install for an absent optional ``module``."""
    return FleetnetError(
        f"{purpose} needs {module}, which is not installed: {INSTALL} 'fleetnet[{extra}]'",
        code="not-installed",
        package=module,
        extra=extra,
    )


def require_all(modules: Mapping[str, str], extra: str, purpose: str) -> None:
    """Refuse at once what would fail later for want of a package; nothing is imported.

    Args:
        modules: that are needed, to what people call them.
        extra: that brings them.
        purpose: what needs them.

    Raises:
        FleetnetError: names the first that is absent, and the extra.
    """
    for module, title in modules.items():
        if importlib.util.find_spec(module) is None:
            raise require(title, extra, purpose)
