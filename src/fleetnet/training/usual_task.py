"""The task that a recipe asks for."""

from __future__ import annotations

from fleetnet.errors import RecipeError
from fleetnet.training.classification import classification
from fleetnet.training.task import Task, TaskSetup


def usual_task(setup: TaskSetup) -> Task:
    """Return the student's task if the recipe names teachers, else that of the labels.

    Raises:
        RecipeError: the recipe says how to learn from teachers, and names none.
        FleetnetError: as :class:`fleetnet.training.distillation.task.Distillation`.
    """
    settings = setup.recipe.distill
    if not settings.on:
        if settings != type(settings)():
            raise RecipeError(
                f"recipe {setup.recipe.name}: distill has settings but no teacher: name one in "
                "distill.teachers, or use 'fleetnet distill'",
                key="distill.teachers",
            )
        return classification(setup)
    from fleetnet.training.distillation.task import distillation

    return distillation(setup)
