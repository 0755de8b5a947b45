"""What checks with a conformance set found, of an installation or of bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fleetnet.conformance.bundles import BundleCheck
from fleetnet.conformance.check import Check, Difference
from fleetnet.conformance.files import ConformanceSet
from fleetnet.errors import VerificationError


@dataclass(frozen=True)
class InstallationReport:
    """The checks of an installation.

    Attributes:
        found: the set.
        checks: in turn, see :func:`fleetnet.conformance.check.check_installation`.
    """

    found: ConformanceSet
    checks: Sequence[Check]

    @property
    def differences(self) -> list[Difference]:
        """Every answer that is not the set's."""
        return [difference for check in self.checks for difference in check.differences]

    @property
    def failure(self) -> VerificationError | None:
        """What is wrong with the installation, None if nothing is."""
        differences = self.differences
        if not differences:
            return None
        answers = sum(check.answers for check in self.checks)
        return VerificationError(
            f"{len(differences)} of {answers} answers are not the conformance set's, the first: "
            f"{differences[0]}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "passed": not self.differences,
            "set": str(self.found.path),
            "written_by": self.found.description.written_by,
            "checks": [check.to_json() for check in self.checks],
        }


@dataclass(frozen=True)
class BundlesReport:
    """The checks of bundles.

    Attributes:
        found: the set.
        checks: what each was called, and its check.
    """

    found: ConformanceSet
    checks: Sequence[tuple[str, BundleCheck]]

    @property
    def differences(self) -> list[tuple[Difference, ...]]:
        """The inputs of each bundle that are not the reference's."""
        return [check.inputs.differences for _, check in self.checks]

    @property
    def failures(self) -> list[VerificationError]:
        """What is wrong with each bundle that failed."""
        return [failure for name, check in self.checks if (failure := check.failure(name))]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "passed": not self.failures,
            "set": str(self.found.path),
            "models": [{"model": name, **check.to_json()} for name, check in self.checks],
        }
