"""The weights of an MNN file in int8, read from what MNN's own tool writes of it as JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.export.separate import Environment

Bytes = npt.NDArray[np.uint8]
_DUMP = """
import sys, _tools
_tools.mnnconvert(["mnnconvert", "-f", "MNN", "--modelFile", sys.argv[1], "--JsonFile", sys.argv[2],
                   "--bizCode", "fleetnet"])
"""


def weights_of_mnn(
    content: bytes, environment: Environment, folder: Path
) -> Iterator[tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]]:
    """Yield the integers ``[outputs, inputs]`` and steps of each convolution.

    The steps have six digits behind the point in JSON, so they come from the file itself.
    """
    (folder / "it.mnn").write_bytes(content)
    files = [str(folder / name) for name in ("it.mnn", "it.json")]
    command = [str(environment.program), "-c", _DUMP, *files]
    subprocess.run(command, check=True, env=environment.variables, capture_output=True)
    for one in json.loads((folder / "it.json").read_text("utf-8"))["oplists"]:
        if one["type"].startswith("Convolution"):
            made = one["main"]["quanParameter"]
            rows = _integers(np.array(made["buffer"], np.int8).view(np.uint8), made["type"])
            yield rows, _steps(content, made["alpha"])


def _steps(content: bytes, rounded: list[Any]) -> npt.NDArray[np.float32]:
    """Return the only numbers in a file that are these, rounded to six digits behind the point."""
    numbers = np.frombuffer(content[: len(content) // 4 * 4], "<f4")
    windows = np.lib.stride_tricks.sliding_window_view(numbers, len(rounded))
    with np.errstate(invalid="ignore"):
        near = (np.abs(numbers[: len(windows)] - rounded[0]) <= 6e-7).nonzero()[0]
        places = [place for place in near if (np.abs(windows[place] - rounded) <= 6e-7).all()]
    (place,) = places
    return np.asarray(windows[place])


def _integers(content: Bytes, kind: int) -> npt.NDArray[np.int8]:
    """Read MNN's own compression: a table of values and places in it, or of those beside zero."""
    axes = int(content[0])
    shape = content[1 : 1 + 2 * axes].view("<u2").astype(int)
    rest = content[1 + 2 * axes :]
    found = np.zeros(int(np.prod(shape)), np.int8)
    if kind == 1:
        values, rest = _table(rest)
        found[:] = values[_numbers(rest, len(found), _width(values))]
    else:
        some, width = int(rest[:4].copy().view("<u4")[0]), int(rest[4])
        gaps = _numbers(rest[5:], some, width)
        values, rest = _table(rest[5 + -(-some * width // 8) :])
        found[np.cumsum(gaps)] = values[_numbers(rest, some, _width(values))]
    return found.reshape(int(shape[0]), -1)


def _table(content: Bytes) -> tuple[npt.NDArray[np.int8], Bytes]:
    size = int(content[0]) or 256
    return content[1 : 1 + size].view(np.int8), content[1 + size :]


def _width(table: npt.NDArray[np.int8]) -> int:
    return max(1, int(np.ceil(np.log2(len(table)))))


def _numbers(content: Bytes, count: int, width: int) -> npt.NDArray[np.int64]:
    """Return numbers of so many bits, one after the other."""
    bits = np.unpackbits(content[: -(-count * width // 8)])[: count * width]
    found: npt.NDArray[np.int64] = bits.reshape(count, width).astype(np.int64) @ (
        1 << np.arange(width)[::-1]
    )
    return found
