"""A model comes from the configured folder only, whatever it is called and whatever moves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fleetnet.bundle import Bundle
from fleetnet.bundle.artifacts import MANIFEST
from fleetnet.errors import FleetnetError
from fleetnet.inference.classifier import Classifier
from fleetnet.serving import loaded as loading
from fleetnet.serving.errors import NotFoundError
from fleetnet.serving.loaded import LoadedModel, Opening
from fleetnet.serving.repository import Repository
from fleetnet.serving.requests import Request
from fleetnet.serving.service import Service
from serving.conftest import serving

NAMES = [
    "...", "..%2fshapes", "%2e%2e%2fshapes", "%252e%252e%252fshapes", "..%c0%afshapes",
    "%c0%ae%c0%ae%c0%afshapes", "..%255cshapes", "..%5cshapes", "..\\shapes", "shapes%5c1",
    "%2fetc%2fpasswd", "//etc/passwd", "/etc/passwd", "%5c%5chost%5cshare", "\\\\host\\share",
    "file:%2f%2f%2fetc%2fpasswd", "C:%5cmodels", "C:shapes", "shapes%00", "shapes%00.onnx", "%00",
    "shapes%0a", "shapes%0d%0aX-Evil:%201", "shapes;1", "shapes%3b1", "shapes%20", "%20shapes",
    "shapes/", "shapes%2f1", "shapes/1", "shapes%2f..%2fshapes", "~", "~root", "$HOME",
    "%24%7bHOME%7d", "*", "shape?", "sh%61pes%2f", ".hidden", "-rf", "_shapes", "con%2f",
    "shapes%e2%80%ae", "%ef%bd%93hapes", "shapes%cc%81", "%ef%bc%8e%ef%bc%8e%ef%bc%8fshapes",
    "a" * 101, "a" * 5000, "a..b", "outside", "linked", "loop", "dangling", "fifo", "inner",
    "fleetnet.json", "shapes.bundle%2f",
]  # fmt: skip
"""What could be taken for a path, however it is written."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, versions: Path) -> Path:
    """A folder of models beside which there are others, with links that lead to these."""
    place = tmp_path_factory.mktemp("place")
    folder = place / "models"
    shutil.copytree(versions, folder)
    shutil.copytree(versions / "shapes" / "1", place / "outside")
    (folder / "linked").symlink_to(place / "outside")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    inner = folder / "inner"
    inner.mkdir()
    for file in (place / "outside").iterdir():
        (inner / file.name).symlink_to(file)
    if hasattr(os, "mkfifo"):
        (folder / "fifo").mkdir()
        os.mkfifo(folder / "fifo" / MANIFEST)
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    with serving(folder=folder) as client:
        yield client


@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_a_path(client: TestClient, name: str) -> None:
    before = client.post("/v2/repository/index", json={}).json()
    assert {(entry["name"], entry["state"]) for entry in before} == {("shapes", "READY")}
    for verb in ("load", "unload"):
        response = client.post(f"/v2/repository/models/{name}/{verb}", content=b"")
        assert response.status_code in (400, 404, 405), response.text
        assert response.json()["code"] in ("request", "not-found")
        plain = name.replace("%", "")
        response = client.post(
            "/v2/repository/models/shapes/" + verb, json={"parameters": {"version": plain}}
        )
        assert response.status_code in (400, 404), response.text
    for path in (
        f"/v2/models/{name}",
        f"/v2/models/shapes/versions/{name}",
        f"/models/{name}/card",
    ):
        assert client.get(path).status_code in (400, 404), path
    response = client.post(f"/classify?model={name}", content=b"none")
    assert response.status_code in (400, 404)
    assert client.post("/v2/repository/index", json={}).json() == before


