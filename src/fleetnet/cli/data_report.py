"""A data check's findings as text: what matters in a screenful, whatever the number of classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fleetnet.amounts import count
from fleetnet.cli.console import shorten
from fleetnet.cli.flags import with_flags
from fleetnet.data.findings import Alike, ClassCount, Report, Sizes
from fleetnet.labels import printable

SHOWN_CLASSES = 12
"""Of more classes, the largest and the smallest are shown."""
EXAMPLES = 3
UNEVEN = 3.0
"""Largest class over smallest from which balancing is worth a try."""

_NAME = 36
"""Columns of a class's name."""
_HEADING = 17


def print_report(out: Console, report: Report) -> None:
    """Print what was found, what is wrong last."""
    _print_classes(out, report)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, min_width=_HEADING)
    table.add_column(overflow="fold")
    for heading, text in _rows(report):
        table.add_row(heading, text)
    out.print(table)
    out.print()
    if report.wrong:
        for line in report.wrong:
            out.print(Text.assemble(("wrong: ", "bold red"), printable(with_flags(line))))
    else:
        out.print("nothing found that makes training wrong")


def _print_classes(out: Console, report: Report) -> None:
    held = sum(entry.val for entry in report.classes)
    tested = sum(entry.test for entry in report.classes)
    split = "" if report.split_error else f", {held:,} held out"
    split += f", {tested:,} to test on" if tested else ""
    kind = ", any number of labels an image" if report.multi_label else ""
    out.print(
        f"{printable(report.source)}: {count(report.images, 'image')} in "
        f"{count(len(report.classes), 'class')}{split}{kind}"
    )
    for note in report.notes:
        out.print(printable(with_flags(note)), markup=False)
    out.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class", no_wrap=True)
    for heading in ("images", "share", "train", "held out", *(["test"] if tested else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in _extremes(report.classes):
        if entry is None:
            hidden = len(report.classes) - 2 * (SHOWN_CLASSES // 2)
            table.add_row(f"… {hidden:,} classes between")
            continue
        sides = ["–", "–"] if report.split_error else [f"{entry.train:,}", f"{entry.val:,}"]
        sides += [f"{entry.test:,}"] if tested else []
        share = f"{entry.images / report.images:.1%}"
        table.add_row(shorten(entry.name, _NAME), f"{entry.images:,}", share, *sides)
    out.print(table)
    out.print()


def _extremes(classes: Sequence[ClassCount]) -> Iterable[ClassCount | None]:
    """Yield the classes from large to small, None for those in the middle of very many."""
    ordered = sorted(classes, key=lambda entry: -entry.images)
    if len(ordered) <= SHOWN_CLASSES:
        yield from ordered
        return
    half = SHOWN_CLASSES // 2
    yield from ordered[:half]
    yield None
    yield from ordered[-half:]


def _rows(report: Report) -> Iterable[tuple[str, str]]:
    yield "class names", _odd_names(report)
    yield "imbalance", _imbalance(report)
    if report.sizes:
        yield from _size_rows(report.sizes)
    if report.formats:
        yield "formats", _tally(report.formats)
        yield "modes", _tally(report.modes)
        yield "turned by EXIF", f"{report.turned:,}"
    reasons = [f"{entry.name}: {entry.reason}" for entry in report.unreadable]
    yield "unreadable", _some(len(reasons), reasons)
    yield "blank", _some(len(report.blank), report.blank)
    yield "identical files", _groups(report)
    yield "near duplicates", _near(report)


def _odd_names(report: Report) -> str:
    lines = [printable(odd.reason) for odd in report.odd_names]
    return "\n".join([*lines[:SHOWN_CLASSES], *(["…"] if len(lines) > SHOWN_CLASSES else [])]) or (
        "nothing odd"
    )


def _imbalance(report: Report) -> str:
    figures = report.imbalance
    largest, smallest = shorten(figures["largest"], _NAME), shorten(figures["smallest"], _NAME)
    effective = f"as varied as {figures['effective_classes']:.3g} equal classes"
    baseline = f"always answering '{largest}' scores {figures['majority_share']:.1%}"
    ratio = figures["ratio"]
    if ratio is None:
        return f"'{smallest}' has no images; {baseline}; {effective}"
    if ratio == 1:
        return f"none: every class has the same number; {baseline}"
    advice = "" if ratio < UNEVEN else "; try --set data.sampling=balanced in training"
    return f"largest {ratio:.1f}× smallest ('{smallest}'); {baseline}; {effective}{advice}"


def _size_rows(sizes: Sizes) -> Iterable[tuple[str, str]]:
    sides = [
        f"{name} {side.least:.0f} / {side.median:.0f} / {side.most:.0f}"
        for name, side in (("width", sizes.width), ("height", sizes.height))
    ]
    yield "pixels", f"{', '.join(sides)} (least / median / most)"
    ratio = sizes.aspect_ratio
    yield "aspect ratio", f"{ratio.median:.2f}, at most {ratio.most:.2f} (longer side / shorter)"
    yield "below the input", f"{sizes.below_input:,} have a side shorter than {sizes.input} px"
    yield (
        "bytes",
        f"{_bytes(sizes.total_bytes)} in all; {_bytes(sizes.bytes.least)} / "
        f"{_bytes(sizes.bytes.median)} / {_bytes(sizes.bytes.most)} an image",
    )


def _groups(report: Report) -> str:
    groups = report.duplicates
    if not groups:
        return "0"
    surplus = sum(len(group.names) - 1 for group in groups)
    return (
        f"{count(len(groups), 'group')}, {count(surplus, 'file')} too many{_across(groups)}"
        f"{_examples([' = '.join(group.names[:4]) for group in _worst_first(groups)])}"
    )


def _near(report: Report) -> str:
    near = report.near_duplicates
    if near is None:
        return "not looked for: ImageHash is not installed"
    if not near.pairs:
        return f"0 (at most {near.distance} of 64 bits apart)"
    examples = [f"{' ~ '.join(pair.names)} ({pair.distance})" for pair in near.pairs]
    more = "" if near.complete else " or more (search stopped: lower --near)"
    return (
        f"{count(len(near.pairs), 'pair')}{more} at most {near.distance} of 64 bits apart"
        f"{_across(near.pairs)}{_examples(examples)}"
    )


def _worst_first(groups: Sequence[Alike]) -> list[Alike]:
    return sorted(groups, key=lambda group: (not group.across_split, not group.across_classes))


def _across(groups: Sequence[Alike]) -> str:
    classes = sum(group.across_classes for group in groups)
    sides = sum(group.across_split for group in groups)
    return f"; {classes:,} across classes, {sides:,} across the split"


def _some(number: int, examples: Sequence[str]) -> str:
    return f"{number:,}{_examples(examples)}"


def _examples(lines: Sequence[str]) -> str:
    shown = [printable(with_flags(line)) for line in lines[:EXAMPLES]]
    if len(lines) > EXAMPLES:
        shown.append("…")
    return "".join(f"\n{line}" for line in shown)


def _tally(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())


def _bytes(number: float) -> str:
    if number < 1024:
        return f"{number:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        number /= 1024
        if number < 1024:
            return f"{number:.1f} {unit}"
    return f"{number / 1024:.1f} TiB"
