"""Whatever system the C++ predictor is built for: the pixels, errors and answers of this one.

``make cpp`` holds this machine's build to it, ``make cpp-windows`` the one for Windows under wine,
and ``make cpp-arm64`` the one for Arm64 under qemu.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from fleetnet.bundle import Bundle
from fleetnet.conformance.files import ConformanceSet
from fleetnet.errors import ImageError
from fleetnet.image_bytes import read_bytes
from fleetnet.inference.engines import open_engine
from fleetnet.preprocess import Interpolation, Preprocess

pytestmark = pytest.mark.slow

RUNNER = "FLEETNET_CPP_RUNNER"
"""Is put before each command, such as an emulator of another processor."""
FILTERS: tuple[Interpolation, ...] = ("bilinear", "bicubic", "cv2-linear")
"""In the order of the C core's numbers."""
ABSENT = "is not in this build of fleetnet"
"""In the error for formats whose library was not found when it was built."""
SAME_TOLERANCE = 1e-5
"""Of logits, by the same engine on the same processor. Another kind of processor adds in another
order, and is held to what the set allows every engine."""


class Answer(NamedTuple):
    """What ``fleetnet-pixels`` said of one file."""

    error: str | None
    size: tuple[int, int] = (0, 0)
    sha256: str = ""


class Tools:
    """The programs beside the tests, which say pixels and logits."""

    def __init__(self, folder: Path, runner: Sequence[str]) -> None:
        self.folder, self.runner = folder, list(runner)

    def run(self, name: str, lines: Sequence[str], *arguments: str) -> bytes:
        """Return what the program ``name`` answers to lines of standard input."""
        program = next(
            (path for path in (self.folder / name, self.folder / f"{name}.exe") if path.is_file()),
            None,
        )
        if program is None:
            pytest.skip(f"{self.folder / name} is not built")
        return subprocess.run(
            [*self.runner, program, *arguments],
            input="".join(f"{line}\n" for line in lines).encode(),
            stdout=subprocess.PIPE,
            check=True,
        ).stdout

    def pixels(self, lines: Sequence[str]) -> list[Answer]:
        output = self.run("fleetnet-pixels", lines)
        answers, place = [], 0
        while place < len(output):
            end = output.index(b"\n", place)
            head = output[place:end].decode().rstrip("\r")
            place = end + 1
            if not head.startswith("ok "):
                answers.append(Answer(head.removeprefix("error ")))
                continue
            width, height = (int(side) for side in head.split()[1:])
            pixels = output[place : place + 3 * width * height]
            place += len(pixels)
            answers.append(Answer(None, (width, height), hashlib.sha256(pixels).hexdigest()))
        assert len(answers) == len(lines)
        return answers

    def logits(self, bundle: Path, files: Sequence[Path]) -> npt.NDArray[np.float32]:
        """Return each file's logits; NaN where its format is not in this build."""
        output = self.run("fleetnet-logits", [str(file) for file in files], str(bundle))
        lines = output.decode().splitlines()
        assert len(lines) == len(files)
        wrong = [
            f"{file}: {line}"
            for file, line in zip(files, lines, strict=True)
            if line.startswith("error") and ABSENT not in line
        ]
        assert not wrong
        classes = max(len(line.split()) for line in lines if not line.startswith("error"))
        none = [np.nan] * classes
        return np.array(
            [none if line.startswith("error") else line.split() for line in lines], np.float32
        )


@pytest.fixture(scope="module")
def tools(cpp_build: Path) -> Tools:
    return Tools(cpp_build / "tests", shlex.split(os.environ.get(RUNNER, "")))


def test_conformance_pixels(tools: Tools) -> None:
    """The set's whole pictures and crops to the bit, and Python's errors to the letter."""
    conformance = ConformanceSet.load()
    lines: list[str] = []
    expected: list[Answer] = []
    for picture in conformance.description.pictures:
        path = conformance.path / picture.file
        if picture.decoded is None:
            lines.append(f"input 0 27 24 1 0 {path}")
            expected.append(_error_of(path))
            continue
        whole = picture.decoded
        lines.append(f"decode 0 {path}")
        expected.append(Answer(None, (whole.width, whole.height), whole.sha256))
        for one in picture.inputs:
            number = FILTERS.index(one.interpolation)
            bits = one.sample_bits or 0
            lines.append(f"input {number} {one.resize} {one.crop} {int(one.exact)} {bits} {path}")
            expected.append(Answer(None, (one.crop, one.crop), one.sha256))
    found = tools.pixels(lines)
    absent = {answer.error for answer in found if ABSENT in (answer.error or "")}
    differences = [
        f"{line}: {one} instead of {other}"
        for line, one, other in zip(lines, found, expected, strict=True)
        if one != other and one.error not in absent
    ]
    assert not differences
    if absent:
        pytest.skip("the rest is right, but " + ", ".join(sorted(map(str, absent))))


def _error_of(path: Path) -> Answer:
    preprocess = Preprocess(
        resize=27, crop=24, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
    )
    with pytest.raises(ImageError) as caught:
        preprocess.from_bytes(read_bytes(path))
    return Answer(str(caught.value))


def test_conformance_logits(tools: Tools) -> None:
    """The set's logits, as this machine's Python computes them."""
    conformance = ConformanceSet.load()
    pictures = [one for one in conformance.description.pictures if one.logits]
    files = [conformance.path / one.file for one in pictures]
    _compare(tools, conformance.path / conformance.description.network.file, files)


def test_photographs(tools: Tools, photos: list[Path]) -> None:
    """Photographs' pixels to the bit, the scaled ones too, and their logits."""
    some = photos[:: max(1, len(photos) // int(os.environ.get("FLEETNET_CPP_PHOTOS", "10")))]
    lines, expected = [], []
    for photo in some:
        for number, interpolation in enumerate(FILTERS):
            for exact in (True, False):
                preprocess = Preprocess(
                    resize=48, crop=40, interpolation=interpolation, mean=(0, 0, 0), std=(1, 1, 1)
                )
                pixels = preprocess.from_bytes(photo.read_bytes(), exact=exact)
                lines.append(f"input {number} 48 40 {int(exact)} 0 {photo}")
                expected.append(hashlib.sha256(pixels.tobytes()).hexdigest())
    assert [one.sha256 for one in tools.pixels(lines)] == expected
    conformance = ConformanceSet.load()
    _compare(tools, conformance.path / conformance.description.network.file, some)


def _compare(tools: Tools, bundle: Path, files: Sequence[Path]) -> None:
    """Hold the logits of files to those of Python, and print how far they are apart."""
    loaded = Bundle.load(bundle)
    preprocess = loaded.manifest.preprocess
    pixels = [preprocess.from_bytes(file.read_bytes()) for file in files]
    with open_engine("openvino", loaded) as engine:
        expected = np.concatenate([engine.run(one[None]) for one in pixels])
    found = tools.logits(bundle, files)
    here = ~np.isnan(found).any(axis=1)
    found, expected = found[here], expected[here]
    difference = float(np.abs(found - expected).max())
    largest = float(np.abs(expected).max())
    sys.stdout.write(f"{len(found)} files: logits up to {largest:.3g} differ by {difference:.2g}\n")
    emulated = "qemu" in " ".join(tools.runner) and platform.machine() != "aarch64"
    allowed = ConformanceSet.load().description.network.tolerance
    assert difference < (allowed if emulated else SAME_TOLERANCE)
    assert (found.argsort(axis=1) == expected.argsort(axis=1)).all()
