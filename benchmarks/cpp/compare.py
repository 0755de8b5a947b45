"""The C++ command beside the Python one, OpenVINO alone and Paddle Inference, as whole processes.

python benchmarks/cpp/compare.py [FOLDER] [--megapixels 12] [--build build/cpp]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "pipeline"))

from material import machine, parser, photographs, untrained, write_enlarged  # noqa: E402

from fleetnet.measuring import Spread, ratios, spread, turns  # noqa: E402

PADDLE = ROOT / ".venv-paddle" / "bin" / "python"
CPP, PYTHON, ALONE, PADDLES = "C++", "Python", "OpenVINO alone", "Paddle Inference, Python"


class Process(NamedTuple):
    """What one process took.

    Attributes:
        first_s: from its start to its first line.
        rest_s: from its first line to its last.
        processor_s: of all its threads.
        peak_mb: the peak of its resident memory.
        lines: how many it wrote.
    """

    first_s: float
    rest_s: float
    processor_s: float
    peak_mb: float
    lines: int

    @property
    def rate(self) -> float:
        """Answers a second after the first."""
        return (self.lines - 1) / self.rest_s


Command = Sequence[str | os.PathLike[str]]


def run(command: Command, folder: Path) -> Process:
    """Run one command, and measure it by a small parent, see ``peak.c``.

    Raises:
        SystemExit: it fails.
    """
    memory = folder / "peak"
    errors = folder / "errors"
    before, started = os.times(), time.perf_counter()
    with (
        errors.open("wb") as log,
        subprocess.Popen(
            [folder / "peak.exe", memory, *command], stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - it was asked for
        process.stdout.readline()
        first = time.perf_counter()
        lines = 1 + sum(1 for _ in process.stdout)
        last = time.perf_counter()
        code = process.wait()
    after = os.times()
    if code:
        raise SystemExit(f"error: {command[0]} ended with {code}: {errors.read_text()[-500:]}")
    busy = sum(after[2:4]) - sum(before[2:4])
    return Process(first - started, last - first, busy, int(memory.read_text()) / 1024, lines)


def main() -> None:
    """Parse, measure and print."""
    options = parser(__doc__, rounds=7, limit=120)
    options.add_argument("--build", type=Path, default=ROOT / "build" / "cpp")
    options.add_argument("--threads", type=int, default=os.cpu_count())
    options.add_argument("--times", type=int, default=3, help="how often to name each photograph")
    options.add_argument("--precision", default="fp32")
    options.add_argument("--json", action="store_true", dest="as_json", help="print JSON instead")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = photographs(chosen.folder)[: chosen.limit]
        if chosen.megapixels:
            files = write_enlarged(files, chosen.megapixels, folder)
        onnx = untrained(chosen.model, folder)
        compile_c(HERE / "peak.c", folder / "peak.exe")
        starts = {
            title: make([str(files[0])]) for title, make in contenders(chosen, onnx, folder).items()
        }
        alone = openvino_alone(onnx, chosen.threads, folder)
        if alone:
            starts[ALONE] = alone
        first = measure(starts, chosen.rounds, folder)
        many = list(map(str, files * chosen.times))
        folders = {title: make(many) for title, make in contenders(chosen, onnx, folder).items()}
        rates = measure(folders, chosen.rounds, folder)
    if chosen.as_json:
        print(json.dumps({"first": _plain(first), "folder": _plain(rates)}, indent=2))
        return
    size = f"of {chosen.megapixels:g} megapixels" if chosen.megapixels else "as they are"
    print(
        f"{chosen.model}, {chosen.precision}, {chosen.threads} threads, {len(files)} photographs "
        f"{size}, {chosen.rounds} rounds in turns, {machine()}: median (lowest–highest)\n"
    )
    print_starts(first)
    print_rates(rates)


def contenders(
    chosen: argparse.Namespace, onnx: Path, folder: Path
) -> dict[str, Callable[[list[str]], Command]]:
    """Return what makes the commands that answer images."""
    common = ["--json", "--threads", str(chosen.threads), "--precision", chosen.precision]
    cpp = shutil.which("fleetnet-predict", path=str(chosen.build / "command")) or shutil.which(
        "fleetnet-predict", path=str(chosen.build)
    )
    if cpp is None:
        raise SystemExit(f"error: no fleetnet-predict in {chosen.build}: build it by 'make cpp'")
    python = [sys.executable, "-m", "fleetnet", "predict"]
    found: dict[str, Callable[[list[str]], Command]] = {
        CPP: lambda images: [cpp, onnx, *images, *common],
        PYTHON: lambda images: [*python, onnx, *images, *common],
    }
    if PADDLE.exists() and chosen.precision == "fp32" and (model := paddle_model(chosen, folder)):
        script = [PADDLE, HERE / "paddle_predict.py", model, str(chosen.threads)]
        found[PADDLES] = lambda images: [*script, *images]
    return found


def paddle_model(chosen: argparse.Namespace, folder: Path) -> Path | None:
    """Export PaddleClas's network of the same name, or None if it has none."""
    made = folder / f"{chosen.model}.paddle" / "inference.json"
    if made.exists():
        return made
    maker = [sys.executable, "-m", "fleetnet", "weights", "convert"]
    source = folder / f"{chosen.model}.bundle"
    weights = folder / f"{chosen.model}.pdparams"
    export = [PADDLE, HERE.parent / "peers" / "make" / "paddle_export.py", folder, chosen.model]
    for command in ([*maker, source, weights], export):
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            print(f"left out: {PADDLES}: {done.stderr.decode()[-300:]}", file=sys.stderr)
            return None
    return made


