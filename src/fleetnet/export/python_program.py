"""Programs in Python on the pages beside converted files: from a photograph to the classes."""

from __future__ import annotations

from textwrap import dedent, indent

_BEGINNING = """\
from pathlib import Path

import numpy as np
"""
_OURS = """\
from fleetnet.bundle import Bundle
from fleetnet.inference.probabilities import to_probabilities
"""
_PICTURE = """\
manifest = Bundle.load(".").manifest
picture = manifest.preprocess.from_bytes(Path("photo.jpg").read_bytes())
pixels = np.stack([picture] * {batch})  # uint8[{batch}, {crop}, {crop}, 3]
"""
_END = """\
probabilities = to_probabilities(logits, manifest.model.activation, manifest.temperature)[0]
for index in np.argsort(probabilities)[::-1][:5]:
    print(manifest.classes[index], probabilities[index])
"""


def program(imports: str, runs: str) -> str:
    """Return, as Markdown, a whole program for the folder that it is run in.

    Args:
        imports: the lines that import the runtime.
        runs: the lines that make ``logits``, ``float32[N, K]``, of ``pixels``, ``uint8[N, crop,
            crop, 3]``.
    """
    imports, runs = dedent(imports).strip(), dedent(runs).strip()
    return indent(f"{_BEGINNING}{imports}\n{_OURS}\n{_PICTURE}\n{runs}\n\n{_END}", "    ").rstrip()
