"""Reading a pickle without running anything that it holds.

A pickle is a program: it can name any function and call it. Python's unpickler, even a restricted
one, calls what the pickle names. So this is a separate interpreter of pickle instructions that
builds only plain values. For names on a short list, our own functions make arrays and tensors; they
treat their arguments as data and check them. Every other name is replaced by a stand-in, which
records what the object would have been made from, and which nothing calls.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_INSTRUCTIONS = 1_000_000
"""Limit of instructions; a state dict of a network here takes some thirty thousand."""
_SHOWN = 80


class PickleDamaged(Exception):  # noqa: N818 - never leaves this room
    """The pickle cannot be read; the message is the rest of 'FILE …'."""


class Unfit(Exception):  # noqa: N818 - never leaves this room
    """An array or a tensor cannot be used; the message says why."""


@dataclass(frozen=True)
class Unusable:
    """Replaces an array or a tensor that cannot be used, and says why: 'is sparse'."""

    reason: str


@dataclass(eq=False)
class Standin:
    """Stands for an object of a class that is not known here; it only records.

    Attributes:
        name: of the class or function.
        arguments: those that it would have been called with.
        state: the state that it would have been given, usually its ``__dict__``.
        entries: of a kind of dict.
        elements: of a kind of list.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    entries: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)


