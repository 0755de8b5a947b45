"""Write the table of all export targets, measured on this machine, into docs/devices.md.

    python -m benchmarks.devices.table MODEL [--images PATH...] [--all] [--resume]
                                       [--patience 600] [--page docs/devices.md]

Without `--all` it measures the targets that need nothing fetched, and says of the others what was
measured earlier. Each is measured in a process of its own: one that fails, or is not done in time,
is a line that says so, and the others go on. The page is written after each, and `--resume` goes on
after an interruption. Judge fewer bits by a trained network, on real images.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.devices.apart import refusal
from fleetnet.amounts import size
from fleetnet.bundle import Bundle
from fleetnet.cache import cache_folder
from fleetnet.cli.opening import open_bundle
from fleetnet.export.devices import Device, chosen, measured, state_of
from fleetnet.inference.comparison import machine
from fleetnet.inference.judging import lost

BEGIN, END = "<!-- table: make devices -->", "<!-- end of the table -->"


def table(model: str, found: Iterable[Device]) -> str:
    """Return the table as Markdown, with what it is of."""
    found = list(found)
    records = [device.record for device in found if device.record is not None]
    machines = sorted({record.machine for record in records}) or [machine()]
    sources = sorted({f"{record.images} images ({record.source})" for record in records})
    rows = [
        "| target | answers differ by | same top-1 | points lost | size | an image | run by |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_row(device) for device in found),
    ]
    about = (
        f"`{model}` on {', '.join(machines)}, one thread; {', '.join(sources) or 'not measured'}."
    )
    return "\n".join([about, "", *rows])


def _row(device: Device) -> str:
    record = device.record
    volume = "–" if device.bytes is None else size(device.bytes)
    name = f"`{device.word}`{_kept(device)}"
    if record is None:
        reason = device.refused or ("not run here" if device.bytes is not None else device.state)
        return f"| {name} | – | – | – | {volume} | – | {reason.replace('|', '/')} |"
    return (
        f"| {name} | {record.max_abs_diff:.1e} | {record.top1_agreement:.1%} | "
        f"{lost(record.judgement)} | {volume} | {time_of(device)} | "
        f"{record.engine} {record.engine_version} |"
    )


def time_of(device: Device) -> str:
    """Return the time of an image, or a dash."""
    return "–" if device.latency_ms is None else f"{device.latency_ms:.1f} ms"


def _kept(device: Device) -> str:
    """Return how many layers the guard kept out of int8, if any."""
    made = device.quantization
    if made is None or not made.kept_layers:
        return ""
    return f", {len(made.kept_layers)} of {made.layers} layers ({made.kept_macs:.0%}) not"


def put(page: str, written: str) -> str:
    """Return a page with another table between its two marks.

    Raises:
        ValueError: it has no such marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{written}\n{END}{after}"


class Done:
    """What was measured since the table was begun, and why the others were not; kept in a file.

    Args:
        place: of the file.
        resume: go on where an earlier table ended; else it is begun anew.
    """

    def __init__(self, place: Path, *, resume: bool) -> None:
        self._place = place
        self.refused: dict[str, str] = {}
        if resume and place.is_file():
            self.refused = json.loads(place.read_text("utf-8"))

    def add(self, word: str, refused: str) -> None:
        """Remember that a target was measured, or why it was not."""
        self.refused[word] = refused
        self._place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._place.with_suffix(".part")
        unfinished.write_text(json.dumps(self.refused), "utf-8")
        unfinished.replace(self._place)


def found(bundle: Bundle, refused: dict[str, str]) -> list[Device]:
    """Return every target as the cache has it, or with the reason why it was not measured."""
    devices = []
    for device in measured(bundle):
        # A place in the cache says nothing to whoever reads the page.
        reason = refused.get(device.word, "").replace(str(bundle.path), "the model")
        devices.append(
            replace(device, record=None, bytes=None, refused=reason) if reason else device
        )
    return devices


def main() -> None:
    """Measure, and write the page anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--images", nargs="*", default=[])
    parser.add_argument("--all", action="store_true", help="fetch what targets need")
    parser.add_argument("--resume", action="store_true", help="go on after an interruption")
    parser.add_argument("--patience", type=float, default=600, help="seconds for a target")
    parser.add_argument("--page", type=Path, default=Path("docs/devices.md"))
    options = parser.parse_args()
    images = [image for image in options.images if Path(image).exists()]
    bundle = open_bundle(options.model)
    done = Done(cache_folder() / "devices" / f"{bundle.hash[:16]}.json", resume=options.resume)
    for target, precision in chosen([]):
        word = f"{target.name}:{precision}"
        if word in done.refused or not (options.all or state_of(target) == "here"):
            continue
        began = time.perf_counter()
        reason = refusal(str(bundle.path), word, images, options.patience)
        done.add(word, reason)
        print(f"{word}: {time.perf_counter() - began:.0f} s {reason}", flush=True)
        text = options.page.read_text("utf-8")
        written = put(text, table(options.model, found(bundle, done.refused)))
        options.page.write_text(written, "utf-8")
    print(f"written: {options.page}")


if __name__ == "__main__":
    main()
