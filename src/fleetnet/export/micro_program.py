"""The program beside a network for microcontrollers, with the network as an array in C."""

from __future__ import annotations

import json
from importlib.resources import files as resources

from fleetnet.bundle import Manifest
from fleetnet.export.targets.target import Files
from fleetnet.text import quoted

NETWORK, FACTS = "model.tflite", "network.json"
_WIDTH = 20


def program(files: Files, manifest: Manifest) -> Files:
    """Return ``main.cpp`` and what it includes: the network, and what is known of it."""
    source = resources("fleetnet.export") / "micro_program"
    return {
        "main.cpp": (source / "main.cpp").read_bytes(),
        "model.h": _values(json.loads(files[FACTS]), manifest).encode(),
        "model_data.h": b"#pragma once\n\nextern const unsigned char model_data[];\n",
        "model_data.cpp": _array(files[NETWORK]).encode(),
    }


def _values(facts: dict[str, object], manifest: Manifest) -> str:
    names = "".join(f"    {quoted(name)},\n" for name in manifest.classes)
    operators = facts["operators"]
    assert isinstance(operators, list)  # noqa: S101 - our own file
    added = " &&\n           ".join(f"resolver.Add{name}() == kTfLiteOk" for name in operators)
    return f"""\
// What the exported network is and takes.
#pragma once

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace model {{

constexpr int arena_bytes = {facts["arena"]};
constexpr int crop = {manifest.preprocess.crop};
constexpr int class_count = {manifest.model.num_classes};
// A logit is scale * (output - zero_point).
constexpr float scale = {facts["scale"]!r}F;
constexpr int zero_point = {facts["zero"]};
constexpr const char *classes[] = {{
{names}}};
constexpr int operator_count = {len(operators)};

inline bool add_operators(tflite::MicroMutableOpResolver<operator_count> &resolver) {{
    return {added};
}}

}} // namespace model
"""


def _array(content: bytes) -> str:
    rows = (content[start : start + _WIDTH] for start in range(0, len(content), _WIDTH))
    lines = "\n".join("    " + "".join(f"{byte}," for byte in row) for row in rows)
    return f"""\
#include "model_data.h"

alignas(16) const unsigned char model_data[] = {{
{lines}
}};
"""
