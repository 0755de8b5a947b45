"""Finding a network among the tensors in a file, and what is left out then."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from torch import Tensor

from fleetnet.errors import CheckpointError
from fleetnet.models.registry import ModelEntry
from fleetnet.weights.adapter import COUNTER
from fleetnet.weights.identify import Identity, Layout, last_word, layouts, match, nearest, unfit
from fleetnet.weights.pickles import Unusable, shown
from fleetnet.weights.state import some
from fleetnet.weights.tables import Table, grouped

COUNTERS = (COUNTER, "total_ops", "total_params")
"""Entries beside a layer's weights that are counters: of batch norm and of thop's profiler."""
AVERAGED = frozenset(("ema", "swa", "average", "averaged", "avg"))
"""Words in the names that scripts give to a moving average of the weights."""
OTHERS = frozenset(("teacher", "momentum"))
"""Words in their names of a network that they do not train."""
BESIDE = AVERAGED | OTHERS | {"criterion", "criteria", "loss", "metric", "metrics", "optimizer"}
"""Words in their names of entries that are not layers, in the dict of a network."""
_MOST_PLACES = 256


@dataclass(frozen=True)
class Found:
    """A network in a file.

    Attributes:
        state: its tensors by name, batch norm's counters among them.
        identity: which network it is.
        steps: the keys under which it was, and the prefix of its names.
        left_out: what else there was, in a few words each.
    """

    state: dict[str, Tensor]
    identity: Identity
    steps: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    """A part of a table that is a network: the entries whose names begin with ``prefix``."""

    table: Table
    prefix: str
    identity: Identity
    rank: tuple[bool, bool, int]

    @cached_property
    def own(self) -> frozenset[str]:
        """The names in the table that are the network's, batch norm's counters among them."""
        theirs = {key for key, _ in Layout.of(self.identity).keys().values()}
        counters = {f"{key.rpartition('.')[0]}.{COUNTER}" for key in theirs}
        names = {f"{self.prefix}{key}" for key in theirs | counters}
        return frozenset(names & self.table.entries.keys())


def find_network(tables: list[Table], where: str, first: Sequence[ModelEntry] = ()) -> Found:
    """Return the network that is in ``tables``.

    It is a sub-tree of one table's names that is exactly one whole network, except for counters.
    Everything beside the sub-tree is left out and reported. If there are several, averaged weights
    are preferred, then the least nested, then the first.

    Args:
        tables: of the file.
        where: the file, for errors.
        first: networks that are tried before others of the same names and shapes, in this order.

    Raises:
        CheckpointError: there is none, or two different ones of equal preference.
    """
    places = _places(tables, first)
    if not places:
        raise CheckpointError(_none(tables, where))
    whole = [place for place in places if not _goes_on(place, places)]
    if not whole:
        after = _goes_on(places[0], places)
        raise CheckpointError(
            f"{where} holds {places[0].identity.entry.name} as a part of another network, which "
            f"goes on after it with {some(after)}"
        )
    whole.sort(key=lambda place: place.rank)
    best = whole[0]
    for other in whole[1:]:
        if other.rank[:2] == best.rank[:2] and _differs(best.identity, other.identity):
            raise CheckpointError(
                f"{where} holds two different networks, {_title(best)} and {_title(other)}: save "
                "the one that you mean to a separate file"
            )
    state = {
        name.removeprefix(best.prefix): entry
        for name, entry in best.table.entries.items()
        if name in best.own and isinstance(entry, Tensor)
    }
    steps = tuple(filter(None, (*best.table.path, best.prefix)))
    return Found(state, best.identity, tuple(map(shown, steps)), tuple(_left_out(tables, best)))


def _places(tables: list[Table], first: Sequence[ModelEntry]) -> list[_Place]:
    places: list[_Place] = []
    for table in tables:
        for prefix in _prefixes(table):
            state = _under(table, prefix)
            identity = match(state, _is_stray, first)
            if identity is not None:
                words = _words(".".join((*table.path, prefix)))
                rank = (not words & AVERAGED, bool(words & OTHERS), len(table.path))
                places.append(_Place(table, prefix, identity, rank))
    return places


def _prefixes(table: Table) -> list[str]:
    """Return the possible prefixes of a network's names in ``table``: where a first layer is."""
    inputs = {layout.input_key for layout in layouts()}
    prefixes: dict[str, None] = {}
    for name in table.entries:
        for first in inputs:
            if name == first or name.endswith(f".{first}"):
                prefixes[name.removesuffix(first)] = None
        if len(prefixes) >= _MOST_PLACES:
            break
    return list(prefixes)


