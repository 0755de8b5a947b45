"""A whole ``fleetnet predict``: from the start of the process to the first answer, and its memory.

python benchmarks/pipeline/process.py [FOLDER] [--megapixels 12] [--model MobileNetV2]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from material import machine, parser, photographs, untrained, write_enlarged

from fleetnet.measuring import spread


class Process(NamedTuple):
    """What one process took."""

    first_s: float
    processor_s: float
    peak_mb: float


def main() -> None:
    """Parse, measure and print."""
    options = parser(__doc__, rounds=7, limit=60).parse_args()
    files = photographs(options.folder)[: options.limit]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.megapixels:
            files = write_enlarged(files, options.megapixels, folder)
        onnx = untrained(options.model, folder)
        runs = {
            "one image": [str(files[0])],
            f"{len(files)} images": list(map(str, files)),
            f"{10 * len(files)} images": list(map(str, files * 10)),
            f"{len(files)} images, --exact": [*map(str, files), "--exact"],
        }
        print(f"{options.model}, {options.rounds} rounds, {machine()}: median (lowest–highest)\n")
        print("| | first answer, s | processor time, s | peak of resident memory, MB |")
        print("| --- | ---: | ---: | ---: |")
        for title, arguments in runs.items():
            measured = [run(onnx, arguments) for _ in range(options.rounds)]
            columns = [
                spread([one.first_s for one in measured]).with_range(".2f"),
                spread([one.processor_s for one in measured]).with_range(".2f"),
                spread([one.peak_mb for one in measured]).with_range(".0f"),
            ]
            print(f"| {title} | {' | '.join(columns)} |", flush=True)


CODE = """
import sys
from pathlib import Path
from fleetnet.cli import main
try:
    main()
finally:
    status = Path("/proc/self/status").read_text()
    print(status.partition("VmHWM:")[2].split()[0], file=sys.stderr)
"""
"""The command line, and its peak of memory afterwards.

What the system says of a child is no less than its parent had, of which it is a copy at first.
"""


def run(onnx: Path, arguments: list[str]) -> Process:
    """Run the command line once."""
    command = [sys.executable, "-c", CODE, "predict", str(onnx), *arguments, "--json"]
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        before = os.times()
        process.stdout.readline()  # type: ignore[union-attr]
        first = time.perf_counter() - started
        _, errors = process.communicate()
    after = os.times()
    busy = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    return Process(first, busy, int(errors.split()[-1]) / 2**10)


if __name__ == "__main__":
    main()
