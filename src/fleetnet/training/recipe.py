"""A training recipe: a YAML file checked against this schema; any value can be overridden."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fleetnet.data.policies import PolicyName
from fleetnet.data.sampling import Sampling
from fleetnet.errors import FleetnetError, RecipeError
from fleetnet.preprocess import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Preprocess
from fleetnet.schema import facts_of, first_problem
from fleetnet.training.recipe_files import read_values, set_value, with_model
from fleetnet.training.recipe_keys import check_keys
from fleetnet.weights.settings_file import model_named

DEFAULT = "finetune"

DivergenceName = Literal["js", "kl", "skl", "dkd"]
"""Jensen-Shannon, Kullback-Leibler, its symmetric form, and decoupled knowledge distillation."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(_Section):
    """How images are split, ordered and loaded.

    ``sampling`` ``balanced`` shows every class equally often, small ones several times.
    ``repeats`` shows each drawn image that many times in a batch, each time varied anew, in epochs
    of unchanged length (Hoffer et al. 2020). ``buffer`` is how many images of a source in shards
    are shuffled together. ``strict`` stops at the first image that cannot be read.
    """

    val_fraction: float = Field(0.25, gt=0, lt=1)
    workers: int = Field(2, ge=0, le=256)
    sampling: Sampling = "shuffle"
    repeats: int = Field(1, ge=1, le=64)
    buffer: int = Field(4096, ge=1)
    strict: bool = False


class InputSettings(_Section):
    """The settings of the model's :class:`fleetnet.preprocess.Preprocess`."""

    resize: int = 256
    crop: int = 224
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    sample_bits: int | None = None

    def preprocess(self) -> Preprocess:
        """Return the settings as the object that belongs to the model."""
        return Preprocess(**self.model_dump())

    @model_validator(mode="after")
    def _makes_a_preprocess(self) -> InputSettings:
        try:
            self.preprocess()
        except FleetnetError as error:
            raise ValueError(str(error).replace("preprocess.", "input.")) from None
        return self


class AugmentSettings(_Section):
    """How training images are varied.

    Single images by :class:`fleetnet.data.augment.Augment`, batches by ``mixup`` and ``cutmix``.
    """

    min_scale: float = Field(0.35, gt=0, le=1)
    max_ratio: float = Field(4 / 3, ge=1, le=10)
    horizontal_flip: float = Field(0.5, ge=0, le=1)
    vertical_flip: float = Field(0.0, ge=0, le=1)
    quarter_turns: bool = False
    color_jitter: float = Field(0.2, ge=0, lt=1)
    policy: PolicyName = "none"
    operations: int = Field(2, ge=1, le=16)
    magnitude: float = Field(9.0, ge=0, le=10)
    magnitude_std: float = Field(0.0, ge=0, le=10)
    erase: float = Field(0.0, ge=0, le=1)
    mixup: float = Field(0.0, ge=0, le=100)
    cutmix: float = Field(0.0, ge=0, le=100)
    mix_probability: float = Field(1.0, ge=0, le=1)
    scaled_decoding: bool = True


class ModelSettings(_Section):
    """Regularisation inside the network, and how it starts; None keeps the family's own dropout.

    With ``sync_norm``, batch norm is over the images of all processes that train together, not
    over each one's own.
    """

    dropout: float | None = Field(None, ge=0, lt=1)
    drop_path: float = Field(0.0, ge=0, lt=1)
    zero_init: bool = False
    sync_norm: bool = False


