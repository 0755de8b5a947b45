"""What somebody, or a disk, may do to a JSON file."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, entry in inner:
        found.append((*path, key))
        if isinstance(entry, dict | list):
            found += _places(entry, (*path, key))
    return found


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None) | st.sampled_from("\n\r\x1b\0"), max_size=8)
    | st.sampled_from(["softmax", "onnx", "model.onnx", "2.9", 1e308, -1, 10**30, "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def edits(values: Any) -> Any:
    """Draw some edits of JSON values."""
    places, kinds = st.sampled_from(_places(values)), st.sampled_from(["put", "remove", "add"])
    return st.lists(st.tuples(places, kinds, JUNK), min_size=1, max_size=4)


def after(values: Any, edits: Any) -> Any:
    """Return JSON values after edits."""
    values = copy.deepcopy(values)
    for (*path, last), kind, junk in edits:
        inside: Any = values
        try:
            for key in path:
                inside = inside[key]
            if kind == "remove":
                del inside[last]
            elif kind == "put":
                inside[last] = junk
            elif isinstance(inside, list):
                inside.append(junk)
            else:
                inside[str(junk)] = junk
        except (KeyError, IndexError, TypeError):
            continue  # an edit before has changed this place
    return values