def _under(table: Table, prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with ``prefix``, without it and without counters."""
    return {
        name.removeprefix(prefix): entry
        for name, entry in table.entries.items()
        if name.startswith(prefix) and isinstance(entry, Tensor) and not _is_counter(name, entry)
    }


def _is_counter(name: str, entry: Tensor) -> bool:
    return name.rpartition(".")[2] in COUNTERS and entry.numel() <= 1


def _is_stray(key: str, layout: Layout) -> bool:
    """Tell whether an entry is no layer of a network, such as ``criterion.weight``."""
    first = key.partition(".")[0]
    own = {layer.partition(".")[0] for layer in layout.theirs}
    return first not in own and bool(_words(first) & BESIDE)


def _goes_on(place: _Place, places: list[_Place]) -> list[str]:
    """Return entries that use a network's answers further: then it is not the whole network.

    These are a matrix as wide as there are classes, and what follows in a sequence of layers.
    """
    parent, dot, number = place.prefix.removesuffix(".").rpartition(".")
    others = {name for other in places if other.table is place.table for name in other.own}
    found: list[str] = []
    for name, entry in place.table.entries.items():
        if name in others or not isinstance(entry, Tensor) or entry.ndim < 2:
            continue
        if _words(name) & BESIDE:
            continue
        takes_answers = entry.ndim == 2 and entry.shape[1] == place.identity.num_classes
        step = name.removeprefix(parent + dot).partition(".")[0]
        follows = number.isdecimal() and step.isdecimal() and int(step) > int(number)
        if takes_answers or (follows and name.startswith(parent + dot)):
            found.append(shown(name))
    return found


def _left_out(tables: list[Table], place: _Place) -> Iterator[str]:
    names: list[str] = []
    groups: dict[str, str] = {}
    counters: dict[str, int] = {}
    for table in tables:
        for name, entry in table.entries.items():
            if table is place.table and name in place.own:
                continue
            if isinstance(entry, Tensor) and _is_counter(name, entry) and table is place.table:
                leaf = name.rpartition(".")[2]
                counters[leaf] = counters.get(leaf, 0) + 1
                continue
            full = ".".join((*table.path, name))
            names.append(full)
            groups[full] = _group(table, name, place)
    yield from grouped(names, groups)
    for leaf, count in counters.items():
        if leaf != COUNTER:
            yield f"{leaf} ({count} counters)"


def _group(table: Table, name: str, place: _Place) -> str:
    """Return the group that counts an entry: its first step outside of the network."""
    steps = (*table.path, *name.split("."))
    own = (*place.table.path, *place.prefix.rstrip(".").split("."))
    for depth, step in enumerate(steps[:-1], start=1):
        if depth > len(own) or own[depth - 1] != step:
            return ".".join(steps[:depth])
    return ".".join(steps)


def _none(tables: list[Table], where: str) -> str:
    """Return the message about a file without a network; it says what is in the file."""
    largest = max(tables, key=lambda table: len(table.entries), default=None)
    if largest is None:
        return f"{where} holds no weights"
    for name, entry in largest.entries.items():
        if isinstance(entry, Unusable):
            return f"{where}: '{shown(name)}' {entry.reason}: refused"
    states = (
        _under(table, prefix)
        for table in tables
        for prefix in dict.fromkeys((*_prefixes(table), _common_prefix(table), ""))
    )
    wrongs = [wrong for state in islice(states, _MOST_PLACES) if (wrong := nearest(state))]
    whole = _under(largest, "")
    # Where no name is one of ours, as in a part of a ResNet, similar names have to do.
    words = unfit(whole, min(wrongs, default=None) or nearest(whole, last_word))
    return f"{where} fits no network known here{words}"


def _common_prefix(table: Table) -> str:
    """Return the steps that all names begin with."""
    names = [name.split(".")[:-1] for name in table.entries]
    common = []
    for steps in zip(*names, strict=False):
        if len(set(steps)) > 1:
            break
        common.append(steps[0])
    return "".join(f"{step}." for step in common)


def _differs(one: Identity, other: Identity) -> bool:
    return (one.entry, one.num_classes, one.in_channels) != (
        other.entry,
        other.num_classes,
        other.in_channels,
    )


def _title(place: _Place) -> str:
    where = " ".join(filter(None, (*place.table.path, place.prefix)))
    return f"{place.identity.entry.name} under '{shown(where)}'"


def _words(text: str) -> set[str]:
    """Return the words of a name in lower case: ``ema`` and ``model`` of ``modelEMA``."""
    apart = re.sub("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    return set(re.findall("[a-z]+", apart.lower()))
