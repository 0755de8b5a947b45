"""``fleetnet study``: what channels are good for, measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fleetnet.amounts import count
from fleetnet.cli.console import console, print_json, progress, say
from fleetnet.cli.options import EpochsOption, RecipeOption, SettingsOption, SizeOption
from fleetnet.cli.sources import DataArgument, open_told, with_source_options
from fleetnet.cli.train import load_recipe
from fleetnet.data.sources import SourceOptions
from fleetnet.errors import PYTORCH, FleetnetError, Interrupted, needing
from fleetnet.training.shorthands import shorthands

if TYPE_CHECKING:
    from fleetnet.study.channel_study import Candidate, ChannelLine
    from fleetnet.study.correlation import Correlation
    from fleetnet.study.rank_figures import Figure
    from fleetnet.training.callbacks import Callback


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    study = typer.Typer(
        short_help="Study the rank of random networks, and channels.",
        help="Study the rank of random networks, and configurations of channels (docs/study.md).",
        no_args_is_help=True,
    )
    study.command("rank", short_help="The rank of random layers' features.")(rank)
    study.command("channels", short_help="Search for a configuration of channels.")(channels)
    app.add_typer(study, name="study")


def rank(
    networks: Annotated[
        int, typer.Option(min=60, max=10_000_000, help="How many random networks.")
    ] = 10_000,
    threshold: Annotated[
        list[float] | None,
        typer.Option(
            metavar="T",
            help="Singular values above T of the largest count; may be repeated, the first is in "
            "the table.  [0.1, 0.03, 0.01, 0.001]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the networks.")] = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for results and plots.")
    ] = Path("study/rank"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Measure the rank of random layers' features over the ratio of input to output channels.

    That repeats a figure of the ReXNet paper (arXiv 2007.00992, section 3), for eight
    non-linearities, single layers and inverted bottlenecks. A study that was stopped goes on where
    it was.
    """
    with needing(PYTORCH, "train", "a study"):
        from fleetnet.study.rank_figures import rank_figures, rank_json
        from fleetnet.study.rank_plan import THRESHOLDS, RankSettings
        from fleetnet.study.rank_study import study_rank
    with needing(("matplotlib",), "report", "drawing plots"):
        from fleetnet.study.rank_plots import draw_ranks
    settings = RankSettings(
        networks=networks, seed=_seed(seed), thresholds=tuple(threshold or THRESHOLDS)
    )
    with progress(unit="networks") as bar:
        task = bar.add_task("measuring", total=networks)
        lines = study_rank(settings, output, lambda done: bar.advance(task, done))
    figures = rank_figures(lines, settings.thresholds)
    if as_json:
        print_json(rank_json(figures, settings))
    else:
        _print_ranks(figures, settings.thresholds[0])
    for path in draw_ranks(figures, settings.thresholds, output):
        say(f"written: {path}")


