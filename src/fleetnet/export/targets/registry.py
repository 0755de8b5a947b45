"""The targets there are: each file of this folder that has one, and those of other packages."""

from __future__ import annotations

from fleetnet.export.targets.target import Target
from fleetnet.registration import Registry

TARGETS = Registry(
    "target",
    Target,
    package=__name__.rpartition(".")[0],
    attribute="TARGET",
    group="fleetnet.targets",
)
"""Every target by its name, those whose packages are not installed included."""
