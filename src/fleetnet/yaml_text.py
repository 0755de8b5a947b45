"""YAML from outside: nothing in it runs, and whatever is wrong with it is one error."""

from __future__ import annotations

from typing import Any

import yaml


class NotYamlError(ValueError):
    """A text is not YAML; as a text it says so, for a message that begins with where it is from.

    Attributes:
        line: on which, from 1; None where that is not known.
    """

    def __init__(self, line: int | None, why: str = "") -> None:
        place = f" at line {line}" if line else ""
        super().__init__("is not valid YAML" + place + (f": {why}" if why else ""))
        self.line = line


class _Loader(yaml.SafeLoader):
    """Reads plain values only."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return a mapping whose keys differ: of two, YAML's reader would keep the last silently.

        Those that ``<<`` brings come later, and may be replaced.
        """
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise NotYamlError(key.start_mark.line + 1, f"{key.value!r} is there twice")
                seen.add((key.tag, key.value))
        return node


def from_yaml(text: str) -> Any:
    """Return the value of a text.

    Raises:
        NotYamlError: it is not YAML, is nested without end, has a date or number that is none, or
            a key twice.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except NotYamlError:
        raise
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        raise NotYamlError(mark.line + 1 if mark else None) from None
