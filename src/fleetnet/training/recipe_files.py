"""A recipe's values before the check: from a file, for a network, and overridden."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from fleetnet.errors import ModelError, RecipeError, at, nearest
from fleetnet.models.registry import find_name
from fleetnet.yaml_text import NotYamlError, from_yaml


def names() -> list[str]:
    """Return the names of the recipes in this package."""
    folder = resources.files("fleetnet.training.recipes")
    return sorted(
        file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")
    )


def read_values(name_or_path: str) -> tuple[dict[str, Any], str]:
    """Return the values and the name of a recipe of this package, or of a YAML file.

    Raises:
        RecipeError: no such recipe, or not YAML.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        try:
            text = Path(name_or_path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise RecipeError(
                f"cannot read recipe {name_or_path}: {reason}",
                code="unreadable",
                recipe=name_or_path,
            ) from None
    elif name_or_path in names():
        folder = resources.files("fleetnet.training.recipes")
        text = folder.joinpath(f"{name_or_path}.yaml").read_text("utf-8")
    else:
        raise RecipeError(
            f"unknown recipe '{name_or_path}'{nearest(name_or_path, names())} (known: "
            f"{', '.join(names())}, or the path of a .yaml file)",
            code="unknown-recipe",
            given=name_or_path,
            known=names(),
        )
    try:
        values = from_yaml(text)
    except NotYamlError as error:
        raise RecipeError(
            f"recipe {name_or_path} {error}", recipe=name_or_path, line=error.line
        ) from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise RecipeError(
            f"recipe {name_or_path} must be a mapping of keys to values", recipe=name_or_path
        )
    return values, name_or_path


def with_model(values: dict[str, Any], model: str | None, where: str) -> dict[str, Any]:
    """Return a recipe's values, with those for ``model`` from its ``models`` section applied.

    Raises:
        ModelError: there is no such network.
        RecipeError: the section has another form, or names an unknown network.
    """
    values = dict(values)
    variants = values.pop("models", {})
    if not isinstance(variants, dict) or not all(isinstance(v, dict) for v in variants.values()):
        raise RecipeError(
            f"recipe {where}: models must map names of networks to settings",
            recipe=where,
            key="models",
        )
    wanted = None if model is None else find_name(model).name
    chosen: dict[str, Any] = {}
    for name, changes in variants.items():
        try:
            variant = find_name(str(name)).name
        except ModelError as error:
            raise at(f"recipe {where}: models", error, RecipeError, recipe=where) from None
        if variant == wanted:
            chosen = changes
    return _merged(values, chosen)


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, change in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(change, dict):
            change = _merged(old, change)
        merged[key] = change
    return merged


def set_value(values: dict[str, Any], override: str) -> None:
    """Apply ``section.key=value``, the value being YAML.

    Raises:
        RecipeError: the override has another form, or the section is a value.
    """
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(
            f"a setting is key=value, such as optimizer.lr=0.05, not '{override}'", given=override
        )
    try:
        value = from_yaml(text)
    except NotYamlError:
        raise RecipeError(
            f"setting {key}: '{text}' is not a YAML value", key=key, value=text
        ) from None
    # In YAML 1.1, 4e-5 is text, because it has no decimal point.
    if isinstance(value, str):
        value = _number(value)
    *sections, last = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"setting {key}: '{section}' is a value and has no keys", key=key)
        values = inner
    values[last] = value


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
