"""Results as tables in the shape of the two documents: ``docs/benchmark.md`` says how to read them.

The same tables are shown in a terminal and written as Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fleetnet.amounts import NONE, count, percent
from fleetnet.benchmark.plan import Cell
from fleetnet.benchmark.results import Results
from fleetnet.benchmark.run import process_threads
from fleetnet.inference.engines import Precision
from fleetnet.inference.judging import sentence
from fleetnet.labels import printable


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: what it shows, in a line.
        headings: of the columns, each of one or two lines; the first column is text, the others
            are numbers.
        rows: of cells.
        notes: to print below it.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """Return the table as Markdown."""
        headings = (heading.replace("\n", " ") for heading in self.headings)
        lines = [
            f"| {' | '.join(headings)} |",
            f"| --- |{' ---: |' * (len(self.headings) - 1)}",
            *(f"| {' | '.join(map(_escape, row))} |" for row in self.rows),
        ]
        return "\n".join([f"## {self.title}", "", *lines, "", *(f"{n}  " for n in self.notes)])


def tables(results: Results) -> Iterator[Table]:
    """Yield the tables for people."""
    yield networks_table(results)
    for engine, precision in settings(results):
        yield threads_table(results, engine, precision)
        for threads in results.plan.threads:
            yield batches_table(results, engine, precision, threads)
        yield summary_table(results, engine, precision)


def settings(results: Results) -> list[tuple[str, Precision]]:
    """Return the engines and precisions with at least one figure."""
    found = [(cell.engine, cell.precision) for cell in results.timings]
    return list(dict.fromkeys(found))


def networks_table(results: Results) -> Table:
    """Return accuracy, operations and parameters of the networks, as in the documents' tables."""
    rows = []
    for network in results.networks:
        accuracies = (
            network.published.get(key)
            for key in ("top1", "top5", "reference_top1", "reference_top5")
        )
        rows.append(
            (
                network.name,
                *(percent(value) for value in accuracies),
                f"{network.macs / 1e9:.3f}",
                NONE if network.parameters is None else f"{network.parameters / 1e6:.3f}",
            )
        )
    return Table(
        title="Networks",
        headings=(
            "model", "top-1\n%", "top-5\n%", "ref.\ntop-1", "ref.\ntop-5", "GMACs\n", "params\nM"
        ),
        rows=tuple(rows),
        notes=(
            "Accuracies are those that the documents publish for their weights. GMACs "
            "(multiply-adds, one operation each) and parameters are counted here.",
        ),
    )  # fmt: skip


def threads_table(results: Results, engine: str, precision: Precision) -> Table:
    """Return latency at batch 1 by threads, and storage, as in the Snapdragon table."""
    plan, batch = results.plan, min(results.plan.batches)
    rows = []
    for network in results.networks:
        cells = [Cell(network.name, engine, precision, threads, batch) for threads in plan.threads]
        rows.append(
            (
                network.name,
                *(_latency(results, cell) for cell in cells),
                f"{network.storage[engine, precision] / 1e6:.1f}",
                _listed(network.published.get("sd855_ms")),
            )
        )
    return Table(
        title=f"Latency by threads, {engine} {precision}, batch {batch}",
        headings=(
            "model",
            *(f"{_threads(results, count)}\nms" for count in plan.threads),
            "storage\nMB",
            "SD855, published\n1/2/4 threads, ms",
        ),
        rows=tuple(rows),
        notes=(*_thread_notes(results), *_losses(results, engine, precision), results.machine.line),
    )


def batches_table(results: Results, engine: str, precision: Precision, threads: int) -> Table:
    """Return latency by batch size, as in the V100 table."""
    plan = results.plan
    rows = []
    for network in results.networks:
        cells = [Cell(network.name, engine, precision, threads, batch) for batch in plan.batches]
        best = max((results.images_per_s(cell) or 0.0 for cell in cells), default=0.0)
        rows.append(
            (
                network.name,
                str(network.size),
                *(_latency(results, cell) for cell in cells),
                f"{best:.1f}" if best else NONE,
                _listed(network.published.get("v100_ms")),
            )
        )
    return Table(
        title=f"Latency by batch, {engine} {precision}, {_threads(results, threads)}",
        headings=(
            "model",
            "size\npx",
            *(f"batch {batch}\nms" for batch in plan.batches),
            "best\nimages/s",
            "V100, published\nbatch 1/4/8, ms",
        ),
        rows=tuple(rows),
        notes=(
            *_thread_notes(results, threads),
            *_losses(results, engine, precision),
            results.machine.line,
        ),
    )


