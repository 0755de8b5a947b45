"""Classes of messages, made from the description that was generated where the package was built."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


def described(path: Path) -> tuple[FileDescriptor, dict[str, type[Message]]]:
    """Return a file's description, and the classes of its messages by name."""
    files = FileDescriptorSet.FromString(path.read_bytes())
    # Of its own: clients describe messages of the same names, and may be in the same process.
    pool = DescriptorPool()
    for file in files.file:
        pool.Add(file)
    description = pool.FindFileByName(files.file[-1].name)
    kinds = description.message_types_by_name.items()
    return description, {name: GetMessageClass(kind) for name, kind in kinds}