class OptimizerSettings(_Section):
    """The optimiser and the gradients that it gets.

    ``momentum`` and ``nesterov`` are of ``sgd``, ``momentum`` and ``alpha`` of ``rmsprop``,
    ``betas`` of ``adamw`` and ``lamb``; ``eps`` None is the optimiser's own. ``clip_norm`` and
    ``layer_decay`` are off at 0 and 1; gradients of ``accumulate`` batches make one step.
    ``lr_scaling`` takes ``lr`` as that of steps of ``lr_images`` images, and multiplies it by how
    many times as many a step has (``linear``, Goyal et al. 2017) or by the root of that (``root``).
    """

    name: Literal["sgd", "adamw", "rmsprop", "lamb"] = "sgd"
    lr: float = Field(0.03, gt=0, le=100)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    alpha: float = Field(0.9, ge=0, lt=1)
    eps: float | None = Field(None, gt=0, le=1)
    weight_decay: float = Field(4e-5, ge=0, le=1)
    decay_norm_and_bias: bool = False
    layer_decay: float = Field(1.0, gt=0, le=1)
    clip_norm: float = Field(0.0, ge=0)
    accumulate: int = Field(1, ge=1, le=65_536)
    lr_scaling: Literal["none", "linear", "root"] = "none"
    lr_images: int = Field(256, ge=1)


class ScheduleSettings(_Section):
    """The learning rate over the run, after a linear warm-up.

    ``cosine`` and ``polynomial`` (of ``power``) go from ``lr`` to ``final_lr``; ``step``
    multiplies by ``gamma`` at each epoch of ``milestones`` and each time ``every`` epochs have
    passed, never below ``final_lr``; ``one-cycle`` climbs to ``lr`` over ``warmup_epochs`` and
    falls by a cosine, momentum moving the other way (Smith and Topin 2019).
    """

    name: Literal["cosine", "step", "polynomial", "one-cycle"] = "cosine"
    warmup_epochs: float = Field(2.0, ge=0)
    final_lr: float = Field(0.0, ge=0)
    milestones: tuple[float, ...] = ()
    every: float = Field(0.0, ge=0)
    gamma: float = Field(0.1, gt=0, le=1)
    power: float = Field(1.0, gt=0, le=100)


class LossSettings(_Section):
    """What is minimised; ``binary`` is a binary cross-entropy for every class.

    ``class_weights`` ``balanced`` weighs classes by the inverse of their images.
    """

    name: Literal["cross-entropy", "binary"] = "cross-entropy"
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = "none"


class DistillSettings(_Section):
    """Learning from the answers of other networks, the ``teachers``; none is off.

    A teacher is named as every command names a model, or ``timm:NAME`` of the package timm; the
    probabilities of several are averaged. ``loss`` compares answers at a ``temperature``, see
    :mod:`fleetnet.training.distillation.losses`; ``dkd_alpha`` and ``dkd_beta`` are of ``dkd``. The
    recipe's own loss, of the labels, has ``label_weight`` and the comparison with the teacher the
    rest; feature maps of equal stride are compared with ``feature_weight`` besides.

    ``scores`` is a file of answers, which are then looked up and not computed, and ``identities``
    says which teachers are meant, so that no other ones take their place when a run is resumed.
    """

    teachers: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    scores: str | None = None
    loss: DivergenceName = "js"
    temperature: float = Field(1.0, ge=0.1, le=100)
    dkd_alpha: float = Field(1.0, ge=0, le=1000)
    dkd_beta: float = Field(8.0, ge=0, le=1000)
    label_weight: float = Field(0.0, ge=0, le=1)
    feature_weight: float = Field(0.0, ge=0, le=1e6)
    batch_statistics: bool = False

    @property
    def on(self) -> bool:
        """Whether there is anything to learn from."""
        return bool(self.teachers) or self.scores is not None


class FreezeSettings(_Section):
    """Training the classifier before the rest.

    For ``backbone_epochs`` only the classifier trains. Then the whole network does, or, with
    ``block_epochs`` above 0, one more block from the end each ``block_epochs``.
    """

    backbone_epochs: int = Field(0, ge=0)
    block_epochs: int = Field(0, ge=0)


