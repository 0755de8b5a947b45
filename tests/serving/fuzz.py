"""Bytes from outside, changed until something new happens: ``make serve-fuzz``.

``python -m serving.fuzz TARGET CORPUS [-max_total_time=60]`` with a target of ``serving.fuzzing``.
What is worth keeping is added to the corpus, so that the next run begins there.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fleetnet.serving", "python_multipart", "starlette"]):
    from serving.fuzzing import run, seeds

if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    program, target, corpus, *rest = sys.argv
    Path(corpus).mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()[target]):
        (Path(corpus) / f"seed{number}").write_bytes(seed)
    atheris.Setup([program, *rest, corpus], lambda data: run(target, data))
    atheris.Fuzz()
