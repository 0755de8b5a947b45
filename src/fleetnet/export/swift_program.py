"""A program in Swift beside a Core ML package: from a photograph to the classes."""

from __future__ import annotations

from importlib.resources import files as resources

from fleetnet.bundle import Manifest
from fleetnet.export.native_program import FILTERS, core
from fleetnet.export.targets.target import Files


def program(_files: Files, manifest: Manifest) -> Files:
    """Return the program's source, what it has to know of the network, and the C core."""
    source = resources("fleetnet.export") / "swift_program"
    return {
        "main.swift": (source / "main.swift").read_bytes(),
        "Model.swift": values(manifest).encode(),
        "core/module.modulemap": (source / "module.modulemap").read_bytes(),
        **{f"core/{name}": content for name, content in core().items()},
    }


def values(manifest: Manifest) -> str:
    """Return ``Model.swift``: what a program in Swift has to know of a network."""
    preprocess, model = manifest.preprocess, manifest.model
    names = "".join(f"        {literal(name)},\n" for name in manifest.classes)
    return f"""\
// What fleetnet.json says of the network, as it was when it was exported.
import FleetnetCore

enum Model {{
    static let preprocess = fleetnet_preprocess(
        resize: {preprocess.resize}, crop: {preprocess.crop},
        interpolation: {FILTERS[preprocess.interpolation]})
    static let sigmoid = {"true" if model.activation == "sigmoid" else "false"}  // else softmax
    static let temperature = {manifest.temperature!r}
    static let classes: [String] = [
{names}    ]
}}
"""


def literal(text: str) -> str:
    r"""Return a text as Swift writes it; what is not plain ASCII becomes ``\u{…}``."""
    plain = text.encode("utf-8", "replace").decode()  # surrogates alone are no characters
    signs = (
        sign if " " <= sign <= "~" and sign not in '"\\' else f"\\u{{{ord(sign):x}}}"
        for sign in plain
    )
    return f'"{"".join(signs)}"'
