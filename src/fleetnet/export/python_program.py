"""Programs in Python on the pages beside converted files: from a photograph to the classes."""

from __future__ import annotations

from textwrap import dedent, indent

from fleetnet.bundle import Manifest

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
pixels = np.stack([picture] * {images})  # uint8[{images}, {crop}, {crop}, 3]
"""
_END = """\
probabilities = to_probabilities(logits, manifest.model.activation, manifest.temperature)[0]
for index in np.argsort(probabilities)[::-1][:5]:
    print(manifest.classes[index], probabilities[index])
"""


def source(imports: str, runs: str) -> str:
    """Return a whole program for the folder of converted files, and for one picture.

    Args:
        imports: the lines that import the runtime.
        runs: the lines that make ``logits``, ``float32[N, K]``, of ``pixels``, ``uint8[N, crop,
            crop, 3]``.
    """
    imports, runs = dedent(imports).strip(), dedent(runs).strip()
    return f"{_BEGINNING}{imports}\n{_OURS}\n{_PICTURE}\n{runs}\n\n{_END}"


def program(imports: str, runs: str) -> str:
    """Return :func:`source` as Markdown, with ``photo.jpg`` as the picture."""
    return indent(source(imports, runs), "    ").rstrip()


def file(imports: str, runs: str, manifest: Manifest) -> bytes:
    """Return :func:`source` as a file for a manifest, which takes a picture's path."""
    text = source(imports, runs).replace('"photo.jpg"', "sys.argv[1]")
    batch, crop = manifest.artifacts[0].batch or 1, manifest.preprocess.crop
    text = text.replace("{images}", str(batch)).replace("{crop}", str(crop))
    text = text.replace("{batch}", str(batch))
    return f"import sys\n{text}".encode()
