"""The figures of a study of int8 as a table."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.distillation.few_labels import spread
from benchmarks.smaller.shown import TITLES

TUNED = "-tuned"
VARIANTS = {f"{bits}{end}": f"{bits} bits{said}"
            for bits in (7, 8) for end, said in (("", ""), (TUNED, ", fine-tuned"))}  # fmt: skip
"""How a network is quantised, and what the table calls that."""


def variant_of(bits: int, *, tuned: bool) -> str:
    """Return which of :data:`VARIANTS` it is."""
    return f"{bits}{TUNED if tuned else ''}"


def table(figures: Mapping[str, Any]) -> str:
    """Return the networks of a study in each engine and precision, over the seeds, as Markdown."""
    lines = [
        "| network | engine | weights | top-1, % | lost, points | same answers, % | by seed | "
        "layers kept for 99 % | pass by what is lost | ms | of ONNX Runtime's fp32 (by seed) |",
        "| --- | --- | --- | ---: | ---: | ---: | --- | --- | --- | ---: | ---: |",
    ]
    known = figures["networks"]
    for network in dict.fromkeys(key.partition("/")[2] for key in known):
        keys = (key for key in known if key.partition("/")[2] == network)
        own = {key: known[key] for key in sorted(keys, key=lambda key: int(key.partition("/")[0]))}
        latency = figures.get("timed", {}).get("latency", {})
        lines += [f"| `{network}` | {' | '.join(cells)} |" for cells in _rows(own, latency)]
    return "\n".join(lines)


def _rows(own: Mapping[str, Any], latency: Mapping[str, Any]) -> Iterator[list[str]]:
    for offer in next(iter(own.values()))["fp32"]:
        engine = offer.partition("/")[0]
        before = {key: one["fp32"][offer]["top1"] for key, one in own.items()}
        times = [latency.get(f"{key}.bundle", {}).get(offer) for key in own]
        name = TITLES.get(engine, engine)
        yield [name, "fp32", spread([*before.values()]), *"–––––", *_times(times)]
        for variant, words in VARIANTS.items():
            made = {key: one["int8"].get(f"{engine}-{variant}") for key, one in own.items()}
            found = {key: one for key, one in made.items() if one}
            if found:
                times = [
                    latency.get(f"{key}-{variant}.bundle", {}).get(f"{engine}/int8")
                    for key in found
                ]
                yield [name, words, *_cells(found, before), *_times(times)]


def _cells(found: Mapping[str, Any], before: Mapping[str, float]) -> Iterator[str]:
    yield spread([one["top1"] for one in found.values()])
    yield spread([before[key] - one["top1"] for key, one in found.items()], "+")
    same = [one["agreement"] for one in found.values()]
    yield f"{statistics.mean(same):.2%}".rstrip("%")
    yield ", ".join(f"{100 * one:.2f}" for one in same)
    yield "/".join(str(one.get("kept", "refused")) for one in found.values())
    yield f"{sum(one['passes_loss'] > 0 for one in found.values())} of {len(found)}"


def _times(times: list[dict[str, Any] | None]) -> Iterator[str]:
    known = [one for one in times if one]
    yield f"{statistics.mean(one['ms'] for one in known):.2f}" if known else "–"
    shares = [one["share"] for one in known]
    yield f"{statistics.mean(shares):.2f} ({min(shares):.2f}–{max(shares):.2f})" if known else "–"