@with_source_options
def channels(
    data: DataArgument,
    params: Annotated[
        int, typer.Option(min=1, help="Most parameters that train, of each network.")
    ] = 300_000,
    macs: Annotated[
        int, typer.Option(min=1, help="Most multiply-adds for an image, of each network.")
    ] = 6_000_000,
    networks: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many configurations are drawn.")
    ] = 24,
    threshold: Annotated[
        float, typer.Option(metavar="T", help="Singular values above T of the largest count.")
    ] = 0.2,
    recipe: RecipeOption = "study",
    settings: SettingsOption = None,
    epochs: EpochsOption = None,
    size: SizeOption = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for results, plots and custom.yaml.")
    ] = Path("study/channels"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
    *,
    source: SourceOptions,
) -> None:
    """Search for channels of the blocks under a budget, by rank and by a short training.

    Linear, piecewise-linear and stage-wise configurations are drawn and made as wide as the budget
    allows, beside MobileNetV2's stages and ReXNet's ramp, in networks that differ in nothing else.
    The best one becomes custom.yaml, a network for 'fleetnet train --model'. A study that was
    stopped goes on where it was.
    """
    with needing(PYTORCH, "train", "a study"):
        from fleetnet.study.budget import Budget, check_size
        from fleetnet.study.channel_figures import channel_correlation, channel_json
        from fleetnet.study.channel_study import BEST, ChannelSettings, study_channels
    with needing(("matplotlib",), "report", "drawing plots"):
        from fleetnet.study.channel_plots import draw_channels
    chosen = load_recipe(recipe, [*shorthands(epochs, size), *(settings or [])])
    check_size(chosen.input.crop)
    opened = open_told(data, source)
    budget = Budget(
        parameters=params, macs=macs, classes=len(opened.classes), size=chosen.input.crop
    )
    plan = ChannelSettings.of(opened, chosen, budget, networks=networks, threshold=threshold)
    with progress(unit="networks") as bar:
        task = bar.add_task("training", total=networks + 2)

        def begin(candidate: Candidate) -> list[Callback]:
            bar.update(task, description=candidate.shape.name)
            return []

        try:
            results = study_channels(
                opened,
                chosen,
                plan,
                output,
                begin=begin,
                done=lambda done, _: bar.update(task, completed=done),
            )
        except Interrupted as error:
            raise Interrupted(
                "stopped; what was measured is kept, and the same command goes on",
                error.exit_code,
            ) from None
    found = channel_correlation(results)
    if as_json:
        print_json(channel_json(results, found, plan))
    else:
        _print_channels(results, found)
    say(f"written: {draw_channels(results, found, output)}")
    say(f"written: {output / BEST}")
    say(f"next: fleetnet train DATA --model {output / BEST}")


def _print_channels(results: list[ChannelLine], found: Correlation | None) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("configuration", no_wrap=True)
    for heading in ("top-1", "rank", "params", "M MACs"):
        table.add_column(heading, justify="right")
    table.add_column("channels")
    for line in sorted(results, key=lambda line: (-line.top1, -line.rank)):
        table.add_row(
            line.name,
            f"{line.top1:.2%}",
            f"{line.rank:.3f}",
            f"{line.parameters:,}",
            f"{line.macs / 1e6:.2f}",
            " ".join(map(str, line.channels)),
        )
    out = console()
    out.print(table)
    out.print(f"top-1 on {count(results[0].images, 'held-out image')} after the last epoch")
    if found is None:
        out.print("no correlation: too few configurations, or all of one rank or accuracy")
        return
    for name, value, (low, high) in (
        ("Pearson", found.pearson, found.pearson_interval),
        ("Spearman", found.spearman, found.spearman_interval),
    ):
        out.print(
            f"{name}'s correlation of rank and top-1 over {found.networks} configurations: "
            f"{value:.2f} (95 % of intervals like {low:.2f} to {high:.2f} hold the true one)"
        )
    out.print(found.in_words)


def _seed(seed: int) -> int:
    if seed >= 2**63:
        raise FleetnetError(f"seed={seed} is too large", arguments=["seed"])
    return seed


def _print_ranks(figures: list[Figure], threshold: float) -> None:
    shown = [figure for figure in figures if figure.threshold == threshold]
    names = dict.fromkeys(figure.nonlinearity for figure in shown)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("block", no_wrap=True)
    table.add_column("in/out", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    means = {(one.block, one.ratio, one.nonlinearity): one.mean for one in shown}
    for block, ratio in dict.fromkeys((one.block, one.ratio) for one in shown):
        cells = (f"{means[block, ratio, name]:.3f}" for name in names)
        table.add_row(block, f"{ratio:.1f}", *cells)
    out = console()
    out.print(table)
    errors = [figure.error for figure in shown if figure.error is not None]
    known = "" if len(errors) == len(shown) else " where a point has several batches"
    told = f"are at most {max(errors):.3f}{known}" if errors else "take more networks"
    out.print(
        f"rank over output channels, mean; singular values above {threshold:g} of the largest "
        f"count; standard errors {told}"
    )
