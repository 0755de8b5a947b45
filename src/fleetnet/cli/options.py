"""Options that several verbs take."""

from __future__ import annotations

from typing import Annotated

import typer

RecipeOption = Annotated[
    str, typer.Option("--recipe", "-r", help="A recipe's name, or a YAML file.")
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the recipe."),
]
EngineOption = Annotated[
    str | None, typer.Option("--engine", help="openvino, onnxruntime, torch or torch-compiled.")
]
PrecisionOption = Annotated[
    str, typer.Option("--precision", help="fp32, bf16, fp16 or int8, where the engine offers it.")
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads to compute with.  [all]")
]
BatchSizeOption = Annotated[
    int, typer.Option("--batch-size", min=1, max=4096, help="Images the engine gets at once.")
]
