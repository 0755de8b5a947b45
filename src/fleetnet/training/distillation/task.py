"""The task of a student: to answer as its teachers do."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from fleetnet.errors import RecipeError, at
from fleetnet.models.normalisation import Normalisation
from fleetnet.training.classification import Classification
from fleetnet.training.distillation.features import captured, shared_strides, stages_by_stride
from fleetnet.training.distillation.losses import DIVERGENCES, attention, decoupled
from fleetnet.training.distillation.opening import open_teachers
from fleetnet.training.distillation.scores import read_scores
from fleetnet.training.distillation.teachers import Teacher, averaged
from fleetnet.training.task import BatchLoss, Forward, TaskSetup


class Distillation(Classification):
    """Images with one class each, or with none: the answers of teachers are what is learned.

    The teachers see exactly what the student sees, the same crop, mirrored or mixed alike (Beyer et
    al. 2022), unless the recipe names a file of their answers.

    Args:
        setup: with the network, if feature maps are compared.
        teachers: opened already; those that the recipe names if None.

    Raises:
        RecipeError: settings do not go together, or images have several labels.
        FleetnetError: as :func:`fleetnet.training.distillation.opening.open_teachers`.
    """

    def __init__(self, setup: TaskSetup, teachers: tuple[Teacher, ...] | None = None) -> None:
        super().__init__(setup)
        self.settings = setup.recipe.distill
        _check(setup)
        self.labelled = setup.labelled
        self.scores = None
        self.teachers: tuple[Teacher, ...] = ()
        if self.settings.scores is not None:
            self.scores = read_scores(self.settings.scores, setup.samples, len(setup.classes))
        else:
            self.teachers = _teachers(setup) if teachers is None else teachers
        scale, shift = setup.recipe.input.preprocess().normalisation()
        self._denormalise = Normalisation(
            (1 / scale).astype(np.float32), (-shift / scale).astype(np.float32), setup.device
        )
        self._pairs: list[tuple[nn.Module, nn.Module]] = []
        if self.settings.feature_weight:
            self._pairs = _pairs(setup, self.teachers)

    def loss(
        self, forward: Forward, pixels: Tensor, labels: Tensor, rng: np.random.Generator
    ) -> BatchLoss:
        """Compute the loss of images that all have labels of their own, in no known order.

        Raises:
            RecipeError: the answers are to be looked up, which takes knowing the images.
        """
        if self.scores is not None:
            raise RecipeError("distill.scores: answers can be looked up only of a source's images")
        return self._loss(forward, pixels, labels, None, rng)

    def loss_of_samples(
        self,
        forward: Forward,
        pixels: Tensor,
        labels: Tensor,
        indices: Tensor,
        rng: np.random.Generator,
    ) -> BatchLoss:
        """Compute the loss; labels count only of images that have them of their own."""
        return self._loss(forward, pixels, labels, indices, rng)

    def _loss(
        self,
        forward: Forward,
        pixels: Tensor,
        labels: Tensor,
        indices: Tensor | None,
        rng: np.random.Generator,
    ) -> BatchLoss:
        pixels, targets = self.mixed(pixels, labels, rng)
        ours = [pair[0] for pair in self._pairs]
        theirs = [pair[1] for pair in self._pairs]
        with captured(ours) as maps, captured(theirs) as wanted_maps:
            logits = forward(pixels)
            wanted = self._answers(pixels, indices)
        settings = self.settings
        loss = (1 - settings.label_weight) * self._compared(logits, wanted, labels, indices)
        if settings.label_weight:
            loss = loss + settings.label_weight * self._of_labels(logits, targets, indices)
        for one, other in self._pairs:
            looks = attention(maps[one].float(), wanted_maps[other].float())
            loss = loss + settings.feature_weight / len(self._pairs) * looks
        return BatchLoss(loss, self.hits(logits, labels))

    def _answers(self, pixels: Tensor, indices: Tensor | None) -> Tensor:
        """Return the teachers' logarithms of probabilities, ``float32[N, K]``."""
        if self.scores is not None and indices is not None:
            return self.scores[indices].to(pixels.device, non_blocking=True)
        return averaged(self.teachers, self._denormalise.channels_last(pixels))

    def _compared(
        self, logits: Tensor, wanted: Tensor, labels: Tensor, indices: Tensor | None
    ) -> Tensor:
        settings = self.settings
        if settings.loss != "dkd":
            return DIVERGENCES[settings.loss](logits, wanted, settings.temperature)
        classes = wanted.argmax(1)
        own = self._own(indices, labels)
        classes = labels if own is None else labels.where(own, classes)
        return decoupled(
            logits,
            wanted,
            settings.temperature,
            classes,
            alpha=settings.dkd_alpha,
            beta=settings.dkd_beta,
        )

    def _of_labels(self, logits: Tensor, targets: Tensor, indices: Tensor | None) -> Tensor:
        """Return the recipe's loss of the images that have labels, as a share of all of them."""
        own = self._own(indices, targets)
        if own is None:
            return self.criterion(logits, targets)
        if not own.any():
            return logits.sum() * 0
        return self.criterion(logits[own], targets[own]) * own.float().mean()

    def _own(self, indices: Tensor | None, like: Tensor) -> Tensor | None:
        """Return ``bool[N]``, whether each image has a label of its own; None if all have."""
        if self.labelled is None or indices is None:
            return None
        return (indices < self.labelled).to(like.device, non_blocking=True)


