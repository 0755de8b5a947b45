"""The reference: how classes, confidence and pictures of evaluation data are distributed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, FiniteFloat, ValidationError, model_validator

from fleetnet.bundle.strict import Strict
from fleetnet.errors import FleetnetError
from fleetnet.evaluation.drift.bins import BINS, GROUPS, Numbers, bins_of, edges_of, groups_of
from fleetnet.evaluation.drift.statistics import CLASS, CONFIDENCE, PICTURE, Statistic
from fleetnet.files import atomic_file
from fleetnet.json_text import json_text
from fleetnet.schema import first_problem
from fleetnet.text import first_few

FORMAT: Literal["fleetnet-reference"] = "fleetnet-reference"
MAX_BYTES = 16 * 2**20
MAX_CLASSES = 100_000

Count = Annotated[int, Field(ge=0, le=2**53)]
NUMBERS: tuple[Statistic, ...] = (CONFIDENCE, *PICTURE)
"""What is binned by edges."""


class Distribution(Strict):
    """A statistic's bins, and how many images of the reference are in each."""

    edges: tuple[FiniteFloat, ...] = Field(min_length=1, max_length=BINS + 1)
    """Upper edges of all bins but the last."""
    counts: tuple[Count, ...] = Field(min_length=2, max_length=BINS + 2)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Distribution:
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError("the edges do not rise")
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError(f"{len(self.counts)} counts for {len(self.edges)} edges")
        return self

    @classmethod
    def of(cls, values: Numbers) -> Distribution:
        """Return the distribution of at least one value."""
        edges = edges_of(values)
        counts = np.bincount(bins_of(values, edges), minlength=len(edges) + 1)
        return cls(edges=edges, counts=tuple(counts.tolist()))


class ClassDistribution(Strict):
    """The group of each class, and how many images of the reference each group has."""

    groups: tuple[Annotated[int, Field(ge=0, lt=GROUPS)], ...] = Field(
        min_length=1, max_length=MAX_CLASSES
    )
    counts: tuple[Count, ...] = Field(min_length=1, max_length=GROUPS)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> ClassDistribution:
        if set(self.groups) != set(range(len(self.counts))):
            raise ValueError(f"the groups are not those of {len(self.counts)} counts")
        return self

    @classmethod
    def of(cls, answers: npt.NDArray[np.intp], classes: int) -> ClassDistribution:
        """Return the distribution of answers among so many classes."""
        groups = groups_of(np.bincount(answers, minlength=classes))
        counts = np.bincount(np.asarray(groups)[answers], minlength=max(groups) + 1)
        return cls(groups=groups, counts=tuple(counts.tolist()))


class Reference(Strict):
    """How evaluation data is distributed, and of which network its answers are.

    Attributes:
        classes: of the network, in order.
        bundle: SHA-256 of the bundle whose answers they are, as a server names it; None if it was
            no bundle.
        images: that were measured.
        answers: the most probable classes.
        numbers: confidence and the figures of the pictures.
    """

    format: Literal["fleetnet-reference"] = FORMAT
    format_version: Literal[1] = 1
    classes: tuple[str, ...] = Field(min_length=1, max_length=MAX_CLASSES)
    bundle: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    images: Count = Field(ge=1)
    source: str = Field("", max_length=10_000)
    answers: ClassDistribution
    numbers: dict[Statistic, Distribution]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Reference:
        if len(self.answers.groups) != len(self.classes):
            raise ValueError(
                f"{len(self.answers.groups)} groups for {len(self.classes)} class names"
            )
        missing = [name for name in NUMBERS if name not in self.numbers]
        if missing:
            raise ValueError(f"the statistic '{missing[0]}' is missing")
        counts = {CLASS: self.answers.counts}
        counts.update({name: one.counts for name, one in self.numbers.items()})
        for name, found in counts.items():
            if sum(found) != self.images:
                raise ValueError(f"the counts of '{name}' are not those of {self.images} images")
        return self

    @classmethod
    def of(
        cls,
        classes: tuple[str, ...],
        answers: npt.NDArray[np.intp],
        numbers: Mapping[Statistic, Numbers],
        *,
        bundle: str | None = None,
        source: str = "",
    ) -> Reference:
        """Return the reference of images.

        Args:
            classes: names of the network's.
            answers: the most probable class of each image, ``intp[N]``.
            numbers: each of :data:`NUMBERS`, ``float64[N]``.
            bundle: as the attribute.
            source: where the images are from, for people.
        """
        return cls(
            classes=classes,
            bundle=bundle,
            images=len(answers),
            source=source,
            answers=ClassDistribution.of(answers, len(classes)),
            numbers={name: Distribution.of(numbers[name]) for name in NUMBERS},
        )

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read a reference, and check it: it may be anybody's.

        Raises:
            FleetnetError: it cannot be read, or is none.
        """
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise FleetnetError(f"cannot read {path}: {error.strerror}") from None
        if len(data) > MAX_BYTES:
            raise FleetnetError(f"{path} is no reference: it is larger than {MAX_BYTES >> 20} MiB")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            key, text = first_problem(error)
            where = f"{key}: " if key else ""
            raise FleetnetError(
                f"{path} is no reference as 'fleetnet evaluate' writes it: {where}{text}"
            ) from None

    def save(self, path: Path) -> None:
        """Write it, whole or not at all.

        Raises:
            FleetnetError: it cannot be written.
        """
        with atomic_file(path) as temporary:
            temporary.write_text(json_text(self.model_dump(), indent=None) + "\n", "utf-8")

    def check_fits(self, classes: tuple[str, ...], where: str) -> None:
        """Refuse a network of other classes.

        Raises:
            FleetnetError: names the reference as ``where``.
        """
        if self.classes != classes:
            raise FleetnetError(
                f"{where} is the reference of a network of other classes "
                f"({first_few(self.classes, 5)}; this one has {first_few(classes, 5)}): make one "
                "with 'fleetnet evaluate' of this one"
            )
