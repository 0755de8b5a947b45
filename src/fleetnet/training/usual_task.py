"""The task that a recipe asks for."""

from __future__ import annotations

from fleetnet.training.classification import classification
from fleetnet.training.task import Task, TaskSetup


def usual_task(setup: TaskSetup) -> Task:
    """Return the student's task if the recipe names teachers, else that of the labels.

    Raises:
        FleetnetError: as :class:`fleetnet.training.distillation.task.Distillation`.
    """
    if not setup.recipe.distill.on:
        return classification(setup)
    from fleetnet.training.distillation.task import distillation

    return distillation(setup)
