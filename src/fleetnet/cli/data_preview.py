"""``fleetnet data preview``: see augmented images before training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleetnet.amounts import count
from fleetnet.cli.console import print_line
from fleetnet.cli.options import RecipeOption, SettingsOption
from fleetnet.cli.sources import DataArgument, comparing, open_told, with_source_options
from fleetnet.cli.train import load_recipe
from fleetnet.data.sources import SourceOptions
from fleetnet.data.splits import shown_in_training, spread
from fleetnet.errors import DataError, needing
from fleetnet.files import atomic_file

SUFFIX = ".png"


@with_source_options
def preview(
    data: DataArgument,
    recipe: RecipeOption = "finetune",
    settings: SettingsOption = None,
    images: Annotated[int, typer.Option(min=1, max=100, help="How many images to show.")] = 6,
    variants: Annotated[int, typer.Option(min=1, max=20, help="How many epochs to show.")] = 5,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The picture to write, a PNG file.")
    ] = Path("preview.png"),
    *,
    source: SourceOptions,
) -> None:
    """Draw what a recipe's augmentation makes of some training images, as a PNG picture.

    A row an image: the original, then what training shows in each of the first epochs; below, mixup
    and CutMix where the recipe has them.
    """
    if output.suffix.lower() != SUFFIX:
        raise DataError(f"--output {output} must end in {SUFFIX}")
    chosen = load_recipe(recipe, settings or [])
    opened = open_told(data, source)
    with comparing(opened) as advance:
        trained = shown_in_training(opened, chosen.data.val_fraction, chosen.seed, advance=advance)
    with needing(("torch",), "train", "showing augmentation"):
        from fleetnet.data.augment import Augment
        from fleetnet.data.mix import each_alone
        from fleetnet.data.preview import preview as draw
    augment = chosen.augment
    per_image = augment.model_dump(exclude={"mixup", "cutmix", "mix_probability"})
    shown = spread(trained, images)
    picture = draw(
        opened,
        shown.tolist(),
        Augment(chosen.input.preprocess(), **per_image),
        mixes=each_alone(augment.mixup, augment.cutmix, len(opened.classes)),
        variants=variants,
        seed=chosen.seed,
    )
    with atomic_file(output) as file:
        picture.save(file, "PNG")
    print_line(f"{count(len(shown), 'training image')}, {count(variants, 'epoch')}: {output}")
