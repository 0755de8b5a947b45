"""What is tried: a short list made by hand, in the order in which it is cut if time is short."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from fleetnet.preprocess import Preprocess
from fleetnet.training.recipe import Recipe
from fleetnet.training.shorthands import shorthands
from fleetnet.weights.published import cached_path, weights_of

LARGEST = 224
STRIDE = 32
"""The networks halve an image five times."""
MIDDLE, SMALL = 4 / 7, 3 / 7
"""Sides of the smaller images as shares of the largest: 128 and 96 of 224."""
TURNS = ("augment.vertical_flip=0.5", "augment.quarter_turns=true")
NO_FLIP = ("augment.horizontal_flip=0",)
GENTLE = ("optimizer.lr=0.0005",)
"""For weights that know something already."""
STEEP = ("optimizer.lr=0.005",)
MODERN = ("schedule.name=cosine", "batch_size=64", "data.workers=2", "ema.decay=0.998")
"""What is left of 'modern' is its optimiser, its policy and its dropout: it is made for 450 epochs
over a million images."""
PRETRAINED = "EfficientNet_Lite0"


class Candidate(NamedTuple):
    """One way to train.

    Attributes:
        model: the network's name.
        size: side of the input in pixels.
        recipe: name of the recipe.
        settings: what it changes in the recipe, each ``KEY=VALUE``.
        weights: published weights to start from, as ``SET:NAME``, or None.
    """

    model: str
    size: int
    recipe: str
    settings: tuple[str, ...] = ()
    weights: str | None = None

    @property
    def title(self) -> str:
        """The candidate in a few words, which no other candidate has."""
        told = ", ".join([self.recipe, *(setting.partition(".")[2] for setting in self.settings)])
        start = f" from {self.weights.partition(':')[0]}" if self.weights else ""
        return f"{self.model}{start}, {self.size} px, {told}"

    def training(self, epochs: int, settings: Sequence[str] = ()) -> Recipe:
        """Return how it trains for so many epochs.

        Args:
            epochs: of which a fifth at most is warm-up.
            settings: the user's own, before which everything else yields.

        Raises:
            RecipeError: a setting is wrong.
        """
        options = [*shorthands(epochs, self.size), *self._input(), *self.settings]
        recipe = Recipe.load(self.recipe, [*options, *settings], self.model)
        warmup = min(recipe.schedule.warmup_epochs, recipe.epochs / 5)
        schedule = recipe.schedule.model_copy(update={"warmup_epochs": warmup})
        return recipe.model_copy(update={"schedule": schedule})

    def _input(self) -> list[str]:
        """Return the normalisation that the weights are used to."""
        preprocess = _published_preprocess(self.weights)
        if preprocess is None:
            return []
        return [f"input.{key}={list(getattr(preprocess, key))}" for key in ("mean", "std")]


def candidates(side: int, is_here: Callable[[str], bool] | None = None) -> list[Candidate]:
    """Return the candidates for images of a size, the most promising first.

    Args:
        side: of a usual image in pixels, the shorter one.
        is_here: tells whether published weights, ``SET:NAME``, need no download; None looks.
    """
    large, middle, small = sizes(side)
    weights = _pretrained(is_here or weights_are_here)
    listed = [
        Candidate("MobileNetV2", middle, "short"),
        *_with(weights, middle, GENTLE),
        Candidate("ReXNet_1_0", middle, "short"),
        Candidate("MobileNetV2", middle, "short", TURNS),
        *_with(weights, middle, (*GENTLE, *TURNS)),
        Candidate("MobileNetV2", large, "finetune"),
        Candidate("MobileNetV2", middle, "short", NO_FLIP),
        Candidate("ReXNet_1_0", middle, "short", TURNS),
        *_with(weights, large, GENTLE),
        Candidate("MobileNetV2", middle, "short", STEEP),
        Candidate("MobileNetV2", small, "short"),
        Candidate("MobileNetV2", middle, "modern", MODERN),
        Candidate("ReXNet_1_0", large, "short"),
    ]
    return list(dict.fromkeys(listed))


def sizes(side: int) -> tuple[int, int, int]:
    """Return a large, a middle and a small side of the input for images of a side, in pixels.

    Twice the image's own side is the most: more pixels than that say nothing new.
    """
    large = min(max(_strided(2 * side), 2 * STRIDE), LARGEST)
    return large, max(_strided(large * MIDDLE), STRIDE), max(_strided(large * SMALL), STRIDE)


def weights_are_here(word: str) -> bool:
    """Tell whether published weights, ``SET:NAME``, are in the cache or an installed package."""
    set_name, _, model = word.partition(":")
    return any(entry.set == set_name and cached_path(entry).exists() for entry in weights_of(model))


def _strided(pixels: float) -> int:
    return round(pixels / STRIDE) * STRIDE


def _pretrained(is_here: Callable[[str], bool]) -> str | None:
    words = (f"{entry.set}:{entry.model}" for entry in weights_of(PRETRAINED))
    return next(filter(is_here, words), None)


def _with(weights: str | None, size: int, settings: Iterable[str]) -> list[Candidate]:
    if weights is None:
        return []
    return [Candidate(PRETRAINED, size, "short", tuple(settings), weights)]


def _published_preprocess(word: str | None) -> Preprocess | None:
    if word is None:
        return None
    set_name, _, model = word.partition(":")
    return next(entry.preprocess for entry in weights_of(model) if entry.set == set_name)