def summary_table(results: Results, engine: str, precision: Precision) -> Table:
    """Return spread, best throughput, memory and start-up time of each network."""
    threads, batch = process_threads(results.plan), min(results.plan.batches)
    rows = []
    for network in results.networks:
        cell = Cell(network.name, engine, precision, threads, batch)
        best = results.best_rate(network.name, engine, precision)
        process = results.processes.get((network.name, engine, precision))
        memory = process.peak_bytes if process else None
        rows.append(
            (
                network.name,
                *_spread(results, cell),
                f"{results.images_per_s(best):.1f}" if best else NONE,
                f"{best.batch} × {best.threads}" if best else NONE,
                _share(results, best),
                NONE if memory is None else f"{memory / 1e6:.0f}",
                f"{process.start_up:.2f}" if process else NONE,
            )
        )
    return Table(
        title=f"Spread, throughput and cost, {engine} {precision}",
        headings=(
            "model", "p50\nms", "p95\nms", "IQR\n", "best\nimages/s",
            "batch ×\nthreads", "of\npeak", "memory\nMB", "start\ns",
        ),
        rows=tuple(rows),
        notes=(
            f"p50, p95 and IQR (the distance of the quartiles as a share of p50) are of batch "
            f"{batch} on {_threads(results, threads)}; 'of peak' is of the best images/s. "
            "Memory and start are of a fresh 'fleetnet predict', from its start to its answer, "
            f"on {_threads(results, threads)}, median of {results.plan.processes}. "
            f"{_peak_note(results, precision)}",
            *_losses(results, engine, precision),
            results.machine.line,
        ),
    )  # fmt: skip


def every_cell_table(results: Results) -> Table:
    """Return every timing, a row each."""
    rows = []
    for cell in sorted((*results.timings, *results.missing), key=_in_order_of(results)):
        timing = results.timings.get(cell)
        named = (cell.network, cell.engine, cell.precision, str(cell.threads), str(cell.batch))
        if timing is None:
            rows.append((*named, *[NONE] * 8))
            continue
        times = (timing.p50, timing.p95, timing.p25, timing.p75, timing.best)
        rows.append(
            (
                *named,
                *(f"{seconds * 1e3:.2f}" for seconds in times),
                f"{timing.runs} · {timing.rounds}",
                f"{results.images_per_s(cell):.1f}",
                _share(results, cell),
            )
        )
    return Table(
        title="Every figure",
        headings=(
            "model", "engine", "precision", "threads", "batch", "p50 ms", "p95 ms", "p25 ms",
            "p75 ms", "least ms", "runs · rounds", "images/s", "of peak",
        ),
        rows=tuple(rows),
        notes=(
            *(note for setting in settings(results) for note in _losses(results, *setting)),
            results.machine.line,
        ),
    )  # fmt: skip


def _losses(results: Results, engine: str, precision: Precision) -> Iterator[str]:
    """Yield what each network loses in fewer bits than fp32, or that nobody has judged it."""
    if precision == "fp32":
        return
    unknown: list[str] = []
    untrained: list[str] = []
    for network in results.networks:
        judgement = network.judgements.get((engine, precision))
        if judgement is not None:
            yield f"{network.name} in {precision}, {engine}: {sentence(judgement)}."
        elif network.storage[engine, precision]:
            (unknown if network.trained else untrained).append(network.name)
    if unknown:
        yield (
            f"What {', '.join(unknown)} loses in {precision}, {engine}, is not on record: "
            "'fleetnet tune' judges it."
        )
    if untrained:
        yield f"Networks with random weights have nothing to lose in {precision}, {engine}."


def _in_order_of(results: Results) -> Callable[[Cell], tuple[int, ...]]:
    names = [network.name for network in results.networks]
    return lambda cell: (
        names.index(cell.network),
        results.plan.engines.index(cell.engine),
        results.plan.precisions.index(cell.precision),
        cell.threads,
        cell.batch,
    )


def _threads(results: Results, threads: int) -> str:
    mark = "*" if threads > results.machine.processors else ""
    return f"{count(threads, 'thread')}{mark}"


def _thread_notes(results: Results, threads: int | None = None) -> tuple[str, ...]:
    """Return the note on the asterisk, if there is one."""
    counts = results.plan.threads if threads is None else (threads,)
    if all(count <= results.machine.processors for count in counts):
        return ()
    return (f"* More threads than the {results.machine.processors} processors at hand.",)


def _peak_note(results: Results, precision: Precision) -> str:
    rates = [
        f"{peak.flops / 1e9:.0f} GFLOP/s on {_threads(results, threads)}"
        for (of, threads), peak in results.peaks.items()
        if of == precision
    ]
    if not rates:
        return f"This processor's peak in {precision} is not known."
    return f"Peak in {precision}, by matrix products: {', '.join(rates)}."


def _latency(results: Results, cell: Cell) -> str:
    timing = results.timings.get(cell)
    return NONE if timing is None else milliseconds(timing.p50)


def _spread(results: Results, cell: Cell) -> tuple[str, str, str]:
    timing = results.timings.get(cell)
    if timing is None:
        return NONE, NONE, NONE
    quartiles = (timing.p75 - timing.p25) / timing.p50
    return milliseconds(timing.p50), milliseconds(timing.p95), f"{quartiles:.0%}"


def milliseconds(seconds: float) -> str:
    """Return seconds as milliseconds with three or more significant digits."""
    value = seconds * 1e3
    return f"{value:.2f}" if value < 100 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _share(results: Results, cell: Cell | None) -> str:
    share = results.peak_share(cell) if cell else None
    return NONE if share is None else f"{share:.0%}"


def _listed(figures: Sequence[float] | None) -> str:
    return NONE if not figures else "/".join(f"{figure:.2f}" for figure in figures)


def _escape(cell: str) -> str:
    return printable(cell.replace("\n", " ")).replace("|", "\\|")
