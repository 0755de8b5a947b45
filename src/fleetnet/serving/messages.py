"""The messages of the Open Inference Protocol: classes made from the description beside this file.

``setup.py`` generates the description, and ``messages.pyi`` for type checkers, from
``open_inference.proto``.
"""

from __future__ import annotations

from pathlib import Path

from fleetnet.serving.described import described

DESCRIPTOR, _messages = described(Path(__file__).with_name("open_inference.pb"))
globals().update(_messages)
