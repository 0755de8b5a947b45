"""Everything that was measured, as Markdown, JSON and a picture."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.peers.comparison import Outcome
from benchmarks.peers.contenders import Contender, Trained
from benchmarks.peers.headlines import headline_table
from benchmarks.peers.rounds import ratio_spread
from benchmarks.peers.tables import Table, speed_tables, start_table
from fleetnet.files import atomic_file
from fleetnet.measuring import spread

FILES, FEWER_BITS = "File to top-5", "Fewer bits"
NETWORK_NOTE = (
    "Milliseconds of one inference at batch 1, in fp32; a round's figure is the median of a turn's "
    "runs. ÷: how many times as long as ours in that round, median and quartiles. Ours take "
    "`uint8` pixels and normalise them, the others take floats that are normalised already. The "
    "weights are random and the same for everybody. Last column: largest difference of a "
    "probability from PyTorch's, and on how many of the inputs top-1 is the same."
)
FILES_NOTE = (
    "Milliseconds a photograph, from its file to its five best classes, all photographs one after "
    "another, and of all processors together; in fp32, with random weights that are the same for "
    "everybody. Pipelined: so many images at once as there are processors, as ours does; one by "
    "one: as the projects' own scripts do. Last column: on how many photographs top-1 is ours."
)
BITS_NOTE = (
    "Trained weights, one thread, batch 1. The inputs are held-out ELPV cells, and for ImageNet "
    "six views (zooms, mirrored) of each of some photographs; neither calibration nor the guard "
    "has seen them. Last column: largest difference of a probability from PyTorch's, on how many "
    "of the inputs top-1 is the same, and the share that makes it likely (95 %, as if "
    "views of one photograph were as good as photographs). Ours is in int8 only where the guard "
    "lets it pass: {notes}."
)
TRAINED_FILES_NOTE = (
    "As above, with trained weights; last column: on how many photographs top-1 is that of ours in "
    "fp32."
)


@dataclass
class Report:
    """All outcomes; None or empty where something was not asked for.

    Attributes:
        machine: processor, cores, load, versions: what the figures depend on.
        networks: by number of threads.
        files: from files to answers.
        bits: trained networks in fewer bits.
        trained_files: from files to answers in fewer bits.
        trained: the networks of those two.
        starts: fresh processes.
        sizes: bytes of each distribution by environment.
        unsized: the reasons of environments without sizes.
        loader: the Markdown of the loaders' own benchmark, or the reason why there is none.
    """

    machine: dict[str, str]
    networks: dict[int, Outcome] = field(default_factory=dict)
    files: Outcome | None = None
    bits: Outcome | None = None
    trained_files: Outcome | None = None
    trained: list[Trained] = field(default_factory=list)
    starts: Outcome | None = None
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    unsized: dict[str, str] = field(default_factory=dict)
    loader: str = ""

    def tables(self) -> Iterator[Table]:
        """Give all tables, the most important one first."""
        if found := headline_table(self.files, self.networks.get(1)):
            yield found
        if self.files is not None:
            yield from speed_tables(self.files, FILES, "top-1", FILES_NOTE)
        for threads, outcome in self.networks.items():
            yield from speed_tables(outcome, _threads(threads), "max Δp, top-1", NETWORK_NOTE)
        if self.bits is not None:
            notes = "; ".join(f"{one.title}: {one.note}" for one in self.trained)
            yield from speed_tables(
                self.bits, FEWER_BITS, "max Δp, top-1", BITS_NOTE.format(notes=notes)
            )
        if self.trained_files is not None:
            yield from speed_tables(
                self.trained_files, f"{FILES}, {FEWER_BITS.lower()}", "top-1", TRAINED_FILES_NOTE
            )
        if self.starts is not None:
            yield start_table(self.starts, self.sizes, self.unsized)

    def outcomes(self) -> Iterator[tuple[str, Outcome]]:
        """Give all outcomes with their titles."""
        if self.files is not None:
            yield FILES, self.files
        for threads, outcome in self.networks.items():
            yield _threads(threads), outcome
        if self.bits is not None:
            yield FEWER_BITS, self.bits
        if self.trained_files is not None:
            yield f"{FILES}, {FEWER_BITS.lower()}", self.trained_files
        if self.starts is not None:
            yield "Start", self.starts

    def markdown(self, pictures: Sequence[str] = ()) -> str:
        """Return the report; ``pictures`` are the names of files beside it."""
        lines = ["# Side by side with other projects", ""]
        lines.append("Written by `make bench-peers`; `benchmarks/peers/README.md` says how.")
        lines += ["", *(f"- {key}: {value}" for key, value in self.machine.items()), ""]
        for picture in pictures:
            lines += [f"![Medians with quartiles]({picture})", ""]
        lines += _repeating_notes_once(self.tables())
        if self.loader:
            lines += ["## Training input", "", self.loader, ""]
        if rows := self._left_out():
            lines += [Table("Left out", ("who", "why"), rows).markdown()]
        lines += ["## Versions", "", *(f"- {line}" for line in self._versions())]
        return "\n".join(lines) + "\n"

    def _left_out(self) -> tuple[tuple[str, str], ...]:
        found = []
        for title, outcome in self.outcomes():
            found += [(f"{title}: {name}", reason) for name, reason in outcome.left_out.items()]
        return tuple(found)

    def _versions(self) -> list[str]:
        return sorted({line for _, outcome in self.outcomes() for line in outcome.about.values()})

    def json(self) -> dict[str, Any]:
        """Return everything, the times of every round included."""
        return {
            "machine": self.machine,
            "trained": [one._asdict() for one in self.trained],
            "comparisons": {title: _json_of(outcome) for title, outcome in self.outcomes()},
            "sizes": self.sizes,
            "unsized": self.unsized,
            "loader": self.loader,
        }

    def write(self, folder: Path) -> list[Path]:
        """Write Markdown, JSON and pictures to a folder; return what was written."""
        from benchmarks.peers.plot import draw

        folder.mkdir(parents=True, exist_ok=True)
        pictures = {
            "peers_files.png": [(FILES, self.files)] if self.files else [],
            "peers_networks.png": [
                (_threads(count), outcome) for count, outcome in self.networks.items()
            ],
            "peers_bits.png": [(FEWER_BITS, self.bits)] if self.bits else [],
        }
        drawn = [name for name, outcomes in pictures.items() if draw(outcomes, folder / name)]
        text = self.markdown(drawn)
        figures = json.dumps(self.json(), indent=1, ensure_ascii=False) + "\n"
        for name, content in (("peers.md", text), ("peers.json", figures)):
            with atomic_file(folder / name) as temporary:
                temporary.write_text(content, "utf-8")
        return [folder / name for name in (*drawn, "peers.md", "peers.json")]


def _threads(count: int) -> str:
    return f"Network, {count} thread{'s' * (count > 1)}"


def _repeating_notes_once(tables: Iterator[Table]) -> Iterator[str]:
    seen: set[str] = set()
    for table in tables:
        note = "" if table.note in seen else table.note
        seen.add(table.note)
        yield replace(table, note=note).markdown()


def _json_of(outcome: Outcome) -> dict[str, Any]:
    return {
        one.name: {**_measured(one, outcome), **_described(one, outcome)}
        for one in outcome.contenders
    }


def _described(one: Contender, outcome: Outcome) -> dict[str, Any]:
    return {
        "threads": one.threads,
        "about": outcome.about.get(one.name),
        "agreement": outcome.agreement.get(one.name),
        "peak_bytes": outcome.peak_bytes.get(one.name),
        "left_out": outcome.left_out.get(one.name),
    }


def _measured(one: Contender, outcome: Outcome) -> dict[str, Any]:
    if one.name not in outcome.times:
        return {}
    compared = {base: ratio_spread(outcome.times, one.name, base) for base in one.against}
    return {
        "seconds": spread(outcome.times[one.name])._asdict(),
        "times_as_long_as": {
            base: ratio._asdict() for base, ratio in compared.items() if ratio is not None
        },
        "rounds": [round(value, 7) for value in outcome.times[one.name]],
        "processor_rounds": [round(value, 7) for value in outcome.processor.get(one.name, [])],
    }


def today() -> str:
    """Return the date, for the record."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
