"""Finding the columns of a table by their usual headings."""

from __future__ import annotations

from collections.abc import Sequence

from fleetnet.errors import DataError, nearest
from fleetnet.text import first_few

IMAGE = (
    "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img",
    "img_path", "image_name", "image_id",
    "id",  # last: it is the image's only if no other column is
)  # fmt: skip
LABEL = (
    "label", "class", "target", "category", "labels", "class_name", "label_name", "class_id",
    "fine_label", "y",
)  # fmt: skip
SPLIT = ("split", "part", "set", "subset", "partition")


def column(
    wanted: str | None, usual: Sequence[str], headings: Sequence[str], what: str, argument: str
) -> str:
    """Return the heading of the column that is wanted, or of the first usual one.

    Raises:
        DataError: there is none; the message shows the headings and names the argument.
    """
    found = find_column(wanted, usual, headings, what)
    if found is None:
        raise DataError(
            f"no column for the {what} among {_shown(headings)}: name it with {argument}= "
            f"(looked for {', '.join(usual)})",
            arguments=[argument],
            given=wanted,
            known=list(headings),
        )
    return found


def find_column(
    wanted: str | None, usual: Sequence[str], headings: Sequence[str], what: str
) -> str | None:
    """Return the heading of the column that is wanted, or of the first usual one, or None.

    Raises:
        DataError: the one that is wanted is not there.
    """
    if wanted is not None:
        if wanted not in headings:
            raise DataError(
                f"no column '{wanted}' for the {what}{nearest(wanted, headings)} "
                f"(there are: {_shown(headings)})",
                code="unknown-column",
                given=wanted,
                known=list(headings),
            )
        return wanted
    by_folded = {heading.strip().casefold(): heading for heading in reversed(headings)}
    return next((by_folded[name] for name in usual if name in by_folded), None)


def _shown(headings: Sequence[str]) -> str:
    return first_few([f"'{heading[:40]}'" for heading in headings], 12)
