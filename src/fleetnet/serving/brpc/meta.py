"""What stands before the message in a frame; made as :mod:`fleetnet.serving.messages` is."""

from __future__ import annotations

from pathlib import Path

from fleetnet.serving.described import described

DESCRIPTOR, _messages = described(Path(__file__).with_name("meta.pb"))
globals().update(_messages)
