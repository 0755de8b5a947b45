"""Finding unknown keys in a recipe, and the keys that were meant."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from fleetnet.errors import RecipeError, nearest


def check_keys(values: dict[str, Any], schema: type[BaseModel], where: str) -> None:
    """Refuse unknown keys, naming the nearest known one anywhere in the schema.

    Raises:
        RecipeError: a key is unknown.
    """
    for key, full in _unknown_keys(values, schema, ""):
        hint = _nearest_key(key, full, schema)
        raise RecipeError(
            f"recipe {where}: unknown key '{full}'{hint}",
            code="unknown-key",
            recipe=where,
            key=full,
            known=_all_keys(schema, ""),
        )


def _unknown_keys(
    values: dict[str, Any], section: type[BaseModel], prefix: str
) -> Iterator[tuple[str, str]]:
    """Yield unknown keys, without and with their sections."""
    for key, value in values.items():
        known = section.model_fields.get(str(key))
        if known is None:
            yield str(key), f"{prefix}{key}"
            continue
        inner = _section_type(known.annotation)
        if inner is not None and isinstance(value, dict):
            yield from _unknown_keys(value, inner, f"{prefix}{key}.")


def _nearest_key(key: str, full: str, schema: type[BaseModel]) -> str:
    keys = _all_keys(schema, "")
    same_end = [known for known in keys if known.rpartition(".")[2] == key]
    return nearest(same_end[0] if same_end else full, keys)


def _all_keys(section: type[BaseModel], prefix: str) -> list[str]:
    keys: list[str] = []
    for name, field in section.model_fields.items():
        inner = _section_type(field.annotation)
        keys += _all_keys(inner, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return keys


def _section_type(annotation: Any) -> type[BaseModel] | None:
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else [annotation]
    for option in options:
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None
