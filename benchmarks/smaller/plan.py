"""What is trained, how long, and which networks there are for each seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fleetnet.errors import FleetnetError, ModelError
from fleetnet.models.network import MobileNetwork, measure_structure
from fleetnet.models.registry import build_model, find_model
from fleetnet.training.pruning.channels import check_share

FULL, WIDTH, PRUNED, DISTILLED = "full", "width", "pruned", "distilled"
ROADS = (FULL, WIDTH, PRUNED, DISTILLED)


class Piece(NamedTuple):
    """One network of one seed."""

    seed: int
    road: str
    network: str
    """The published one: what is trained, or what a pruned one is as small as."""

    @property
    def key(self) -> str:
        """What it is called in the file of figures, and its folder."""
        return f"{self.seed}/{self.road}-{self.network}"

    @property
    def kind(self) -> tuple[str, str]:
        """What it is, whatever the seed."""
        return self.road, self.network


@dataclass(frozen=True)
class Plan:
    """What the figures are of.

    Attributes:
        data: as ``fleetnet train`` takes it.
        label: of data that has several.
        upright: whether images are neither turned nor flipped in training.
        side: of the images, in pixels.
        full: the network that all begins with.
        weights: that it starts from; None for none.
        full_epochs: how long it is trained.
        narrower: published networks that need less.
        epochs: how long these are trained, alone and distilled.
        tune_epochs: how long a pruned one is trained on.
        tune_settings: overrides of the recipe for that, each ``KEY=VALUE``.
        seeds: of split and training.
        engines: what int8 is made for, and what is timed.
    """

    data: str
    label: str | None
    upright: bool
    side: int
    full: str
    weights: str | None
    full_epochs: int
    narrower: tuple[str, ...]
    epochs: int
    tune_epochs: int
    tune_settings: tuple[str, ...]
    seeds: tuple[int, ...]
    engines: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what may not differ between a start and the next; there may be more to train."""
        values = asdict(self)
        del values["seeds"], values["narrower"]
        return {key: list(one) if isinstance(one, tuple) else one for key, one in values.items()}

    def pieces(self, classes: int) -> Iterator[Piece]:
        """Yield the networks of all seeds, in the order in which they can be trained."""
        yield from (Piece(seed, FULL, self.full) for seed in self.seeds)
        for name in self.narrower:
            can = self.share(name, classes) is not None
            roads = (PRUNED, WIDTH, DISTILLED) if can else (WIDTH, DISTILLED)
            yield from (Piece(seed, road, name) for seed in self.seeds for road in roads)

    def share(self, narrower: str, classes: int) -> float | None:
        """Return the share of the full one's multiply-adds that another has.

        None if the full one cannot be pruned to as few, or has no more.

        Raises:
            FleetnetError: there is no such network.
        """
        full, macs = self._size(self.full, classes)
        share = self._size(narrower, classes)[1] / macs
        if share >= 1:
            return None
        try:
            check_share(full, find_model(self.full), self.side, share)
        except ModelError:
            return None
        return share

    def _size(self, name: str, classes: int) -> tuple[MobileNetwork, int]:
        with torch.device("meta"):
            network = build_model(name, classes)
            macs = measure_structure(network, size=self.side).macs
        if not isinstance(network, MobileNetwork):
            raise FleetnetError(f"{name} is none of the networks here")
        return network, macs


def folder_of(folder: Path, piece: Piece) -> Path:
    """Return where a network's run and bundle are."""
    return folder / piece.key
