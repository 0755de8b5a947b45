"""Many threads ask one engine for long: the memory of the process stays what it was."""

import subprocess
import sys
from pathlib import Path

import pytest

NETWORK = Path(__file__).parents[2] / "conformance" / "network.onnx"
THREADS = 16
CALLS = 20_000
ALLOWED = 24.0
"""MiB: allocators keep what they were given by the largest moment, which may come late."""

# Threads that last: what is kept for a thread goes with it.
CHILD = """
import itertools, resource, sys, threading
from pathlib import Path
import numpy as np
from fleetnet.bundle import Bundle
from fleetnet.inference.engines import open_engine

path, threads, streams, callers, calls = sys.argv[1], *map(int, sys.argv[2:])
bundle = Bundle.load(path)
side = bundle.manifest.preprocess.crop
pixels = np.zeros((1, side, side, 3), np.uint8)
engine = open_engine("openvino", bundle, threads, streams=streams)
first = engine.run(pixels)
number = itertools.count(1)
resident = {}

def work():
    while (call := next(number)) <= calls:
        assert np.abs(engine.run(pixels) - first).max() < 1e-5
        if call % (calls // 10) == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            resident[call] = pages * resource.getpagesize() / 2**20

workers = [threading.Thread(target=work) for _ in range(callers)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(*(resident[call] for call in sorted(resident)))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize(("threads", "streams"), [(2, 1), (4, 2)])
def test_openvino_keeps_no_memory_for_calls(threads: int, streams: int) -> None:
    """Even if streams have several threads each, for which OpenVINO keeps what calls leave."""
    words = [CHILD, str(NETWORK), *map(str, (threads, streams, THREADS, CALLS))]
    done = subprocess.run([sys.executable, "-c", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    tenths = [float(word) for word in done.stdout.split()]
    assert len(tenths) == 10
    assert tenths[-1] - tenths[0] < ALLOWED, tenths
