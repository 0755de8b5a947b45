"""Errors that are the user's to mend: one clear line each, never a traceback."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Collection, Iterable, Mapping


class FleetnetError(Exception):
    """Something from outside is wrong; the message says what, where, and what to do.

    The command line prints the message on one line and exits with code 2.
    """


class BundleError(FleetnetError):
    """A bundle is missing, damaged, or asks for something this host cannot do."""


class CheckpointError(FleetnetError):
    """A checkpoint cannot be read, or is not one of ours."""


class DataError(FleetnetError):
    """A folder or list of labelled images cannot be used as it is."""


class ImageError(FleetnetError):
    """An image cannot be read: not an image, damaged, or beyond the limits."""


class ModelError(FleetnetError):
    """No such network, or its arguments do not make one."""


class RecipeError(FleetnetError):
    """A training recipe has a wrong key or value."""


class OvertakenError(FleetnetError):
    """Another process made or is making the same thing; it keeps what is its own."""


class Interrupted(FleetnetError):  # noqa: N818 - nothing is wrong
    """A run was asked to end and has saved itself; ``exit_code`` is the shell's for that signal."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class VerificationError(FleetnetError):
    """An exported artifact does not answer as the trained network does."""


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
        raise FleetnetError(
            f"unknown {what} '{word}'{nearest(word, known)} (known: {', '.join(known)})"
        )


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
        f"{purpose} needs {module}, which is not installed: {INSTALL} 'fleetnet[{extra}]'"
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
