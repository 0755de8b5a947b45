"""Run the tests as on other machines: an older processor, an empty home, everything busy.

    python tests/portable.py [--only older|busy] [ARGUMENTS OF PYTEST ...]

Ends with 0 where every pass did. What an older processor computes otherwise is seen by as much as
the libraries have settings for that: PyTorch, oneDNN (OpenVINO's and PyTorch's), MKL, NumPy and
OpenCV take the instructions that AVX2 has, and OpenVINO and PyTorch offer only fp32 and int8.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fleetnet.inference.engines import available_threads

ROOT = Path(__file__).resolve().parent.parent
PRETEND = "FLEETNET_TESTS_PRETEND"
"""Set to ``avx2``, it has :func:`pretend` hide what a processor with only AVX2 does not have."""
OLDER = {
    PRETEND: "avx2",
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENCV_CPU_DISABLE": "AVX512_SKX",
    "OPENCV_IPP": "disabled",
    "LC_ALL": "C",
}
ARGUMENTS = ("-n", "2", "--dist", "loadfile")
_SPINS = """
import os, sys, threading
def wait():
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=wait, daemon=True).start()
while True:
    pass
"""
"""Keeps a processor busy until its standard input ends, as it does when the process that started it
ends."""


def pretend(processor: str) -> None:
    """Have OpenVINO and PyTorch say what they would on another processor.

    The libraries ask the processor itself, which the variables in :data:`OLDER` do not change: they
    would choose formats whose instructions they are then forbidden to use.

    Raises:
        ValueError: it is not known here.
    """
    if processor != "avx2":
        raise ValueError(f"{PRETEND} is {processor!r}; it must be 'avx2'")
    import torch

    from fleetnet.telemetry import without_telemetry

    with without_telemetry():
        import openvino

    ask = openvino.Core.get_property

    def get_property(core: openvino.Core, *arguments: Any) -> Any:
        found = ask(core, *arguments)
        if isinstance(found, list) and "FP32" in found:
            return [name for name in found if name not in ("BF16", "FP16")]
        return found

    openvino.Core.get_property = get_property
    torch.cpu.get_capabilities = lambda: {"avx2": True}  # type: ignore[assignment]


def older() -> dict[str, str]:
    """Return the variables of :data:`OLDER`, and what NumPy is not to use."""
    found: Any = np.show_config(mode="dicts")
    used = found["SIMD Extensions"].get("found", [])
    newer = [name for name in used if "AVX512" in name or name == "X86_V4"]
    return {**OLDER, "NPY_DISABLE_CPU_FEATURES": " ".join(newer)}


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Keep every processor that this process may use busy inside the block."""
    with contextlib.ExitStack() as stack:
        for _ in range(available_threads()):
            spinning = subprocess.Popen([sys.executable, "-S", "-c", _SPINS], stdin=subprocess.PIPE)
            stack.enter_context(spinning)  # on leaving, closes the pipe and waits
        yield


def run(arguments: list[str], variables: Mapping[str, str]) -> int:
    """Run pytest with these variables and return its exit code."""
    command = [sys.executable, "-m", "pytest", *(arguments or ARGUMENTS)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, check=False
    ).returncode


def main() -> int:
    """Run the passes that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", choices=["older", "busy"], help="the one pass to run")
    chosen, arguments = parser.parse_known_args()
    codes = {}
    if chosen.only != "busy":
        with tempfile.TemporaryDirectory() as home:
            codes["older"] = run(arguments, {**older(), "HOME": home})
    if chosen.only != "older":
        with busy():
            codes["busy"] = run(arguments, {})
    for name, code in codes.items():
        print(f"{name}: {'passed' if code == 0 else f'pytest ended with {code}'}")  # noqa: T201
    return max(codes.values())


if __name__ == "__main__":
    sys.exit(main())
