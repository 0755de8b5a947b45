"""Networks by name.

Importing this module does not import PyTorch: names can be listed and checked on a machine that
only runs inference.
"""

from __future__ import annotations

import importlib
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from fleetnet.errors import ModelError, nearest, require

if TYPE_CHECKING:
    from fleetnet.models.network import Network, Structure

CLASS_LIMIT = 1_000_000


@dataclass(frozen=True)
class ModelEntry:
    """A network that can be built: its family's function and the arguments that make it."""

    name: str
    family: str
    arguments: dict[str, Any] = field(default_factory=dict)
    published_as: str = ""
    """Key in ``published.toml``; empty where the documents give no figures."""


def _entries() -> dict[str, ModelEntry]:
    entries: list[ModelEntry] = []
    widths = {"_x0_25": 0.25, "_x0_5": 0.5, "_x0_75": 0.75, "": 1.0, "_x1_5": 1.5, "_x2_0": 2.0}
    for suffix, width in widths.items():
        name = f"MobileNetV2{suffix}"
        entries.append(ModelEntry(name, "mobilenetv2", {"width_mult": width}, name))
    # The same network as MobileNetV2; only its published weights, distilled, are its own.
    entries.append(
        ModelEntry("MobileNetV2_ssld", "mobilenetv2", {"width_mult": 1.0}, "MobileNetV2_ssld")
    )
    for width in (1.0, 1.3, 1.5, 2.0, 3.0):
        name = f"ReXNet_{width:.1f}".replace(".", "_")
        entries.append(ModelEntry(name, "rexnet", {"width_mult": width}, name))
    for percent in (35, 50, 75, 100, 140):
        rounded = {"width_mult": percent / 100, "layout": "rounded"}
        entries.append(ModelEntry(f"mobilenetv2_{percent:03d}", "mobilenetv2", rounded))
    for percent, depth in ((110, 1.2), (120, 1.4)):
        deeper = {
            "width_mult": percent / 100,
            "layout": "rounded",
            "depth_mult": depth,
            "fix_stem_head": True,
        }
        entries.append(ModelEntry(f"mobilenetv2_{percent}d", "mobilenetv2", deeper))
    for width in (1.0, 1.3, 1.5, 2.0):
        name = f"ReXNet_lite_{width:.1f}".replace(".", "_")
        entries.append(ModelEntry(name, "rexnet", {"width_mult": width, "lite": True}))
    return {entry.name: entry for entry in entries}


MODELS = _entries()
_BY_FOLDED_NAME = {name.casefold(): entry for name, entry in MODELS.items()}


def find_model(name: str) -> ModelEntry:
    """Return the entry of the network called ``name``, without regard to case.

    Raises:
        ModelError: there is none; the message names the nearest.
    """
    try:
        return _BY_FOLDED_NAME[name.casefold()]
    except KeyError:
        raise ModelError(
            f"unknown model '{name}'{nearest(name, MODELS)} ('fleetnet models' lists them all)"
        ) from None


def build_model(name: str, num_classes: int = 1000, **arguments: Any) -> Network:
    """Build the network called ``name``, freshly initialised.

    Args:
        name: as in ``fleetnet models``, without regard to case.
        num_classes: length of the logits.
        arguments: ``in_channels``, ``dropout``, ``drop_path`` (see
            :class:`fleetnet.models.network.Network`).

    Returns:
        A plain ``torch.nn.Module`` that takes normalised ``float32[N, in_channels, H, W]`` and
        gives ``float32[N, num_classes]``.

    Raises:
        ModelError: unknown name or argument, or a class count that no network has.
    """
    entry = find_model(name)
    if not 1 <= num_classes <= CLASS_LIMIT:
        raise ModelError(f"num_classes is {num_classes}; it must be between 1 and {CLASS_LIMIT:,}")
    _check_arguments(arguments)
    try:
        family = importlib.import_module(f"fleetnet.models.{entry.family}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise require("PyTorch", "train", "building a network") from None
    network: Network = getattr(family, entry.family)(num_classes, **entry.arguments, **arguments)
    return network


def _check_arguments(arguments: dict[str, Any]) -> None:
    known = ("in_channels", "dropout", "drop_path")
    for key, value in arguments.items():
        if key not in known:
            raise ModelError(
                f"unknown model argument '{key}'{nearest(key, known)} (known: {', '.join(known)})"
            )
        if key == "in_channels" and not (isinstance(value, int) and 1 <= value <= 1024):
            raise ModelError(f"in_channels is {value!r}; it must be a whole number from 1 to 1024")
        if key != "in_channels" and not 0.0 <= value < 1.0:
            raise ModelError(f"{key} is {value!r}; it must be at least 0 and below 1")


@cache
def published() -> dict[str, Any]:
    """Return ``published.toml``: the documents' figures, as printed there, and their sources."""
    text = resources.files("fleetnet.models").joinpath("published.toml").read_text("utf-8")
    return tomllib.loads(text)


def structure(name: str) -> Structure:
    """Count parameters and multiply-adds of ``name`` at 224×224 with 1000 classes.

    Raises:
        ModelError: unknown name.
        FleetnetError: PyTorch is not installed.
    """
    find_model(name)
    try:
        import torch
    except ModuleNotFoundError:
        raise require("PyTorch", "train", "counting a network's parameters") from None
    from fleetnet.models.network import measure_structure

    with torch.device("meta"):
        return measure_structure(build_model(name))
