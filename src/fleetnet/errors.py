"""Errors that the user can fix: one clear line each, never a traceback."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar


class FleetnetError(Exception):
    """Something from outside is wrong; the message says what, where, and what to do.

    A message names arguments as Python does, ``images=``, and settings of a recipe as ``set
    epochs=3``. It lists them in its fields ``arguments`` and ``settings``, by which the command
    line shows its flags in their place. It prints the message on one line and exits with code 2.

    Attributes:
        code: what is wrong, as a word for programs; it stays the same when the message changes.
        fields: the facts of the message by name, as JSON values. docs/errors.md lists them.
    """

    code = "invalid"

    def __init__(self, message: str = "", *, code: str | None = None, **fields: Any) -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.fields = fields

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep code and fields when the error is sent from one process to another."""
        return _restored, (type(self), self.args, self.__dict__)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arguments that the message names."""
        return tuple(self.fields.get("arguments", ()))

    @property
    def settings(self) -> tuple[str, ...]:
        """Keys of a recipe that the message says to set."""
        return tuple(self.fields.get("settings", ()))

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
    """An image cannot be read: not an image, damaged, or beyond the limits.

    The code says which, in the words that all hosts share (docs/conformance.md): ``empty``,
    ``not-an-image``, ``too-long``, ``too-large``, ``unsupported``, ``truncated`` or ``damaged``;
    ``image`` for whatever is wrong with how it was given.
    """

    code = "image"


class ModelError(FleetnetError):
    """No such network, or its arguments do not make one."""

    code = "model"


class RecipeError(FleetnetError):
    """A training recipe has a wrong key or value."""

    code = "recipe"


class OvertakenError(FleetnetError):
    """Another process made or is making the same thing, and its result is kept."""

    code = "overtaken"


class Interrupted(FleetnetError):  # noqa: N818 - nothing is wrong
    """A run was asked to end and has saved itself; ``exit_code`` is the shell's for that signal."""

    code = "interrupted"

    def __init__(self, message: str, exit_code: int, **fields: Any) -> None:
        super().__init__(message, **fields)
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
    **fields: Any,
) -> FleetnetError:
    """Return the error for an unknown word, with the nearest known word and a list of all.

    Args:
        what: what the word should name, such as ``engine``.
        word: the word that was given.
        known: the words that are known.
        kind: class of the error.
        shown: the known words as the message lists them; None for all, with commas.
        fields: more facts of the message.
    """
    known = list(known)
    listed = ", ".join(known) if shown is None else shown
    return kind(
        f"unknown {what} '{word}'{nearest(word, known)} (known: {listed})",
        code=f"unknown-{what.replace(' ', '-').rstrip('=')}",
        given=word,
        known=known,
        **fields,
    )


Raised = TypeVar("Raised", bound=FleetnetError)


def at(place: str, error: Exception, kind: type[Raised], **fields: Any) -> Raised:
    """Return an error that says where another one occurred; it keeps that one's code and fields.

    Args:
        place: such as ``list.txt, line 3``.
        error: what is wrong there.
        kind: class of the error to return.
        fields: facts of the place.
    """
    return following(error, f"{place}: {error}", kind, **fields)


def following(error: Exception, message: str, kind: type[Raised], **fields: Any) -> Raised:
    """Return an error that says more than another one; it keeps that one's code and fields."""
    if not isinstance(error, FleetnetError):
        return kind(message, **fields)
    code = error.code if error.code != type(error).code else None
    return kind(message, code=code, **(error.fields | fields))


def one_line(error: object) -> str:
    """Return the text of another library's error on one line; empty if it has none."""
    return " ".join(str(error).split())


def reason_of(error: BaseException) -> str:
    """Return the text of another library's error on one line, or its kind if it has none."""
    return one_line(error) or type(error).__name__


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

    If nothing can be read, all files often have the same problem, and ``x`` names it.
    """
    return next((f"; {introduction}: {text}" for text in unreadable), "")


TITLES = {
    "jinja2": "Jinja",
    "nncf": "NNCF",
    "onnxruntime": "ONNX Runtime",
    "torch": "PyTorch",
}
"""What people call modules that have another name than their project."""
PYTORCH = dict.fromkeys(("torch", "safetensors", "yaml", "requests", "filelock"), "PyTorch")
"""What the extra ``train`` brings for networks in PyTorch, to what people look for."""
GRAPHS = ("torch", "onnx", "onnxscript")
"""What making an ONNX graph of a network takes, all of it in the extra ``export``."""
INSTALL = "pip install"
"""A part of every message about a package that is not installed."""


def require(module: str, extra: str, purpose: str) -> FleetnetError:
    """Return the error that says which extra to install for an absent optional ``module``."""
    return FleetnetError(
        f"{purpose} needs {module}, which is not installed: {INSTALL} 'fleetnet[{extra}]'",
        code="not-installed",
        package=module,
        extra=extra,
    )


@contextlib.contextmanager
def needing(
    modules: Collection[str] | Mapping[str, str], extra: str, purpose: str
) -> Iterator[None]:
    """Say which extra to install where an import in the block fails for want of a package.

    Args:
        modules: that the extra brings; a mapping says what people look for instead of each.
        extra: that brings them.
        purpose: what needs them.

    Raises:
        FleetnetError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name not in modules:
            raise
        looked_for = modules if isinstance(modules, Mapping) else TITLES
        raise require(looked_for.get(error.name, error.name), extra, purpose) from None


def require_all(modules: Iterable[str], extra: str, purpose: str) -> None:
    """Refuse at once what would fail later because a package is missing; nothing is imported.

    Args:
        modules: the modules needed.
        extra: the extra that installs them.
        purpose: what needs them.

    Raises:
        FleetnetError: the message names the first missing one and the extra.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise require(TITLES.get(module, module), extra, purpose)
