"""The messages of the Open Inference Protocol: classes made from the description beside this file.

``setup.py`` generates the description, and ``messages.pyi`` for type checkers, from
``open_inference.proto``.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_FILES = FileDescriptorSet.FromString(Path(__file__).with_name("open_inference.pb").read_bytes())
# Of its own: tritonclient describes messages of the same names, and may be in the same process.
_POOL = DescriptorPool()
for _file in _FILES.file:
    _POOL.Add(_file)
DESCRIPTOR = _POOL.FindFileByName("open_inference.proto")

globals().update(
    {name: GetMessageClass(kind) for name, kind in DESCRIPTOR.message_types_by_name.items()}
)
