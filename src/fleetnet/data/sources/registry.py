"""The kinds of data there are: each file of this folder with one, and those of other packages."""

from __future__ import annotations

from fleetnet.data.sources.kind import SourceKind
from fleetnet.registration import Registry

SOURCES = Registry(
    "data source",
    SourceKind,
    package=__name__.rpartition(".")[0],
    attribute="SOURCE",
    group="fleetnet.sources",
    order=lambda kind: (kind.rank, kind.name),
)
"""Every kind of data by its name but class folders, which any folder is that no kind takes."""