def test_a_manifest_that_is_a_link_out_of_the_folder_is_none(
    tmp_path: Path, versions: Path
) -> None:
    shutil.copytree(versions, tmp_path / "models")
    manifest = tmp_path / "models" / "shapes" / "1" / MANIFEST
    shutil.move(manifest, tmp_path / MANIFEST)
    manifest.symlink_to(tmp_path / MANIFEST)
    assert list(Repository({}, tmp_path / "models").versions("shapes")) == ["2"]


def swapped(path: Path, outside: Path) -> None:
    """Put a link in the place of a bundle."""
    path.rename(outside.with_name("was"))
    path.symlink_to(outside)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_bundle_that_becomes_a_link_while_it_is_loaded_is_refused(
    tmp_path: Path, versions: Path, picture: bytes, moment: str
) -> None:
    folder, outside = tmp_path / "models", tmp_path / "outside"
    shutil.copytree(versions, folder)
    shutil.copytree(versions / "shapes" / "2", outside)
    swap = False

    def opened(path: Path, opening: Opening) -> LoadedModel:
        if swap and moment == "before":
            swapped(path, outside)
        model = LoadedModel.open(path, opening)
        if swap and moment == "after":
            swapped(path, outside)
        return model

    async def all_of_it() -> None:
        nonlocal swap
        service = Service(Repository({}, folder), open_model=opened)
        await service.start()
        former = service.models.find("shapes", "1")
        swap = True
        with pytest.raises(NotFoundError, match="taken out of the folder"):
            await service.load("shapes", "1")
        assert service.models.find("shapes", "1") is former
        result = await service.infer(Request(images=(picture,), model="shapes", version="1"))
        assert result.bundle == former.loaded.hash
        assert [one.state for one in service.index()] == ["UNAVAILABLE", "READY"]
        await service.close()

    asyncio.run(asyncio.wait_for(all_of_it(), 120))


def test_what_changes_while_it_is_loaded_is_named_as_it_was_read(
    tmp_path: Path, versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hash is of the bundle that answers, not of what is in its place by then."""
    path = tmp_path / "one"
    shutil.copytree(versions / "shapes" / "1", path)

    class Slow(Classifier):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[arg-type]
            shutil.copy(versions / "shapes" / "2" / MANIFEST, path / MANIFEST)

    with monkeypatch.context() as patch:
        patch.setattr(loading, "Classifier", Slow)
        model = LoadedModel.open(path, Opening(threads=1))
        assert model.hash == Bundle.load(versions / "shapes" / "1").hash
        model.close()
    model = LoadedModel.open(path, Opening(threads=1))
    assert model.hash == Bundle.load(versions / "shapes" / "2").hash
    model.close()


def test_a_folder_that_never_rests_gives_only_what_was_in_it(
    tmp_path: Path, versions: Path, picture: bytes
) -> None:
    """One that changes places with a link to another, as fast as it can, while it is loaded."""
    folder, outside = tmp_path / "models", tmp_path / "outside"
    shutil.copytree(versions, folder)
    shutil.copytree(versions / "shapes" / "1", outside)
    manifest = json.loads((outside / MANIFEST).read_text("utf-8"))
    manifest["provenance"]["served_as"] = "a secret"
    (outside / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    secret = Bundle.load(outside).hash
    inside, aside, link = folder / "shapes" / "1", tmp_path / "aside", tmp_path / "link"
    stop = threading.Event()

    def restless() -> None:
        while not stop.is_set():
            link.symlink_to(outside)
            inside.rename(aside)
            link.rename(inside)
            inside.unlink()
            aside.rename(inside)

    async def all_of_it() -> None:
        service = Service(Repository({}, folder))
        await service.start()
        thread = threading.Thread(target=restless)
        thread.start()
        try:
            for _ in range(10):
                with contextlib.suppress(FleetnetError):
                    await service.load("shapes", "1")
                result = await service.infer(
                    Request(images=(picture,), model="shapes", version="1")
                )
                assert result.bundle != secret
        finally:
            stop.set()
            thread.join()
        await service.close()

    asyncio.run(asyncio.wait_for(all_of_it(), 300))
