"""The ELPV data set, from its package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from fleetnet.data.sources.files import ImageFiles
from fleetnet.data.sources.kind import SourceKind
from fleetnet.data.sources.samples import SampleTable
from fleetnet.errors import DataError, nearest, require

ELPV = "elpv"


class ElpvSource(ImageFiles):
    """The ELPV solar cells: 2,624 electroluminescence images (Deitsch et al. 2019).

    Args:
        label: ``type`` (monocrystalline or polycrystalline) or ``defect`` (whether the experts'
            defect probability is above 0.5).

    Raises:
        FleetnetError: the package ``elpv-dataset`` is not installed.
        DataError: there is no such label.
    """

    multi_label = False

    def __init__(self, label: str = "type") -> None:
        if label not in ("type", "defect"):
            raise DataError(
                f"unknown label '{label}' of the ELPV data{nearest(label, ('type', 'defect'))} "
                "(known: type, defect)"
            )
        spec = importlib.util.find_spec("elpv_dataset")
        if spec is None or not spec.submodule_search_locations:
            raise require("elpv-dataset", "demo", "the data set 'elpv'")
        self.root = Path(spec.submodule_search_locations[0]) / "data"
        self.description = f"ELPV solar cells, label {label}"
        self.spec = {"data": ELPV, "label": label}
        self.classes: tuple[str, ...] = (
            ("mono", "poly") if label == "type" else ("functional", "defective")
        )
        with (self.root / "labels.csv").open(encoding="utf-8") as file:
            rows = [row.split() for row in file if row.strip()]
        self.samples = SampleTable(
            [name for name, _, _ in rows],
            [
                int(kind == "poly" if label == "type" else float(probability) > 0.5)
                for _, probability, kind in rows
            ],
        )


SOURCE = SourceKind(
    name=ELPV,
    title=f"'{ELPV}'",
    open=lambda _, options: ElpvSource(options.label or "type"),
    options=("label",),
    words=(ELPV,),
    rank=0,
)
