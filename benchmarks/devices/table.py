"""Write the table of all export targets, measured on this machine, into docs/devices.md.

    python benchmarks/devices/table.py MODEL [--images PATH...] [--all] [--page docs/devices.md]

Without `--all` it measures the targets that need nothing fetched, and says of the others what was
measured earlier. Judge fewer bits by a trained network, on real images.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fleetnet.amounts import size
from fleetnet.cli.opening import open_bundle
from fleetnet.export.devices import Device, chosen, measure
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
    name = f"`{device.word}`"
    if record is None:
        reason = device.refused or ("not run here" if device.bytes is not None else device.state)
        return f"| {name} | – | – | – | {volume} | – | {reason.replace('|', '/')} |"
    return (
        f"| {name} | {record.max_abs_diff:.1e} | {record.top1_agreement:.1%} | "
        f"{lost(record.judgement)} | {volume} | {record.latency_ms:.1f} ms | "
        f"{record.engine} {record.engine_version} |"
    )


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


def main() -> None:
    """Measure, and write the page anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--images", nargs="*", default=[])
    parser.add_argument("--all", action="store_true", help="fetch what targets need")
    parser.add_argument("--page", type=Path, default=Path("docs/devices.md"))
    options = parser.parse_args()
    images = [image for image in options.images if Path(image).exists()]
    bundle = open_bundle(options.model)
    words = [f"{target.name}:{one}" for target, one in chosen([])] if options.all else []
    found = list(measure(bundle, words, images=images, say=print))
    # A place in the cache says nothing to whoever reads the page.
    found = [
        replace(device, refused=device.refused.replace(str(bundle.path), "the model"))
        for device in found
    ]
    text = options.page.read_text("utf-8")
    options.page.write_text(put(text, table(options.model, found)), "utf-8")
    print(f"written: {options.page}")


if __name__ == "__main__":
    main()
