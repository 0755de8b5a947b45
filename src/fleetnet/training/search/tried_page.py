"""What a search tried, as one HTML file that needs no network and no other file."""

from __future__ import annotations

import importlib.metadata
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from fleetnet.amounts import NONE, count, share
from fleetnet.evaluation import charts
from fleetnet.files import atomic_file
from fleetnet.text import shorten
from fleetnet.training.search.outcome import left_out
from fleetnet.training.search.plan import spoken, timed
from fleetnet.training.search.state import SearchState, Trial

_WIDE = (9.2, 4.2)
_ENDINGS = {"out of time": "by the clock", "diverged": "diverged", "running": "interrupted"}


def write_page(path: Path, state: SearchState, model: str, command: str = "") -> None:
    """Write the page; ``path`` is then either whole or unchanged.

    Args:
        path: the ``.html`` file.
        state: of a search that has come to its last training.
        model: the bundle, as people find it.
        command: as it was typed, if it was.

    Raises:
        FleetnetError: the disk is full, or the place cannot be written to.
    """
    page = render(state, model, command)
    with atomic_file(path) as file:
        # A file's name may be invalid Unicode, which a page cannot hold.
        file.write_text(page, "utf-8", "backslashreplace")


def render(state: SearchState, model: str, command: str = "") -> str:
    """Return the page's HTML; see :func:`write_page`."""
    last = state.last
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["clip"] = lambda text: shorten(str(text), 160)
    template = resources.files("fleetnet.training.search").joinpath("page", "search.html")
    style = resources.files("fleetnet.evaluation").joinpath("page", "report.css")
    return environment.from_string(template.read_text("utf-8")).render(
        style=style.read_text("utf-8"),
        version=importlib.metadata.version("fleetnet"),
        command=command,
        data=state.data,
        model=model,
        cards=_cards(state),
        best=None if last is None else state.candidates[last.candidate].title,
        rows=[_row(state, trial) for trial in [*state.trials, *([last] if last else [])]],
        left_out=[(state.candidates[place].title, why) for place, why in left_out(state)],
        chart=charts.svg(lambda axes: _draw(axes, state), _WIDE, "search"),
        inner=f"{count(state.train_images, 'image')} to train and "
        f"{state.val_images:,} to compare with",
        held_out=count(state.held_out_images, "held-out image"),
    )


def _cards(state: SearchState) -> list[tuple[str, str, str]]:
    """Return the headline: titles, figures and what is to be known of them."""
    last = state.last
    searched = sum(trial.seconds for trial in state.trials)
    tried = len({trial.candidate for trial in state.trials})
    return [
        (
            "held-out top-1",
            share(last.score if last else None),
            f"of {count(state.held_out_images, 'image')} that chose nothing",
        ),
        ("candidates tried", f"{tried} of {len(state.candidates)}", f"in {timed(searched)}"),
        (
            "last training",
            timed(last.seconds) if last else NONE,
            count(len(last.points), "epoch") if last else "",
        ),
        ("time", timed(state.spent_s), f"budget {spoken(state.budget_s)}"),
    ]


def _row(state: SearchState, trial: Trial) -> dict[str, Any]:
    is_last = trial is state.last
    short = len(trial.points) < trial.epochs
    return {
        "round": "last" if is_last else trial.rung,
        "title": state.candidates[trial.candidate].title,
        "lr": f"{trial.lr:.2g}",
        "epochs": f"{len(trial.points)} of {trial.epochs}" if short else str(trial.epochs),
        "time": timed(trial.seconds),
        "top1": share(trial.score),
        "images": "held out" if is_last else "inner",
        "ending": _ENDINGS.get(trial.ending, ""),
        "best": is_last,
    }


def _draw(axes: Axes, state: SearchState) -> None:
    """Draw accuracy over time, a line for each training; the winner's are marked."""
    winner = None if state.last is None else state.last.candidate
    ordered = sorted(state.trials, key=lambda trial: trial.candidate == winner)
    for trial in ordered:
        _curve(axes, trial, chosen=trial.candidate == winner)
    if state.last is not None:
        xs, ys = _points(state.last)
        axes.plot(xs, ys, "o-", color=charts.SECOND, markersize=3, label="last training, held out")
    axes.axvline(state.budget_s, linestyle=":", linewidth=1, color=charts.INK)
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    # Above the axes, because curves may be anywhere in them.
    legend = axes.legend(
        unique.values(), unique.keys(), loc="lower left", bbox_to_anchor=(0, 1), ncols=3
    )
    legend.borderaxespad = 0
    unit, seconds = ("min", 60) if state.budget_s > 90 else ("s", 1)
    axes.set_xlabel(f"time spent, {unit}")
    axes.set_ylabel("top-1")
    axes.set_xlim(left=0)
    steps = (1, 2, 3, 5, 10) if seconds == 1 else (1, 1.5, 3, 6, 10)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / seconds:g}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _curve(axes: Axes, trial: Trial, *, chosen: bool) -> None:
    xs, ys = _points(trial)
    if not xs:
        return
    axes.plot(
        xs,
        ys,
        "o-",
        color=charts.FIRST,
        alpha=1.0 if chosen else 0.4,
        markersize=5 if chosen else 3,
        linewidth=1.8 if chosen else 1,
        label="the best candidate, tried" if chosen else "other candidates, tried",
    )


def _points(trial: Trial) -> tuple[list[float], list[float]]:
    return [point.spent_s for point in trial.points], [point.top1 for point in trial.points]
