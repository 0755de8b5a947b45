"""A distillation as a person asks for it, and what of it goes into each of its trainings."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetnet.amounts import count
from fleetnet.data.contents import are_among
from fleetnet.data.sources import Indices, Source, SourceOptions
from fleetnet.errors import DataError, FleetnetError, OvertakenError
from fleetnet.files import atomic_file
from fleetnet.locks import locked
from fleetnet.reporting import Say
from fleetnet.training.distillation.opening import TIMM
from fleetnet.training.distillation.teachers import Teacher
from fleetnet.training.recipe import Recipe

SELF = "self"
"""A teacher that is yet to be trained: the student's own network, on the labels alone (Furlanello
et al. 2018)."""
TEACHER, POOL, DISTILLED, FINETUNED = "teacher", "pool", "distilled", "finetuned"
"""Folders within that of a distillation."""
REQUEST = "distill.json"
SHORTER, LOWER = 12, 100
"""By what the published recipe divides epochs and learning rate to fine-tune: 30 epochs after 360,
from 0.0054 after 0.54 for MobileNetV2."""


@dataclass(frozen=True)
class Work:
    """What is asked for.

    Attributes:
        folder: for all that is made.
        data: the labelled images.
        options: how to open them.
        student: name of the network to train.
        teachers: words, each of which names one; or :data:`SELF`.
        unlabelled: folders of more images.
        distance: in how many bits the hashes of near duplicates may differ.
        most: how many unlabelled images are chosen for a class; None for all.
        looked_up: whether the teachers' answers are computed once, not for each variation.
        recipe: of the long training.
        finetuning: of the short one after it; None for none.
        weights: that the student starts from; None for none.
    """

    folder: Path
    data: str
    options: SourceOptions
    student: str
    teachers: tuple[str, ...]
    unlabelled: tuple[str, ...]
    distance: int
    most: int | None
    looked_up: bool
    recipe: Recipe
    finetuning: Recipe | None
    weights: str | None

    def to_json(self) -> dict[str, Any]:
        """Return all that decides on the result, as JSON values."""
        return {
            "data": self.options.spec(_whole(self.data)),
            "student": self.student,
            "teachers": list(self.teachers),
            "unlabelled": [str(Path(folder).resolve()) for folder in self.unlabelled],
            "distance": self.distance,
            "most": self.most,
            "looked_up": self.looked_up,
            "recipe": self.recipe.model_dump(mode="json"),
            "finetuning": None
            if self.finetuning is None
            else self.finetuning.model_dump(mode="json"),
            "weights": self.weights,
        }

    @contextlib.contextmanager
    def begun(self) -> Iterator[None]:
        """Keep other processes out of the folder while the block runs.

        If the block ends before :meth:`record`, a folder that was not there is gone again.

        Raises:
            OvertakenError: another process is at work there.
            FleetnetError: something else was begun there.
        """
        from filelock import Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.folder / ".lock"
        try:
            with locked(lock, 0):
                self._compare()
                try:
                    yield
                finally:
                    if not (self.folder / REQUEST).exists():
                        lock.unlink(missing_ok=True)
                        with contextlib.suppress(OSError):
                            self.folder.rmdir()  # which removes only an empty one
        except Timeout:
            raise OvertakenError(
                f"another process distils in {self.folder}: wait for it, or choose another output=",
                arguments=["output"],
            ) from None

    def record(self) -> None:
        """Write what is asked for, to be compared with what a second command asks for."""
        with atomic_file(self.folder / REQUEST) as file:
            file.write_text(json.dumps(self.to_json(), indent=2) + "\n", "utf-8")

    def _compare(self) -> None:
        path, now = self.folder / REQUEST, json.loads(json.dumps(self.to_json()))
        try:
            before = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError):
            raise FleetnetError(
                f"{path} cannot be read: choose another output=", arguments=["output"]
            ) from None
        if before != now:
            known = before if isinstance(before, dict) else {}
            changed = [key for key in now if known.get(key) != now[key]]
            raise FleetnetError(
                f"{self.folder} holds another distillation ({', '.join(changed)} differ): give "
                "what it was begun with to go on with it, or choose another output=",
                arguments=["output"],
            )

    @property
    def plain_recipe(self) -> Recipe:
        """The recipe without teachers, for :data:`SELF`."""
        return self.recipe.model_copy(update={"distill": type(self.recipe.distill)()})


def whole_word(word: str) -> str:
    """Return a teacher's word with a full path, if it is one, so that it holds from anywhere."""
    begins, name, file = "", "", word
    if word.startswith(TIMM) and word.count(":") > 1:
        begins, name, file = word.split(":", 2)
    whole = _whole(file)
    return f"{begins}:{name}:{whole}" if begins else whole


def taught_by(
    recipe: Recipe, words: Sequence[str], teachers: Sequence[Teacher], scores: Path | None
) -> Recipe:
    """Return a recipe with its teachers, or with the file of their answers."""
    changes: dict[str, Any] = {
        "teachers": tuple(words),
        "identities": tuple(one.identity for one in teachers),
        "scores": None if scores is None else str(scores.resolve()),
    }
    return recipe.model_copy(update={"distill": recipe.distill.model_copy(update=changes)})


def finetuning_of(
    recipe: Recipe, epochs: int | None, settings: Sequence[str], *, wanted: bool
) -> Recipe | None:
    """Return the recipe of the short training on the labelled images, or None for none.

    Args:
        recipe: of the long one.
        epochs: how many; None for a :data:`SHORTER` part, 0 for none.
        settings: overrides, each ``KEY=VALUE``.
        wanted: whether there is one if ``epochs`` is None.

    Raises:
        RecipeError: an override is wrong.
    """
    if epochs == 0 or (epochs is None and not wanted and not settings):
        return None
    epochs = epochs or max(round(recipe.epochs / SHORTER), 1)
    return recipe.going_on(epochs, LOWER, settings, "of the fine-tuning")


def check_source(source: Source) -> None:
    """Refuse data that no student can be taught.

    Raises:
        DataError: images have several labels.
    """
    if source.multi_label:
        raise DataError(
            f"{source.description} has images with several labels: distillation is for images with "
            "one class each"
        )


def check_teachers(
    source: Source, held_out: Indices, teachers: Sequence[Teacher], say: Say
) -> None:
    """Report how many held-out images teachers were trained on, whose labels they pass on."""
    for teacher in teachers:
        if len(teacher.trained_images):
            known = int(are_among(source, held_out, teacher.trained_images).sum())
            if known:
                say(
                    f"the teacher {teacher.name} was trained on {known} of the "
                    f"{count(len(held_out), 'held-out image')}: the student's figures on those may "
                    "be too good; train both with one seed, or with a val/ of your own"
                )


def _whole(word: str) -> str:
    path = Path(word)
    try:
        return str(path.resolve()) if path.exists() else word
    except OSError:
        return word
