"""The state of a search: everything that is saved, so that it goes on after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleetnet.errors import FleetnetError
from fleetnet.files import atomic_file
from fleetnet.schema import first_problem
from fleetnet.training.search.candidates import Candidate

STATE, TRIED = "search.json", "tried"
"""A file in the folder of a search, and the folder of what was tried."""

Ending = Literal["running", "done", "out of time", "diverged"]


class _Values(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Point(_Values):
    """What was measured after an epoch.

    Attributes:
        spent_s: of the budget.
        top1: share of the images that are right, of those held out from what trained; of
            multi-label data the mean average precision decides, and stands here.
    """

    spent_s: float
    top1: float


class Trial(_Values):
    """A candidate in a rung, or the last training.

    Attributes:
        candidate: its place in the list of candidates.
        rung: from 1; the last training's is one above the last rung.
        epochs: that it is to train.
        lr: the highest learning rate.
        started_s: of the budget, when it began.
        seconds: how long it has trained.
        points: a figure for each epoch.
        ending: how it ended.
    """

    candidate: int
    rung: int
    epochs: int
    lr: float
    started_s: float
    seconds: float = 0.0
    points: list[Point] = Field(default_factory=list)
    ending: Ending = "running"

    @property
    def score(self) -> float | None:
        """The figure of the last epoch, by which candidates are compared; None before the first."""
        return self.points[-1].top1 if self.points else None

    @property
    def folder(self) -> str:
        """Name of its run's folder, in that of the search."""
        return f"{TRIED}/{self.rung}-{self.candidate + 1:02}"


class SearchState(_Values):
    """A search, as ``search.json`` has it.

    Attributes:
        budget_s: seconds for all of it.
        spent_s: of these.
        data: describes the images.
        fingerprint: recognises them.
        settings: of the user, for every candidate.
        train_images: how many images the candidates trained on.
        val_images: how many images compared them.
        candidates: the list.
        epoch_s: seconds of an epoch of each candidate, as measured by some batches; None where
            there was no time for that.
        admitted: places of those that train in the first rung; None before that is decided.
        trials: in the order of time.
        last: the last training; None before it begins.
        held_out_images: how many images the result is measured on, which chose nothing.
        finished: whether the bundle is there.
    """

    format: Literal["fleetnet-search"] = "fleetnet-search"
    version: Literal[1] = 1
    budget_s: float
    spent_s: float = 0.0
    data: str
    fingerprint: str
    settings: list[str]
    train_images: int
    val_images: int
    candidates: list[Candidate]
    epoch_s: list[float | None] = Field(default_factory=list)
    admitted: list[int] | None = None
    trials: list[Trial] = Field(default_factory=list)
    last: Trial | None = None
    held_out_images: int
    finished: bool = False

    def of_rung(self, rung: int) -> list[Trial]:
        """Return the trials of a rung."""
        return [trial for trial in self.trials if trial.rung == rung]

    @property
    def winner(self) -> Trial:
        """The best trial of the last rung that has a figure; there has to be one.

        Of equal ones the one whose epochs are shorter, and then the first.
        """
        scored = [trial for trial in self.trials if trial.score is not None]
        rung = max(trial.rung for trial in scored)
        return self.best(rung)[0]

    def best(self, rung: int) -> list[Trial]:
        """Return the trials of a rung that have a figure, the best first."""
        scored = [trial for trial in self.of_rung(rung) if trial.score is not None]
        return sorted(
            scored,
            key=lambda trial: (-(trial.score or 0.0), trial.seconds / len(trial.points)),
        )

    def save(self, folder: Path) -> None:
        """Write the state to the folder of the search.

        Raises:
            FleetnetError: the place cannot be written to.
        """
        with atomic_file(folder / STATE) as file:
            file.write_text(self.model_dump_json(indent=1) + "\n", "utf-8", "backslashreplace")

    @classmethod
    def load(cls, folder: Path) -> SearchState:
        """Read the state of the search in a folder.

        Raises:
            FleetnetError: the file cannot be read, or is none of ours.
        """
        path = folder / STATE
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise FleetnetError(
                f"{path} is damaged, or of another version: {first_problem(error).text}; search "
                "anew with another output=",
                file=str(path),
                arguments=["output"],
            ) from None
