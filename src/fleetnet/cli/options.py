"""Options that several verbs take."""

from __future__ import annotations

from typing import Annotated

import typer

from fleetnet.inference.engines import DEFAULT_ENGINE, ENGINES

_WEIGHTS_HELP = (
    "a checkpoint, a run's folder, a file of weights, or a network with published weights: "
    "ReXNet_1_0, timm:ReXNet_1_0."
)
MODEL_HELP = f"A bundle, an .onnx file, {_WEIGHTS_HELP}"
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
NetworkArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help=f"A bundle's folder, {_WEIGHTS_HELP}")
]
"""For verbs that look into the network, which an .onnx file hides."""
WeightsArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help=_WEIGHTS_HELP[0].upper() + _WEIGHTS_HELP[1:])
]
"""For verbs that make a bundle."""
RecipeOption = Annotated[
    str, typer.Option("--recipe", "-r", help="A recipe's name, or a YAML file.")
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the recipe."),
]
EpochsOption = Annotated[int | None, typer.Option(help="Short for --set epochs=N.")]
SizeOption = Annotated[
    int | None, typer.Option(help="Input side in pixels; resizes to 8/7 of it first.")
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="ENGINE",
        help=f"{', '.join(ENGINES)}; auto: the fastest here.  [{DEFAULT_ENGINE}]",
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="PRECISION",
        help="fp32, bf16, fp16 or int8, where the engine offers it.  [fp32]",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="cpu, gpu, npu, cuda or another, as the engine's runtime finds and names it here.  "
        "[cpu]",
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads to compute with.  [all]")
]