class StopSettings(_Section):
    """Early stopping, after ``patience`` epochs without a better top-1; 0 never stops.

    Better means more than ``min_delta`` above the best so far.
    """

    patience: int = Field(0, ge=0)
    min_delta: float = Field(0.0, ge=0, lt=1)


class EmaSettings(_Section):
    """Exponential moving average of the weights, which is what is evaluated and exported.

    The decay grows as ``(1 + updates) / (10 + updates)`` until it reaches ``decay``; 0 turns the
    average off.
    """

    decay: float = Field(0.998, ge=0, lt=1)


class Recipe(_Section):
    """Everything about a training run except the network and the data."""

    name: str = DEFAULT
    epochs: int = Field(30, ge=1, le=100_000)
    batch_size: int = Field(64, ge=2, le=65_536)
    seed: int = Field(0, ge=0, lt=2**63)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_minutes: float = Field(5.0, ge=0)
    data: DataSettings = DataSettings()
    input: InputSettings = InputSettings()
    augment: AugmentSettings = AugmentSettings()
    model: ModelSettings = ModelSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    loss: LossSettings = LossSettings()
    distill: DistillSettings = DistillSettings()
    freeze: FreezeSettings = FreezeSettings()
    stop: StopSettings = StopSettings()
    ema: EmaSettings = EmaSettings()

    @property
    def lr(self) -> float:
        """The learning rate for steps of as many images as this recipe's."""
        settings = self.optimizer
        times = self.batch_size * settings.accumulate / settings.lr_images
        powers = {"none": 0.0, "linear": 1.0, "root": 0.5}
        scale: float = times ** powers[settings.lr_scaling]
        return settings.lr * scale

    @classmethod
    def load(
        cls,
        name_or_path: str = DEFAULT,
        overrides: Iterable[str] = (),
        model: str | None = None,
    ) -> Recipe:
        """Read a recipe of this package by name, or a YAML file, and apply ``key=value`` settings.

        Args:
            name_or_path: ``finetune``, …, or a path that ends in ``.yaml`` or ``.yml``.
            overrides: such as ``optimizer.lr=0.05``; values are YAML.
            model: name or settings file of the network to train. What the recipe's section
                ``models`` sets for it replaces the general settings; the overrides replace both.

        Raises:
            ModelError: no such network.
            RecipeError: no such recipe, not YAML, or an unknown key or a bad value; a mistyped
                key's nearest known key is named.
        """
        model = None if model is None else model_named(model)
        values, where = read_values(name_or_path)
        values = with_model(values, model, where)
        for override in overrides:
            set_value(values, override)
        return cls.from_values(values, where)

    @classmethod
    def from_values(cls, values: dict[str, Any], where: str) -> Recipe:
        """Check a recipe's values; ``where`` names their origin in errors.

        Raises:
            RecipeError: unknown key or bad value.
        """
        check_keys(values, cls, where)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            found = first_problem(error)
            raise RecipeError(
                f"recipe {where}: {found.place}: {found.text}",
                code="bad-value",
                recipe=where,
                key=found.place,
                **facts_of(error),
            ) from None

    def going_on(self, epochs: int, lower: float, settings: Iterable[str], where: str) -> Recipe:
        """Return a recipe that goes on from what this one has trained, without a warm-up.

        Args:
            epochs: how many.
            lower: what the learning rate is divided by.
            settings: overrides, each ``KEY=VALUE``.
            where: names the recipe in errors.

        Raises:
            RecipeError: an override is wrong.
        """
        values = self.model_dump(mode="json")
        values["epochs"] = epochs
        values["optimizer"]["lr"] = self.optimizer.lr / lower
        values["schedule"]["warmup_epochs"] = 0
        for setting in settings:
            set_value(values, setting)
        return self.from_values(values, where)

    def to_yaml(self) -> str:
        """Return the whole recipe, defaults included, as YAML that :meth:`load` reads back."""
        text: str = yaml.safe_dump(
            self.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=100
        )
        return text
