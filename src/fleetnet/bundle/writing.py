"""Writing a bundle, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from fleetnet.bundle.artifacts import MANIFEST, File
from fleetnet.bundle.bundle import Bundle
from fleetnet.bundle.manifest import Manifest
from fleetnet.bundle.onnx_metadata import ONNX_METADATA_KEY, onnx_metadata, with_onnx_metadata
from fleetnet.bundle.rejection import Rejection
from fleetnet.bundle.versions import to_current
from fleetnet.errors import BundleError, FleetnetError
from fleetnet.files import Standing, atomic_folder, check_folder, standing
from fleetnet.json_text import json_text


def write_bundle(
    path: Path,
    manifest: Manifest,
    files: dict[str, bytes],
    replacing: Standing | None = None,
    *,
    inside: str = "",
    around: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write a bundle so that it is whole or absent, replacing an older bundle at ``path``.

    Args:
        path: the folder to make.
        manifest: its artifacts' files must be the keys of ``files``.
        files: contents by file name: the artifacts', and what else lies there or in folders of it.
        replacing: what :func:`check_replaceable` returned when the work began; None if it begins
            now.
        inside: path of the folder in ``path`` that is the bundle; empty for ``path`` itself.
        around: contents of files in ``path`` by their paths, where the bundle is a folder in it.

    Returns:
        The bundle, wherever it is.

    Raises:
        OvertakenError: another process has written there since.
        FleetnetError: ``path`` holds something that is not a bundle, the disk is full, or the
            place cannot be written to.
    """
    found, text = check_replaceable(path, inside), manifest.to_json().encode()
    with atomic_folder(path, replacing or found) as folder:
        bundle = folder / inside
        bundle.mkdir(parents=True, exist_ok=True)
        _fill(bundle, files)
        _fill(folder, around or {})
        (bundle / MANIFEST).write_bytes(text)
    return Bundle(path / inside, manifest, content=text)


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write_rejection(
    bundle: Bundle, rejection: Rejection | None, output: Path | None = None
) -> Bundle:
    """Write a bundle with another rejection, or with none; its ONNX files say the same.

    Args:
        bundle: a folder.
        rejection: None to reject nothing any more.
        output: where to write; None for the bundle's own place.

    Raises:
        OvertakenError: another process has written there since the bundle was read.
        BundleError: the bundle is damaged, no folder or of a newer version, or holds what the
            manifest does not list; or its network gives an image any number of classes.
        FleetnetError: the place holds something else, or cannot be written to.
    """
    place = bundle.path if output is None else output
    check_only_listed(bundle, output)
    if bundle.manifest.passed_over:
        raise BundleError(
            f"{bundle.path} is of a newer version than this fleetnet: update fleetnet",
            file=str(bundle.path),
        )
    manifest = bundle.manifest.with_rejection(rejection)
    files: dict[str, bytes] = {}
    artifacts = []
    for artifact in bundle.artifacts:
        contents = {content.path.name: content.data for content in bundle.contents_of(artifact)}
        if artifact.format == "onnx":
            contents = {name: _saying(data, manifest) for name, data in contents.items()}
        kept = tuple(File.of(file.name, contents[file.name]) for file in artifact.files)
        artifacts.append(artifact.model_copy(update={"files": kept}))
        files |= contents
    manifest = manifest.with_artifacts(artifacts, str(bundle.path))
    replacing = bundle.found if place.resolve() == bundle.path.resolve() else None
    return write_bundle(place, manifest, files, replacing)


def _saying(graph: bytes, manifest: Manifest) -> bytes:
    """Return an ONNX file whose manifest, if it has one, has the rejection of this one."""
    text = onnx_metadata(graph).get(ONNX_METADATA_KEY)
    if text is None:
        return graph
    values, _ = to_current(json.loads(text))
    values.pop("rejection", None)
    if manifest.rejection is not None:
        values["rejection"] = manifest.rejection.model_dump(mode="json")
    values["format_version"] = manifest.format_version
    return with_onnx_metadata(graph, ONNX_METADATA_KEY, json_text(values) + "\n")


def check_only_listed(bundle: Bundle, output: Path | None) -> None:
    """Refuse to write a bundle anew if that would lose what the manifest does not list.

    Args:
        bundle: to be written anew.
        output: where to; None for the bundle's own place.

    Raises:
        BundleError: it is only an ONNX file, or there are other files.
        FleetnetError: nothing can be written there.
    """
    if bundle.path.is_file():
        raise BundleError(f"{bundle.path} is only an ONNX file: give the bundle's folder")
    if output is not None and output.resolve() != bundle.path.resolve():
        check_replaceable(output)
        return
    check_folder(bundle.path)
    listed = {file.name for artifact in bundle.artifacts for file in artifact.files}
    others = sorted({entry.name for entry in bundle.path.iterdir()} - listed - {MANIFEST})
    if others:
        raise BundleError(
            f"{bundle.path} holds {others[0]}, which is no part of the bundle and would be lost: "
            "move it, or choose another output=",
            arguments=["output"],
        )


def check_replaceable(path: Path, inside: str = "") -> Standing:
    """Refuse a place that holds something other than a bundle; return what is there now.

    Args:
        path: the folder to make.
        inside: as for :func:`write_bundle`.

    Raises:
        FleetnetError: ``path`` exists and is neither a bundle nor an empty folder, or nothing can
            be made there.
    """
    found = standing(path)
    check_folder(path)
    if not path.exists():
        return found
    empty = path.is_dir() and not any(path.iterdir())
    if not empty and not (path / inside / MANIFEST).is_file():
        raise FleetnetError(
            f"{path} exists and is not a bundle: choose another place", file=str(path)
        )
    return found