class Buildable:
    """An object of ours that takes its content after it was made."""

    def build(self, state: Any) -> None:
        """Take the content that the pickle gives it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Name:
    """A name that a pickle mentions, such as ``argparse.Namespace``."""

    text: str


Makers = Mapping[str, Callable[..., Any]]
"""Our functions, by the names in the pickle that they replace."""


@dataclass
class Pickled:
    """What a pickle holds.

    Attributes:
        value: plain values, arrays, tensors, and stand-ins for the rest.
        names: those that were replaced by stand-ins, in order of appearance.
    """

    value: Any
    names: tuple[str, ...]


def load_pickle(
    stream: io.BytesIO,
    makers: Makers,
    values: Mapping[str, Any] | None = None,
    persistent: Callable[[Any], Any] | None = None,
) -> Pickled:
    """Read one pickle from ``stream``, up to the end of the pickle.

    Args:
        stream: the pickle, and perhaps more.
        makers: our functions by the names in the pickle; they may raise :class:`Unfit`.
        values: plain values by the names in the pickle.
        persistent: returns the object for a reference to something outside of the pickle.

    Raises:
        PickleDamaged: it is cut off, nonsense, too long, or uses instructions that weights do not
            need.
    """
    machine = _Machine(makers, values or {}, persistent)
    try:
        value = machine.run(stream)
    except PickleDamaged:
        raise
    except Exception:
        # Hostile instructions may cause nearly any error: IndexError, KeyError, UnicodeError, …
        raise PickleDamaged("is damaged: its pickle does not read") from None
    return Pickled(value, tuple(machine.names))


class _Machine:
    """Carries out the instructions of one pickle."""

    def __init__(
        self,
        makers: Makers,
        values: Mapping[str, Any],
        persistent: Callable[[Any], Any] | None,
    ) -> None:
        self.names: dict[str, None] = {}
        self._makers, self._values, self._persistent = makers, values, persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._allowance = 0

    def run(self, stream: io.BytesIO) -> Any:
        # Makers may copy what comes from the file, but only once.
        self._allowance = 4 * stream.getbuffer().nbytes + 1_000_000
        argument: Any
        for count, (operation, argument, _) in enumerate(pickletools.genops(stream), start=1):
            if count > MAX_INSTRUCTIONS:
                raise PickleDamaged(f"has over {MAX_INSTRUCTIONS:,} pickle instructions: refused")
            name = operation.name
            if name in _PUSHES:
                self._stack.append(argument)
            elif name in _MEMO_PUTS:
                if argument > count:
                    raise PickleDamaged("is damaged: its pickle numbers entries wildly")
                self._memo[argument] = self._stack[-1]
            elif name in _MEMO_GETS:
                self._stack.append(self._memo[argument])
            elif name == "STOP":
                return self._stack.pop()
            elif name in _INSTRUCTIONS:
                _INSTRUCTIONS[name](self, argument)
            elif name not in ("PROTO", "FRAME"):
                raise PickleDamaged(f"uses the pickle instruction {name}: refused")
        raise PickleDamaged("is damaged: its pickle does not end")

    # Instructions: each takes the machine and the instruction's argument.

    def _mark(self, _: object) -> None:
        self._marks.append(len(self._stack))

    def _pop(self, _: object) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def _pop_mark(self, _: object) -> None:
        self._since_mark()

    def _dup(self, _: object) -> None:
        self._stack.append(self._stack[-1])

    def _memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _constant(self, value: Any) -> None:
        self._stack.append(value)

    def _list(self, _: object) -> None:
        self._stack.append(self._since_mark())

    def _tuple(self, _: object) -> None:
        self._stack.append(tuple(self._since_mark()))

    def _last(self, count: int) -> None:
        items = self._stack[-count:]
        if len(items) < count:
            raise IndexError
        self._stack[-count:] = [tuple(items)]

    def _dict(self, _: object) -> None:
        items = self._since_mark()
        target: dict[Any, Any] = {}
        _set_items(target, items)
        self._stack.append(target)

    def _append(self, _: object) -> None:
        item = self._stack.pop()
        _extend(self._stack[-1], [item])

    def _appends(self, _: object) -> None:
        items = self._since_mark()
        _extend(self._stack[-1], items)

    def _set_item(self, _: object) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        _set_items(self._stack[-1], [key, value])

    def _set_items(self, _: object) -> None:
        items = self._since_mark()
        _set_items(self._stack[-1], items)

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(self._named(module, name))

    def _stack_global(self, _: object) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise TypeError
        self._stack.append(self._named(module, name))

    def _reduce(self, _: object) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._stack.append(self._make(function, arguments))

    def _reduce_with_names(self, _: object) -> None:
        by_name, arguments, kind = self._stack.pop(), self._stack.pop(), self._stack.pop()
        self._stack.append(self._make(kind, (*arguments, by_name) if by_name else arguments))

    def _inst(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(self._make(self._named(module, name), tuple(self._since_mark())))

    def _obj(self, _: object) -> None:
        kind, *arguments = self._since_mark()
        self._stack.append(self._make(kind, tuple(arguments)))

    def _build(self, _: object) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if isinstance(target, Standin):
            target.state = state
        elif isinstance(target, Buildable):
            target.build(state)

    def _reference(self, argument: str | None) -> None:
        key = self._stack.pop() if argument is None else argument
        if self._persistent is None:
            raise PickleDamaged("refers to something outside of its pickle: refused")
        self._stack.append(self._persistent(key))

    def _since_mark(self) -> list[Any]:
        place = self._marks.pop()
        items = self._stack[place:]
        del self._stack[place:]
        return items

    def _named(self, module: str, name: str) -> Any:
        text = f"{module}.{name}"
        if text in self._values:
            return self._values[text]
        if text not in self._makers:
            self.names.setdefault(shown(text))
        return Name(text)

    def _make(self, function: Any, arguments: Any) -> Any:
        if not isinstance(arguments, tuple):
            raise TypeError
        if not isinstance(function, Name):
            return Standin("something unnamed", arguments)
        if function.text in _RECONSTRUCTORS and arguments and isinstance(arguments[0], Name):
            return Standin(shown(arguments[0].text), arguments[1:])
        maker = self._makers.get(function.text)
        if maker is None:
            return Standin(shown(function.text), arguments)
        self._allowance -= sum(len(item) for item in arguments if isinstance(item, _SIZED))
        if self._allowance < 0:
            raise PickleDamaged("would unpack to far more than it is: refused")
        try:
            return maker(*arguments)
        except Unfit as error:
            return Unusable(str(error))
        except Exception:
            # The maker got unexpected arguments; only it knows which are right.
            return Unusable("is damaged")


_SIZED = (str, bytes, bytearray, list, tuple, dict)
_RECONSTRUCTORS = frozenset(("copyreg._reconstructor", "copy_reg._reconstructor"))
"""Functions with which old protocols make an object of a class, their first argument."""
_PUSHES = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
_MEMO_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_MEMO_GETS = frozenset(("GET", "BINGET", "LONG_BINGET"))
_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "NONE": lambda machine, _: machine._constant(None),
    "NEWTRUE": lambda machine, _: machine._constant(True),
    "NEWFALSE": lambda machine, _: machine._constant(False),
    "MARK": _Machine._mark,
    "POP": _Machine._pop,
    "POP_MARK": _Machine._pop_mark,
    "DUP": _Machine._dup,
    "MEMOIZE": _Machine._memoize,
    "EMPTY_LIST": lambda machine, _: machine._constant([]),
    "EMPTY_TUPLE": lambda machine, _: machine._constant(()),
    "EMPTY_DICT": lambda machine, _: machine._constant({}),
    # Sets are lists here: their members could not all be hashed.
    "EMPTY_SET": lambda machine, _: machine._constant([]),
    "LIST": _Machine._list,
    "FROZENSET": _Machine._list,
    "TUPLE": _Machine._tuple,
    "TUPLE1": lambda machine, _: machine._last(1),
    "TUPLE2": lambda machine, _: machine._last(2),
    "TUPLE3": lambda machine, _: machine._last(3),
    "DICT": _Machine._dict,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "ADDITEMS": _Machine._appends,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._reduce,
    "NEWOBJ": _Machine._reduce,
    "NEWOBJ_EX": _Machine._reduce_with_names,
    "INST": _Machine._inst,
    "OBJ": _Machine._obj,
    "BUILD": _Machine._build,
    "PERSID": _Machine._reference,
    "BINPERSID": _Machine._reference,
}


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, Standin):
        target.elements.extend(items)
    elif isinstance(target, list):
        target.extend(items)
    else:
        raise TypeError


def _set_items(target: Any, items: list[Any]) -> None:
    entries = target.entries if isinstance(target, Standin) else target
    if not isinstance(entries, dict):
        raise TypeError
    for key, value in zip(items[::2], items[1::2], strict=True):
        entries[key_of(key)] = value


def key_of(value: Any) -> Any:
    """Return ``value`` as a key of a dict: only text or a number, which are hashed quickly."""
    plain = isinstance(value, str | bytes) or (isinstance(value, int) and abs(value) < 2**60)
    return value if plain or value is None else Standin("a key", (value,))


def shown(name: str) -> str:
    """Return a name from a file as printable text: one line, and not too long."""
    text = "".join(letter if letter.isprintable() else "?" for letter in name[: _SHOWN + 1])
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
