"""A package of npm: only the one that was pinned, only the files that are wanted."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.export import converted
from fleetnet.export.converted import export_to
from fleetnet.export.devices import state_of
from fleetnet.export.separate import NodePackage
from fleetnet.export.targets import TARGETS

PACKAGE = NodePackage("web", 1, kept=("dist/a.mjs", "dist/b.wasm"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(package: NodePackage, members: dict[str, bytes | None]) -> NodePackage:
    """Write an archive where people may put it; return the package that is pinned to it."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content or b""))
    package.archive.parent.mkdir(parents=True, exist_ok=True)
    package.archive.write_bytes(written.getvalue())
    digest = base64.b64encode(hashlib.sha512(written.getvalue()).digest()).decode()
    return replace(package, integrity=f"sha512-{digest}")


def refused(package: NodePackage, *words: str) -> None:
    with pytest.raises(FleetnetError) as raised:
        package.make()
    told = str(raised.value)
    assert len(told.splitlines()) == 1
    assert all(word in told for word in words), told
    assert not package.folder.exists()
    assert not package.made


@pytest.mark.skipif(shutil.which("node") is None, reason="apt-get install nodejs")
def test_only_what_is_kept_is_unpacked(tmp_path: Path) -> None:
    package = put(
        PACKAGE,
        {
            "package/dist/a.mjs": b"a",
            "package/dist/b.wasm": b"b",
            "package/other.js": b"no",
            "../../outside": b"no",
        },
    )
    assert package.make() == package.program
    assert package.made
    assert {file.name for file in package.folder.iterdir()} == {"a.mjs", "b.wasm", "made"}
    assert package.read("b.wasm") == b"b"
    assert not list(tmp_path.rglob("outside"))
    package.archive.unlink()
    package.make()  # nothing is fetched any more


def test_another_archive_is_refused() -> None:
    package = put(PACKAGE, {"package/dist/a.mjs": b"a", "package/dist/b.wasm": b"b"})
    refused(replace(package, integrity="sha512-AAAA"), "is not the package that was pinned")


def test_odd_archives_are_refused() -> None:
    refused(put(PACKAGE, {"package/dist/a.mjs": b"a"}), "cannot be unpacked", "b.wasm")
    link = {"package/dist/a.mjs": None, "package/dist/b.wasm": b"b"}
    refused(put(PACKAGE, link), "no plain file dist/a.mjs")
    cut = put(PACKAGE, {"package/dist/a.mjs": bytes(10_000), "package/dist/b.wasm": b"b"})
    content = cut.archive.read_bytes()[:40]
    cut.archive.write_bytes(content)
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    refused(replace(cut, integrity=f"sha512-{digest}"), "cannot be unpacked")


def test_without_npm_it_says_what_to_put_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    refused(PACKAGE, "onnxruntime-web-1.30.0.tgz", "install npm", str(PACKAGE.archive.parent))


def test_what_npm_says_is_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'error: no such host'\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(npm))
    refused(PACKAGE, "cannot fetch the environment 'web'", "no such host")
    npm.write_text("#!/bin/sh\nexit 0\n")
    refused(PACKAGE, "npm left no onnxruntime-web-1.30.0.tgz")


def test_without_node_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert state_of(TARGETS["web"]).startswith("needs Node.js")
    with pytest.raises(FleetnetError, match=r"the target 'web' needs Node.js 18 or newer"):
        export_to(str(bundle.path), "web", tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.skipif(shutil.which("node") is None, reason="apt-get install nodejs")
def test_what_a_browser_does_not_take_is_said(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, tmp_path: Path
) -> None:
    monkeypatch.setattr(NodePackage, "make", lambda *_: Path("node"))
    with pytest.raises(FleetnetError, match="takes any batch: leave out fixed_batch="):
        export_to(str(bundle.path), "web", tmp_path / "made", batch=2)
    with pytest.raises(FleetnetError, match="no ONNX graph in int8: 'fleetnet quantize'"):
        converted.export_to(str(bundle.path), "web:int8", tmp_path / "made")
    assert not (tmp_path / "made").exists()
