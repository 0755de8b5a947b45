"""What a user of ``fleetnet train`` asks for: its options, and what they say together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fleetnet.cli.train_together import is_of_a_launch
from fleetnet.data.sources import SourceOptions

MODEL, RECIPE = "MobileNetV2", "finetune"
"""What is trained, and how, where nothing is said."""

ModelOption = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="A name from 'fleetnet models', or a network's settings (.yaml)."
    ),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Stop at the first image that cannot be read.")
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Weights to start from: a checkpoint, a run's folder, a bundle, a file from "
        "anywhere, ReXNet_1_0, timm:ReXNet_1_0, or just a set, such as paddle.",
    ),
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Take published weights only from the cache.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder for the run.  [runs/MODEL-TIME]")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace a run that is in that folder.")
]
ResumeOption = Annotated[
    Path | None,
    typer.Option("--resume", metavar="RUN", help="Go on with the run in this folder."),
]
SearchLrOption = Annotated[
    bool,
    typer.Option("--find-lr", help="Only search for a learning rate, and draw the search."),
]
GoOnOption = Annotated[
    bool,
    typer.Option(
        "--continue", help="Go on with the run in --output if it was begun; else begin it."
    ),
]
ProcessesOption = Annotated[
    int | None,
    typer.Option("--nproc", metavar="N", help="Train in N processes on this machine."),
]
RestartsOption = Annotated[
    int, typer.Option(help="With --nproc: start all anew so often if one is killed or hangs.")
]
TimeoutOption = Annotated[
    float, typer.Option(metavar="SECONDS", help="Of several processes: wait so long for one.")
]
LogOption = Annotated[
    str | None,
    typer.Option(
        help="Where figures go besides the run's folder: tensorboard, wandb, mlflow, several "
        "with commas, or none.  [tensorboard; with --resume where they went before]"
    ),
]
AutoOption = Annotated[
    bool,
    typer.Option(
        "--auto", help="Search for network, size, recipe and learning rate; export the best."
    ),
]
BudgetOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="With --auto: for all of it; 90s, 30min, 1.5h.  [30min]"),
]
AutoJsonOption = Annotated[
    bool, typer.Option("--json", help="With --auto: print what came out as JSON.")
]


@dataclass(frozen=True)
class Wanted:
    """The network to train, and how.

    Attributes:
        model: its name, or its file of settings, as it was typed.
        recipe: the recipe's name or file.
        settings: of the recipe, ``KEY=VALUE`` each.
        epochs, size: short for settings.
        weights: to start from.
        strict: stop at the first image that cannot be read.
        offline: take published weights only from the cache.
    """

    model: str
    recipe: str
    settings: list[str] | None
    epochs: int | None
    size: int | None
    weights: str | None
    strict: bool
    offline: bool

    @property
    def stopping(self) -> list[str]:
        """The setting that ``strict`` is short for."""
        return ["data.strict=true"] if self.strict else []


@dataclass(frozen=True)
class RunFolder:
    """Where a run lies, and what becomes of one that is there.

    Attributes:
        output: the folder; None for a new one.
        resume: the folder of a run to go on with, whatever it is.
        overwrite: replace what is there.
        go_on: go on with it, if it is the same run.
    """

    output: Path | None
    resume: Path | None
    overwrite: bool
    go_on: bool


@dataclass(frozen=True)
class Asked:
    """Everything that is asked for.

    Attributes:
        data: to train on.
        source: how to read it.
        wanted: the network, and how.
        folder: where.
        nproc: processes of this machine; None if nothing is said of them.
        restarts: how often they may be started anew.
        timeout: seconds to wait for one of several processes.
        log: where figures go.
        search_lr: only search for a learning rate.
    """

    data: str | None
    source: SourceOptions
    wanted: Wanted
    folder: RunFolder
    nproc: int | None
    restarts: int
    timeout: float
    log: str | None
    search_lr: bool

    @property
    def starts(self) -> bool:
        """Whether this process is to start those that train."""
        return self.nproc is not None and self.nproc > 1 and not is_of_a_launch()

    @property
    def changes_run(self) -> bool:
        """Whether anything is asked for that a run which was begun has decided."""
        wanted, folder = self.wanted, self.folder
        settings = wanted.settings, wanted.epochs, wanted.size, wanted.strict, wanted.weights
        others = wanted.recipe != RECIPE, folder.output, folder.go_on, self.search_lr
        return any((*settings, *others))

    @property
    def decided(self) -> list[str]:
        """The flags that are given of what a search decides itself."""
        wanted = self.wanted
        given = {
            "--model": wanted.model != MODEL,
            "--recipe": wanted.recipe != RECIPE,
            "--epochs": wanted.epochs is not None,
            "--size": wanted.size is not None,
            "--weights": wanted.weights is not None,
            "--find-lr": self.search_lr,
            "--resume": self.folder.resume is not None,
            "--nproc": self.nproc is not None,
            "--log": self.log is not None,
        }
        return [flag for flag, is_given in given.items() if is_given]
