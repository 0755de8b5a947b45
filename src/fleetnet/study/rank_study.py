"""The study of rank: what random networks make of few channels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

from fleetnet.reporting import Advance
from fleetnet.study.nonlinearities import NONLINEARITIES
from fleetnet.study.random_blocks import BLOCKS, Draw
from fleetnet.study.rank_plan import Batch, RankSettings, batches
from fleetnet.study.ranks import check_thresholds, numerical_ranks
from fleetnet.study.results_file import ResultsFile

RESULTS = "rank.jsonl"


class RankLine(BaseModel):
    """What was measured of a batch.

    Attributes:
        block: of the batch, and so are ``ratio``, ``number``, ``inputs`` and ``outputs``.
        ranks: by non-linearity, for each network the rank at each threshold.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    block: str
    ratio: float
    number: int
    inputs: int
    outputs: int
    ranks: dict[str, tuple[tuple[int, ...], ...]]

    @property
    def key(self) -> tuple[str, float, int]:
        """That of the batch."""
        return self.block, self.ratio, self.number


def measure(batch: Batch, thresholds: Iterable[float]) -> RankLine:
    """Draw a batch of networks and measure the ranks of their features."""
    generator = torch.Generator().manual_seed(batch.seed)
    draw = Draw(batch.networks, generator)
    features = BLOCKS[batch.block](draw, batch.inputs, batch.outputs)
    chosen = list(thresholds)
    with torch.no_grad():
        ranks = {
            name: tuple(map(tuple, numerical_ranks(features(f), chosen).tolist()))
            for name, f in NONLINEARITIES.items()
        }
    return RankLine(
        block=batch.block,
        ratio=batch.ratio,
        number=batch.number,
        inputs=batch.inputs,
        outputs=batch.outputs,
        ranks=ranks,
    )


def study_rank(
    settings: RankSettings, output: Path, advance: Advance = lambda _: None
) -> list[RankLine]:
    """Measure every network that has no result in ``output`` yet; return all results.

    Args:
        settings: what determines the study.
        output: folder of the results, which are complete whenever the process ends.
        advance: called with how many networks are done, those of before first.

    Raises:
        FleetnetError: a threshold is out of range, or the folder is of another study.
    """
    check_thresholds(settings.thresholds)
    file = ResultsFile(output / RESULTS, settings, RankLine)
    with file.taken() as found:
        lines = {line.key: line for line in found}
        for batch in batches(settings):
            if batch.key not in lines:
                lines[batch.key] = measure(batch, settings.thresholds)
                file.append(lines[batch.key])
            advance(batch.networks)
    return [lines[batch.key] for batch in batches(settings)]
