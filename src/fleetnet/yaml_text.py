"""YAML from outside: nothing in it runs, and whatever is wrong with it is one error."""

from __future__ import annotations

from typing import Any

import yaml


class NotYamlError(ValueError):
    """A text is not YAML; as a text it says so, for a message that begins with where it is from.

    Attributes:
        line: on which, from 1; None where that is not known.
    """

    def __init__(self, line: int | None) -> None:
        super().__init__("is not valid YAML" + (f" at line {line}" if line else ""))
        self.line = line


def from_yaml(text: str) -> Any:
    """Return the value of a text.

    Raises:
        NotYamlError: it is not YAML, is nested without end, or has a date or number that is none.
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        raise NotYamlError(mark.line + 1 if mark else None) from None
