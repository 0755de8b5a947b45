"""A bundle: a folder with a manifest and artifacts, or an ONNX file that carries a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from fleetnet.bundle.artifacts import (
    MANIFEST,
    Artifact,
    File,
    Judgement,
    Verification,
    named,
)
from fleetnet.bundle.integrity import Content, checked, content_at, content_of
from fleetnet.bundle.manifest import Manifest
from fleetnet.bundle.onnx_metadata import ONNX_METADATA_KEY, onnx_metadata
from fleetnet.errors import BundleError
from fleetnet.files import Standing, standing

MAX_MANIFEST_BYTES = 64 * 2**20

T = TypeVar("T")


class Bundle:
    """A bundle on disk, or a lone ``.onnx`` file that carries the same metadata.

    Attributes:
        path: the folder, or the ``.onnx`` file.
        manifest: what it holds, checked.
        found: what was at ``path`` when the manifest was read, so that nothing newer is replaced.
        hash: SHA-256 of the manifest's file, which holds the hashes of the others; of an ONNX file
            its own.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        found: Standing | None = None,
        content: bytes | None = None,
    ) -> None:
        self.path = path
        self.manifest = manifest
        text = manifest.to_json().encode() if content is None else content
        self.hash = hashlib.sha256(text).hexdigest()
        self.found = found or standing(path)
        self._lone: Artifact | None = None
        self._content: bytes | None = None

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read and check the manifest of a bundle, or the metadata of an ONNX file.

        Raises:
            BundleError: missing, damaged, newer than this version, or no bundle at all.
        """
        path = Path(path)
        if path.name == MANIFEST:
            path = path.parent
        if path.is_file() and path.suffix == ".onnx":
            return cls._of_onnx(path)
        if not path.exists():
            raise BundleError(f"no such bundle: {path}", code="not-found", file=str(path))
        file, found = path / MANIFEST, standing(path)
        if not path.is_dir() or not file.is_file():
            raise BundleError(
                f"{path} is not a bundle: a bundle is a folder with {MANIFEST} in it, as "
                "'fleetnet export' writes it",
                file=str(path),
            )
        try:
            if file.stat().st_size > MAX_MANIFEST_BYTES:
                raise BundleError(
                    f"{file} is larger than {MAX_MANIFEST_BYTES // 2**20} MiB",
                    code="too-large",
                    file=str(file),
                )
            text = file.read_bytes()
        except OSError as error:
            raise BundleError(
                f"cannot read {file}: {error.strerror}", code="unreadable", file=str(file)
            ) from None
        return cls(path, Manifest.from_json(text, str(file)), found, text)

    @classmethod
    def _of_onnx(cls, path: Path) -> Bundle:
        try:
            content = path.read_bytes()
            text = onnx_metadata(content).get(ONNX_METADATA_KEY)
        except (OSError, ValueError) as error:
            raise BundleError(
                f"cannot read {path}: {error}", code="unreadable", file=str(path)
            ) from None
        if text is None:
            raise BundleError(
                f"{path} has no Fleetnet metadata: it was not written by 'fleetnet export'",
                file=str(path),
            )
        bundle = cls(path, Manifest.from_json(text, str(path)), content=content)
        # A file that the user names directly may have any name.
        file = File.of("model.onnx", content).model_copy(update={"name": path.name})
        bundle._lone = Artifact(format="onnx", files=(file,))
        bundle._content = content
        return bundle

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All artifacts of the bundle, including those in formats that nothing here reads.

        A lone ONNX file is its only artifact.
        """
        return (self._lone,) if self._lone else self.manifest.artifacts

    def find(
        self,
        *,
        format: str,  # noqa: A002 - the manifest's word
        precision: str | None = "fp32",
        batch: int | None = None,
    ) -> Artifact | None:
        """Return an artifact, without looking at its files; None if there is none.

        Args:
            format: of its files: ``onnx``, ``openvino-ir``, ``safetensors``, ``trained-images``, or
                whatever else was put in.
            precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``; None for what is not a network.
            batch: the only batch size that it takes; None for a graph that takes any.
        """
        key = (format, precision, batch)
        return next((artifact for artifact in self.artifacts if artifact.key == key), None)

    def records(self, engine: str, precision: str) -> Iterator[tuple[Artifact, Verification]]:
        """Yield what is on record of an engine's answers in a precision, with each artifact.

        What an engine computes in fewer bits than the graph is stored in has no record.

        Args:
            engine: its name.
            precision: that an artifact is stored in.
        """
        for artifact in self.artifacts:
            if artifact.precision == precision:
                for record in artifact.verification:
                    if record.engine == engine:
                        yield artifact, record

    def judgement(self, engine: str, precision: str) -> Judgement | None:
        """Return what is on record of what an engine loses in a precision; None if nothing."""
        records = self.records(engine, precision)
        return next((record.judgement for _, record in records if record.judgement), None)

    def files(
        self,
        *,
        format: str,  # noqa: A002 - the manifest's word
        precision: str | None = "fp32",
        batch: int | None = None,
    ) -> tuple[Path, ...]:
        """Return the paths of an artifact's files after checking their contents; see :meth:`find`.

        Raises:
            BundleError: no such artifact, or a file is missing or has changed.
        """
        return self.files_of(self._wanted(format, precision, batch))

    def file(
        self,
        *,
        format: str,  # noqa: A002 - the manifest's word
        precision: str | None = "fp32",
        batch: int | None = None,
    ) -> Path:
        """Return the path of an artifact's only file after checking it; see :meth:`find`.

        Raises:
            BundleError: no such artifact, it has several files, or the file is missing or has
                changed.
        """
        return self._only(
            self.files(format=format, precision=precision, batch=batch),
            named(format, precision, batch),
        )

    def contents(
        self,
        *,
        format: str,  # noqa: A002 - the manifest's word
        precision: str | None = "fp32",
        batch: int | None = None,
    ) -> tuple[Content, ...]:
        """Return the contents of an artifact's files, each read once; see :meth:`find`.

        What was compared with the manifest is what is returned, even if the bundle is replaced
        meanwhile.

        Raises:
            BundleError: no such artifact, or a file is missing or has changed.
        """
        return self.contents_of(self._wanted(format, precision, batch))

    def content(
        self,
        *,
        format: str,  # noqa: A002 - the manifest's word
        precision: str | None = "fp32",
        batch: int | None = None,
    ) -> Content:
        """Return the content of an artifact's only file; see :meth:`contents`.

        Raises:
            BundleError: no such artifact, it has several files, or the file is missing or has
                changed.
        """
        return self._only(
            self.contents(format=format, precision=precision, batch=batch),
            named(format, precision, batch),
        )

    def files_of(self, artifact: Artifact) -> tuple[Path, ...]:
        """Return the paths of the files of one of :attr:`artifacts`, after checking their contents.

        Raises:
            BundleError: a file is missing or has changed.
        """
        if self._lone:
            return (self.path,)
        return tuple(checked(self.path, file) for file in artifact.files)

    def contents_of(self, artifact: Artifact) -> tuple[Content, ...]:
        """Return the contents of one of :attr:`artifacts`, as :meth:`contents` does.

        Raises:
            BundleError: a file is missing or has changed.
        """
        if self._lone:
            # Kept from loading for the first who asks: it is large, and few ask twice.
            content, self._content = self._content, None
            if content is not None:
                return (Content(self.path, content),)
            return (content_at(self.path, artifact.files[0]),)
        return tuple(content_of(self.path, file) for file in artifact.files)

    def renewed(self) -> Bundle | None:
        """Return the bundle that is in the place of this one by now; None if that is still this.

        Raises:
            BundleError: as :meth:`load`.
        """
        there = Bundle.load(self.path)
        return None if there.hash == self.hash else there

    def _wanted(self, format: str, precision: str | None, batch: int | None) -> Artifact:  # noqa: A002
        found = self.find(format=format, precision=precision, batch=batch)
        if found is not None:
            return found
        wanted = named(format, precision, batch)
        if self._lone:
            raise BundleError(
                f"{self.path} is only an ONNX file, without {wanted}: give the bundle's folder",
                file=str(self.path),
            )
        there = ", ".join(map(str, self.artifacts)) or "nothing"
        raise BundleError(
            f"{self.path} has no {wanted} (it has: {there})",
            code="no-artifact",
            file=str(self.path),
            wanted=wanted,
            known=list(map(str, self.artifacts)),
        )

    def _only(self, found: tuple[T, ...], wanted: str) -> T:
        if len(found) != 1:
            raise BundleError(
                f"{self.path} has {wanted} in {len(found)} files instead of one",
                file=str(self.path),
            )
        return found[0]
