"""Run by the environment of tritonclient: prints the protocol that it speaks as a ``.proto`` file.

The package is published without that file, but its stubs hold its description. Of the service there
is what a server of classifiers answers; the other methods are about Triton itself.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from tritonclient.grpc import service_pb2  # type: ignore[import-not-found,unused-ignore]

METHODS = (
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer",
    "ModelStreamInfer", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload",
)  # fmt: skip
NAMES = {
    getattr(FieldDescriptor, name): name.removeprefix("TYPE_").lower()
    for name in dir(FieldDescriptor)
    if name.startswith("TYPE_")
}
HEADER = """\
//
// The service and the messages of the Open Inference Protocol with the extensions of NVIDIA Triton,
// as tritonclient {version} was published with them. Written by tests/serving/published_proto.py.

syntax = "proto3";

package inference;

service GRPCInferenceService {{"""


def lines() -> Iterator[str]:
    published = importlib.metadata.distribution("tritonclient")
    for line in (published.read_text("licenses/LICENSE.txt") or "").splitlines():
        yield "//" + line.removeprefix("#")
    yield HEADER.format(version=published.version)
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    methods = [service.methods_by_name[name] for name in METHODS]
    yield from map(method, methods)
    yield "}"
    wanted = reached([kind for one in methods for kind in (one.input_type, one.output_type)])
    for kind in service_pb2.DESCRIPTOR.message_types_by_name.values():
        if kind in wanted:
            yield ""
            yield from message(kind, "")


def method(one: MethodDescriptor) -> str:
    streams = "stream " if one.client_streaming else "", "stream " if one.server_streaming else ""
    given, answer = one.input_type.name, one.output_type.name
    return f"  rpc {one.name}({streams[0]}{given}) returns ({streams[1]}{answer}) {{}}"


def reached(roots: list[Descriptor]) -> list[Descriptor]:
    found: list[Descriptor] = []
    while roots:
        kind = roots.pop()
        if kind not in found:
            found.append(kind)
            roots += [field.message_type for field in kind.fields if field.message_type]
    return found


def message(kind: Descriptor, indent: str) -> Iterator[str]:
    inner = indent + "  "
    yield f"{indent}message {kind.name} {{"
    for nested in kind.nested_types:
        if not nested.GetOptions().map_entry:
            yield from message(nested, inner)
            yield ""
    for choice in kind.oneofs:
        yield f"{inner}oneof {choice.name} {{"
        yield from (f"{inner}  {declared(field)}" for field in choice.fields)
        yield f"{inner}}}"
    yield from (
        f"{inner}{declared(field)}" for field in kind.fields if field.containing_oneof is None
    )
    yield f"{indent}}}"


def declared(field: FieldDescriptor) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (name_of(one) for one in field.message_type.fields)
        return f"map<{key}, {value}> {field.name} = {field.number};"
    repeated = "repeated " if field.is_repeated else ""
    return f"{repeated}{name_of(field)} {field.name} = {field.number};"


def name_of(field: FieldDescriptor) -> str:
    return field.message_type.name if field.message_type is not None else NAMES[field.type]


print("\n".join(lines()))  # noqa: T201