def _teachers(setup: TaskSetup) -> tuple[Teacher, ...]:
    settings = setup.recipe.distill
    teachers = open_teachers(
        settings.teachers,
        setup.classes,
        setup.device,
        batch_statistics=settings.batch_statistics,
    )
    if settings.identities and settings.identities != tuple(one.identity for one in teachers):
        raise RecipeError(
            "the teacher is no longer the one that this run began with: put the file back, or "
            "begin a new run",
            key="distill.teachers",
        )
    return teachers


def _check(setup: TaskSetup) -> None:
    recipe = setup.recipe
    settings, augment = recipe.distill, recipe.augment
    mixes = bool(augment.mixup or augment.cutmix)
    if setup.multi_label:
        raise RecipeError("distill: a student learns images with one class each, not with several")
    if settings.scores is not None and (mixes or settings.feature_weight):
        other = "augment.mixup and augment.cutmix" if mixes else "distill.feature_weight"
        raise RecipeError(
            f"distill.scores: answers of whole images do not go with {other}: leave one out",
            key="distill.scores",
        )
    if mixes and setup.labelled is not None and settings.label_weight:
        raise RecipeError(
            "distill.label_weight: images without labels cannot be mixed with others that have "
            "some: turn off augment.mixup and augment.cutmix, or set distill.label_weight=0",
            key="distill.label_weight",
            settings=["distill.label_weight"],
        )
    if mixes and settings.loss == "dkd":
        raise RecipeError(
            "distill.loss: dkd needs one class an image: turn off augment.mixup and augment.cutmix",
            key="distill.loss",
        )
    if settings.feature_weight and recipe.compile:
        raise RecipeError(
            "distill.feature_weight: a compiled network cannot be looked into: set compile=false",
            key="distill.feature_weight",
            settings=["compile"],
        )


def _pairs(setup: TaskSetup, teachers: tuple[Teacher, ...]) -> list[tuple[nn.Module, nn.Module]]:
    """Return the modules whose maps are compared: the student's and a teacher's, stage by stage."""
    if setup.network is None:
        raise RecipeError("distill.feature_weight: there is no network to look into")
    networks: list[tuple[nn.Module, int]] = []
    for teacher in teachers:
        if teacher.network is None:
            raise RecipeError(
                f"distill.feature_weight: the teacher {teacher.name} is a graph, which cannot be "
                "looked into: give a checkpoint, or a bundle with weights",
                key="distill.feature_weight",
            )
        networks.append((teacher.network, teacher.preprocess.crop))
    ours = stages_by_stride(setup.network, setup.recipe.input.crop)
    theirs = [stages_by_stride(network, size) for network, size in networks]
    strides = shared_strides(ours, theirs)
    if not strides:
        raise RecipeError(
            "distill.feature_weight: student and teacher have no feature maps of equal stride",
            key="distill.feature_weight",
        )
    return [(ours[stride], each[stride]) for each in theirs for stride in strides]


def distillation(setup: TaskSetup) -> Distillation:
    """Return the student's task as the recipe describes it.

    Raises:
        RecipeError: as :class:`Distillation`.
    """
    try:
        return Distillation(setup)
    except RecipeError as error:
        raise at(f"recipe {setup.recipe.name}", error, RecipeError) from None