def openvino_alone(onnx: Path, threads: int, folder: Path) -> Command | None:
    """Compile the least program that answers with OpenVINO's C interface."""
    spec = find_spec("openvino")
    if spec is None or spec.origin is None:
        return None
    home = Path(spec.origin).parent
    library = next((home / "libs").glob("libopenvino_c.so*"), None)
    if library is None:
        return None
    program = folder / "openvino_alone"
    compile_c(
        HERE / "openvino_alone.c",
        program,
        f"-I{home / 'include'}",
        library,
        f"-Wl,-rpath,{home / 'libs'}",
        f"-Wl,-rpath-link,{home / 'libs'}",
    )
    return [program, onnx, "224", str(threads)]


def compile_c(source: Path, program: Path, *more: str | Path) -> None:
    """Compile a program.

    Raises:
        SystemExit: there is no compiler, or it refuses.
    """
    compiler = os.environ.get("CC") or shutil.which("cc") or "cc"
    done = subprocess.run([compiler, "-O2", source, "-o", program, *more], check=False)
    if done.returncode:
        raise SystemExit(f"error: cc cannot compile {source}")


def measure(commands: Mapping[str, Command], rounds: int, folder: Path) -> dict[str, list[Process]]:
    """Run every command once in each round, after a round that does not count."""
    for command in commands.values():
        run(command, folder)
    taken: dict[str, list[Process]] = {title: [] for title in commands}
    for title in turns(commands, rounds):
        taken[title].append(run(commands[title], folder))
    return taken


def print_starts(taken: Mapping[str, Sequence[Process]]) -> None:
    """Print how long the first answer takes, and what memory."""
    print(
        "| one photograph | first answer, s | beside Python | peak of memory, MB | beside Python |"
    )
    print("| --- | ---: | ---: | ---: | ---: |")
    for title, processes in taken.items():
        cells = [
            spread([one.first_s for one in processes]).with_range(".3f"),
            _times(taken, title, lambda one: one.first_s).with_range(".2f"),
            spread([one.peak_mb for one in processes]).with_range(".0f"),
            _times(taken, title, lambda one: one.peak_mb).with_range(".2f"),
        ]
        print(f"| {title} | {' | '.join(cells)} |")
    print()


def print_rates(taken: Mapping[str, Sequence[Process]]) -> None:
    """Print how many images a second, after the first answer."""
    images = next(iter(taken.values()))[0].lines
    print(
        f"| {images} photographs | images a second | beside Python | processor time an image, ms "
        "| peak of memory, MB | beside Python |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for title, processes in taken.items():
        cells = [
            spread([one.rate for one in processes]).with_range(".1f"),
            _times(taken, title, lambda one: one.rate).with_range(".2f"),
            spread([1e3 * one.processor_s / one.lines for one in processes]).with_range(".2f"),
            spread([one.peak_mb for one in processes]).with_range(".0f"),
            _times(taken, title, lambda one: one.peak_mb).with_range(".2f"),
        ]
        print(f"| {title} | {' | '.join(cells)} |")
    print()


def _times(
    taken: Mapping[str, Sequence[Process]], title: str, figure: Callable[[Process], float]
) -> Spread:
    """Return a figure as a multiple of Python's in the same round."""
    own, base = ([figure(one) for one in taken[name]] for name in (title, PYTHON))
    return spread(ratios(own, base))


def _plain(taken: Mapping[str, Sequence[Process]]) -> dict[str, list[dict[str, float]]]:
    return {title: [one._asdict() for one in processes] for title, processes in taken.items()}


if __name__ == "__main__":
    main()
