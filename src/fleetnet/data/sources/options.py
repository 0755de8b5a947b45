"""The options of sources."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from fleetnet.data.sources.labels import MultiLabel
from fleetnet.errors import DataError, unknown

SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|", "\\t": "\t"}
"""Words for separators that are hard to type."""
BadShards = Literal["stop", "skip"]
_PATHS = ("root", "classes", "val_list")


@dataclass(frozen=True)
class SourceOptions:
    """Options of sources; each kind of source takes some and refuses the others.

    Attributes:
        label: which of the source's labels to learn, for ``elpv``.
        root: folder that the paths in a list or CSV file are relative to.
        separator: between the columns of a list or CSV file.
        classes: file with the names of the classes: one in each line, or ``id name``.
        val_list: list file of the validation images.
        image_column: column with the path or the image.
        label_columns: column with the label; a JSON file's key; several columns of 0 and 1.
        split_column: column that says train or val.
        multi_label: how labels are written if images have any number of them.
        label_separator: between several labels of an image.
        bad_shards: what is done about a shard that cannot be read when the data is opened:
            ``stop``, as if None, or ``skip``.

    Raises:
        DataError: a separator or the value of ``multi_label`` or ``bad_shards`` is not known.
    """

    label: str | None = None
    root: str | None = None
    separator: str | None = None
    classes: str | None = None
    val_list: str | None = None
    image_column: str | None = None
    label_columns: tuple[str, ...] = ()
    split_column: str | None = None
    multi_label: MultiLabel | None = None
    label_separator: str | None = None
    bad_shards: BadShards | None = None

    def __post_init__(self) -> None:
        for field in ("separator", "label_separator"):
            value = getattr(self, field)
            object.__setattr__(self, field, SEPARATORS.get(value, value))
            if value == "":
                raise DataError(
                    f"{argument(field)} is empty: give a character, such as 'comma'",
                    arguments=[field],
                )
        self._check_word("multi_label", get_args(MultiLabel))
        self._check_word("bad_shards", get_args(BadShards))

    def _check_word(self, field: str, known: Collection[str]) -> None:
        value = getattr(self, field)
        if value is not None and value not in known:
            raise unknown(f"value of {argument(field)}", value, known, DataError, arguments=[field])

    @property
    def label_column(self) -> str | None:
        """The only column, or key of a JSON file, that was named for the label, or None."""
        return self.label_columns[0] if self.label_columns else None

    def refuse_several_label_columns(self) -> None:
        """Refuse labels in several places, which tables alone can have.

        Raises:
            DataError: several were named.
        """
        if len(self.label_columns) > 1:
            raise DataError(
                f"shards have their labels in one place, not in {len(self.label_columns)}: give "
                f"one in {argument('label_columns')}",
                arguments=["label_columns"],
            )

    def refuse_all_but(self, meant: Collection[str], kind: str) -> None:
        """Refuse options that do not apply to a kind of source.

        Args:
            meant: names of the fields that it takes.
            kind: the kind of source, in the plural.

        Raises:
            DataError: another one is set; the message names it.
        """
        for field in fields(self):
            if field.name not in meant and getattr(self, field.name) != field.default:
                known = ", ".join(argument(name) for name in meant)
                raise DataError(
                    f"{argument(field.name)} has no meaning for {kind}"
                    + (f" (they take {known})" if known else ""),
                    arguments=[field.name, *meant],
                )

    def spec(self, data: str | Path) -> dict[str, str]:
        """Return a source's spec: the options that are set and the data's place, as full paths."""
        found: dict[str, Any] = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }
        for name in _PATHS:
            if name in found:
                found[name] = str(Path(found[name]).resolve())
        if "label_columns" in found:
            found["label_columns"] = json.dumps(found["label_columns"])
        return {"data": str(data), **found}

    @classmethod
    def from_spec(cls, spec: Mapping[str, str]) -> SourceOptions:
        """Return the options of a spec.

        Raises:
            DataError: it has a key or value that is not known.
        """
        known = {field.name for field in fields(cls)}
        for key in spec:
            if key != "data" and key not in known:
                raise DataError(f"the description of the data has an unknown key '{key}'")
        found: dict[str, Any] = {key: value for key, value in spec.items() if key != "data"}
        columns = found.pop("label_columns", "[]")
        try:
            return replace(cls(**found), label_columns=tuple(map(str, json.loads(columns))))
        except (TypeError, ValueError):
            raise DataError("the description of the data has damaged label_columns") from None


def argument(field: str) -> str:
    """Return a field as a message names it; the command line has its flag there."""
    return f"{field}="
