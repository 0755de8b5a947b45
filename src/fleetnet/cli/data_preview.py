"""``fleetnet data preview``: see augmented images before training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from fleetnet.amounts import count
from fleetnet.cli.console import print_line
from fleetnet.cli.options import RecipeOption, SettingsOption
from fleetnet.cli.sources import DataArgument, comparing, open_told, with_source_options
from fleetnet.cli.train import load_recipe
from fleetnet.data.sources import SampleTable, Source, SourceOptions
from fleetnet.data.sources.samples import TEST, VAL
from fleetnet.data.splits import Indices, split
from fleetnet.errors import DataError, needing
from fleetnet.files import atomic_file

if TYPE_CHECKING:
    from fleetnet.data.mix import Mix
    from fleetnet.training.recipe import AugmentSettings, Recipe

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
    trained = _trained(opened, chosen)
    with needing(("torch",), "train", "showing augmentation"):
        from fleetnet.data.augment import Augment
        from fleetnet.data.preview import preview as draw
    per_image = chosen.augment.model_dump(exclude={"mixup", "cutmix", "mix_probability"})
    shown = min(images, len(trained))
    # Samples lie class by class, so steps of one length show as many classes as there is room for.
    indices = trained[np.linspace(0, len(trained) - 1, shown).round().astype(int)].tolist()
    picture = draw(
        opened,
        indices,
        Augment(chosen.input.preprocess(), **per_image),
        mixes=_mixes(chosen.augment, len(opened.classes)),
        variants=variants,
        seed=chosen.seed,
    )
    with atomic_file(output) as file:
        picture.save(file, "PNG")
    print_line(f"{count(shown, 'training image')}, {count(variants, 'epoch')}: {output}")


def _trained(source: Source, recipe: Recipe) -> Indices:
    """Return the samples that training shows; of data that cannot be split, those that it might."""
    try:
        with comparing(source) as advance:
            parts = split(source, recipe.data.val_fraction, recipe.seed, advance=advance)
        trained = parts.train
    except DataError:
        trained = np.flatnonzero(~np.isin(SampleTable.of(source.samples).splits, (VAL, TEST)))
    if not len(trained):
        raise DataError(f"{source.description} has no images to train on")
    return trained


def _mixes(settings: AugmentSettings, classes: int) -> list[tuple[str, Mix]]:
    from fleetnet.data.mix import Mix

    mixes = []
    if settings.mixup:
        mixes.append((f"mixup {settings.mixup:g}", Mix(settings.mixup, 0, 1, classes)))
    if settings.cutmix:
        mixes.append((f"CutMix {settings.cutmix:g}", Mix(0, settings.cutmix, 1, classes)))
    return mixes
