"""Versions, routing and swaps: no request is lost, and each is answered by whom it names."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest

from fleetnet.bundle import Bundle
from fleetnet.bundle.manifest import TensorInfo
from fleetnet.errors import FleetnetError
from fleetnet.images import Pixels
from fleetnet.inference.classifier import Classifier
from fleetnet.serving import auth
from fleetnet.serving.auth import Tokens, read_tokens
from fleetnet.serving.batching import Lane
from fleetnet.serving.config import Settings
from fleetnet.serving.errors import (
    DeadlineError,
    ForbiddenError,
    NotFoundError,
    RequestError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)
from fleetnet.serving.lifecycle import asked_to_end, is_loopback, repository_of
from fleetnet.serving.loaded import LoadedModel, Opening
from fleetnet.serving.logs import id_of, trace_of
from fleetnet.serving.models import Routing
from fleetnet.serving.repository import Repository, by_age, name_of
from fleetnet.serving.requests import Request, Row, deadline_in
from fleetnet.serving.service import Service


def service_with(**values: Any) -> Service:
    settings = Settings.load_all(None, {}, {"engine": {"threads": 1}, **values})
    return Service(repository_of(settings), settings.routes(), settings.options())


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(120):
            await work

    asyncio.run(bounded())


def test_swapping_under_load_loses_nothing_and_every_answer_is_of_the_bundle_it_names(
    tmp_path: Path, versions: Path, picture: bytes
) -> None:
    """The two bundles' networks answer differently, so a wrong answer would be seen."""
    folder = tmp_path / "models"
    shutil.copytree(versions, folder)
    served = folder / "shapes"
    hashes = {Bundle.load(served / one).hash: one for one in ("1", "2")}
    # Version 2 says the same with all class names turned round.
    manifest = served / "2" / "fleetnet.json"
    values = json.loads(manifest.read_text("utf-8"))
    values["classes"] = [name.upper() for name in values["classes"]]
    manifest.write_text(json.dumps(values), "utf-8")
    hashes = {Bundle.load(served / one).hash: one for one in ("1", "2")}
    seen: Counter[str] = Counter()

    async def client(service: Service, stop: asyncio.Event) -> None:
        while not stop.is_set():
            result = await service.infer(Request(images=(picture,), model="shapes", top_k=1))
            label = result.answers[0].top[0].label
            assert hashes[result.bundle] == result.version
            assert label.isupper() == (result.version == "2")
            seen[result.version] += 1

    async def all_of_it() -> None:
        service = service_with(folder=folder, load=())
        await service.start([])
        await service.load("shapes", "1")
        stop = asyncio.Event()
        clients = [asyncio.create_task(client(service, stop)) for _ in range(4)]
        for _ in range(6):
            await service.load("shapes", "2")
            await service.unload("shapes", "1")
            await service.load("shapes", "1")
            await service.load("shapes", "1")  # anew, in its own place
            await service.unload("shapes", "2")
        stop.set()
        await asyncio.gather(*clients)
        assert await service.drain(10)
        await service.close()

    run(all_of_it())
    assert seen["1"] > 0
    assert seen["2"] > 0


def test_a_request_without_a_version_gets_the_default_and_canaries_their_share(
    versions: Path, picture: bytes
) -> None:
    async def all_of_it() -> None:
        service = service_with(
            folder=versions,
            aliases={"stable": "shapes", "old": "shapes/1"},
            routing={"shapes": {"split": {"2": "10%"}}},
        )
        await service.start()
        answers = [
            (await service.infer(Request(images=(picture,), model=name))).version
            for name in ["shapes"] * 20 + ["old"] * 5
        ]
        assert Counter(answers[:20]) == {"1": 18, "2": 2}
        assert set(answers[20:]) == {"1"}
        asked = Request(images=(picture,), model="shapes", version="2")
        assert (await service.infer(asked)).version == "2"
        service.models.default("shapes", "2")
        assert service.models.find("stable").version == "2"
        await service.close()

    run(all_of_it())


def test_a_shadow_computes_along_and_is_only_counted(versions: Path, picture: bytes) -> None:
    async def all_of_it() -> None:
        service = service_with(folder=versions, routing={"shapes": {"shadow": "2"}})
        await service.start()
        for _ in range(3):
            result = await service.infer(Request(images=(picture,), model="shapes"))
            assert result.version == "1"
        await service.drain(10)
        text = service.metrics.text().decode()
        assert 'model="shapes",same="true",shadow="2",version="1"} 3.0' in text
        await service.close()

    run(all_of_it())


def test_what_is_not_ready_or_drains_takes_nothing(network: Path, picture: bytes) -> None:
    async def all_of_it() -> None:
        service = service_with(models={"net": network})
        with pytest.raises(UnavailableError, match="still loading"):
            await service.infer(Request(images=(picture,)))
        await service.start()
        assert service.ready
        taken = asyncio.create_task(service.infer(Request(images=(picture,) * 8)))
        await asyncio.sleep(0)
        assert await service.drain(10)
        assert len((await taken).answers) == 8
        with pytest.raises(UnavailableError, match="is being stopped"):
            await service.infer(Request(images=(picture,)))
        await service.close()

    run(all_of_it())


def test_cancelling_a_request_takes_its_images_out(network: Path, picture: bytes) -> None:
    async def all_of_it() -> None:
        service = service_with(models={"net": network})
        await service.start()
        lane: Lane = service.models.find("net").lane
        tasks = [
            asyncio.create_task(service.infer(Request(images=(picture,) * 32))) for _ in range(4)
        ]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (lane.images, lane.bytes) == (0, 0)
        assert 'cause="cancelled"' in service.metrics.text().decode()
        await service.close()

    run(all_of_it())


def test_requests_that_cannot_be_answered(network: Path, picture: bytes) -> None:
    async def all_of_it() -> None:
        service = service_with(models={"a": network, "b": network}, limits={"images": 2})
        await service.start()
        for request, kind in (
            (Request(images=()), RequestError),
            (Request(images=(picture,)), RequestError),  # of which model?
            (Request(images=(picture,), model="c"), NotFoundError),
            (Request(images=(picture,), model="a", version="2"), NotFoundError),
            (Request(images=(picture,), model="a", embeddings=True), RequestError),
            (Request(images=(picture,) * 3, model="a"), TooLargeError),
            (Request(images=(picture,), model="a", deadline=deadline_in(-1)), DeadlineError),
        ):
            with pytest.raises(kind):
                await service.infer(request)
        pixels = np.zeros((4, 4), np.float32)
        result = await service.infer(Request(images=(pixels, picture), model="a"))  # type: ignore[arg-type]
        bad, good = result.answers
        assert "must be uint8" in str(bad.error)
        assert good.error is None
        await service.close()

    run(all_of_it())


def test_embeddings_come_from_a_bundle_that_has_them(network: Path, picture: bytes) -> None:
    class Engine:
        name, threads = "openvino", 1

        def outputs(self, pixels: Pixels) -> dict[str, Row]:
            return {
                "logits": np.eye(len(pixels), 4, dtype=np.float32),
                "embedding": np.full((len(pixels), 7), 3, np.float32),
            }

    def opened(path: Path, opening: Opening) -> LoadedModel:
        bundle = Bundle.load(path)
        manifest = bundle.manifest
        embedding = TensorInfo(name="embedding", dtype="float32", shape=(None, 7))
        outputs = (*manifest.outputs, embedding)
        bundle.manifest = manifest.model_copy(update={"outputs": outputs})
        engine: Any = Engine()
        classifier = Classifier.from_engine(engine, manifest.preprocess, manifest.classes)
        return LoadedModel(bundle, classifier, streams=1, max_pixels=10**6)

    async def all_of_it() -> None:
        service = Service(Repository({("net", "1"): network}), open_model=opened)
        await service.start()
        result = await service.infer(Request(images=(picture,), embeddings=True))
        assert result.answers[0].embedding is not None
        assert result.answers[0].embedding.tolist() == [3] * 7
        plain = await service.infer(Request(images=(picture,)))
        assert plain.answers[0].embedding is None
        await service.close()

    run(all_of_it())


def test_what_cannot_be_loaded_leaves_what_is_loaded(
    tmp_path: Path, versions: Path, picture: bytes
) -> None:
    folder = tmp_path / "models"
    shutil.copytree(versions, folder)

    async def all_of_it() -> None:
        service = service_with(folder=folder)
        await service.start()
        (folder / "shapes" / "2" / "model.onnx").write_bytes(b"damaged")
        with pytest.raises(FleetnetError, match="is not the file that was exported"):
            await service.load("shapes", "2")
        state = next(one for one in service.index() if one.version == "2")
        assert "is not the file that was exported" in state.reason
        asked = Request(images=(picture,), model="shapes", version="2")
        assert (await service.infer(asked)).version == "2"
        with pytest.raises(NotFoundError):
            await service.load("shapes", "3")
        for name, version in (("shapes", "3"), ("other", None), ("other", "1")):
            with pytest.raises(NotFoundError):
                await service.unload(name, version)
        await service.close()

    run(all_of_it())


def test_shares_are_kept_exactly() -> None:
    routing = Routing(split={"2": 0.1, "3": 0.25})
    chosen = Counter(routing.next_canary() for _ in range(1000))
    assert chosen["3"] in range(225, 251)  # where both are due at once, one gives way
    assert chosen["2"] == 100


def test_versions_sort_by_their_numbers() -> None:
    assert sorted(["10", "9", "2024-10-1", "v2", "v10"], key=by_age) == [
        "9", "10", "2024-10-1", "v2", "v10",
    ]  # fmt: skip


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, versions: Path) -> None:
    folder = tmp_path / "models"
    (folder / "one").mkdir(parents=True)
    (folder / "out").symlink_to(versions / "shapes" / "1")
    (folder / "one" / "1").symlink_to(versions / "shapes" / "1")
    shutil.copytree(versions / "shapes" / "1", folder / "one" / "2")
    (folder / "one" / "3").symlink_to("2")
    repository = Repository({}, folder)
    assert repository.names() == ["one"]
    assert list(repository.versions("one")) == ["2", "3"]
    for name in ("out", "..", "one/2", "", "/etc", "one\x00"):
        with pytest.raises(FleetnetError):
            repository.versions(name)


def test_names_of_bundles(tmp_path: Path) -> None:
    assert name_of(tmp_path / "my cats.bundle") == "my-cats"
    assert name_of(tmp_path / "cats.bundle" / "fleetnet.json") == "cats"
    with pytest.raises(FleetnetError, match="NAME="):
        name_of(tmp_path / "猫.bundle")


class TestTokens:
    def test_they_are_read_again_when_they_change(self, tmp_path: Path) -> None:
        file, now = tmp_path / "tokens", [0.0]
        file.write_text("# ours\ninfer aaaaaaaaaaaaaaaa\n")
        tokens = Tokens(file, lambda: now[0])
        tokens.check("a" * 16, "infer")
        with pytest.raises(ForbiddenError):
            tokens.check("a" * 16, "admin")
        for secret in (None, "", "b" * 16, "ü\udcff"):
            with pytest.raises(UnauthenticatedError):
                tokens.check(secret, "infer")
        file.write_text("admin bbbbbbbbbbbbbbbbb\n")
        now[0] = 5.0
        tokens.check("b" * 17, "admin")
        with pytest.raises(UnauthenticatedError):
            tokens.check("a" * 16, "infer")
        file.write_text("nonsense\n")
        now[0] = 10.0
        tokens.check("b" * 17, "infer")

    def test_a_hash_stands_for_its_token(self, tmp_path: Path) -> None:
        import hashlib

        file = tmp_path / "tokens"
        digest = hashlib.sha256(b"secret").hexdigest()
        for word in (f"sha256:{digest}", f"SHA256:{digest.upper()}"):
            file.write_text(f"infer {word}")
            tokens = Tokens(file)
            tokens.check("secret", "infer")
            with pytest.raises(UnauthenticatedError):
                tokens.check(word, "infer")

    def test_a_file_that_could_not_be_read_is_read_when_it_can_be(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Permissions change nothing that the stamp has; tokens that were taken back have to go."""
        now, file = [0.0], tmp_path / "tokens"
        file.write_text(f"infer {'a' * 16}\n")
        tokens = Tokens(file, lambda: now[0])
        file.write_text(f"infer {'b' * 17}\n")

        def refuse(_: Path) -> Never:
            raise FleetnetError("cannot read it")

        with monkeypatch.context() as patch:
            patch.setattr(auth, "read_tokens", refuse)
            now[0] = 5.0
            tokens.check("a" * 16, "infer")
        now[0] = 10.0
        tokens.check("b" * 17, "infer")
        with pytest.raises(UnauthenticatedError):
            tokens.check("a" * 16, "infer")

    def test_a_byte_order_mark_is_no_part_of_a_role(self, tmp_path: Path) -> None:
        file = tmp_path / "tokens"
        file.write_text(f"infer {'a' * 16}", "utf-8-sig")
        Tokens(file).check("a" * 16, "infer")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "has no token"),
            ("root aaaaaaaaaaaaaaaaaaa", "line 1: a line is a role"),
            ("infer", "line 1"),
            ("\ninfer short", "line 2: a token has at least"),
            ("infer träge-langes-geheimnis", "line 1: a token is of ASCII characters"),
            ("admin sha256:" + "a" * 63, "line 1: after 'sha256:' come 64 hexadecimal digits"),
        ],
    )
    def test_a_wrong_file_is_refused_without_showing_tokens(
        self, tmp_path: Path, text: str, said: str
    ) -> None:
        file = tmp_path / "tokens"
        file.write_text(text)
        with pytest.raises(FleetnetError, match=said) as refused:
            read_tokens(file)
        assert "aaaa" not in str(refused.value)
        assert "short" not in str(refused.value)


def test_who_is_asked_twice_to_end_goes_on_ending() -> None:
    async def ask() -> None:
        former = signal.getsignal(signal.SIGINT)
        with asked_to_end() as ended:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGTERM)
            await ended.wait()
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is former, "a second Ctrl-C ends it at once"

    asyncio.run(ask())


class TestSettings:
    def test_flags_come_before_the_environment_and_that_before_the_file(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / "serve.yaml"
        file.write_text("port: 1\nlimits: {body: 1, images: 7}\nhost: '::1'\n")
        environment = {"FLEETNET_SERVE_PORT": "2", "FLEETNET_SERVE_LIMITS_BODY": "2", "HOME": "x"}
        settings = Settings.load_all(file, environment, {"port": 3, "host": None})
        assert (settings.port, settings.host) == (3, "::1")
        assert (settings.limits.body, settings.limits.images) == (2, 7)

    @pytest.mark.parametrize(
        ("text", "environment", "said"),
        [
            ("prt: 1", {}, "prt: nothing of this name"),
            ("port: x", {}, "port: it must be a whole number"),
            ("[", {}, "is not valid YAML"),
            ("- 1", {}, "must be a mapping"),
            ("drain: 2026-99-99", {}, "is not valid YAML"),
            ("port: !!int abc", {}, "is not valid YAML"),
            ("", {"FLEETNET_SERVE_DRAIN": "2026-99-99"}, "FLEETNET_SERVE_DRAIN: "),
            ("", {"FLEETNET_SERVE_DRAIN": "[" * 5000}, "FLEETNET_SERVE_DRAIN: "),
            ("routing: {a: {split: {'2': '110%'}}}", {}, "a share is from 0 to 1"),
            ("routing: {a: {split: {'2': 0.6, '3': 0.6}}}", {}, "more than 100%"),
            ("tls: {key: a.pem}", {}, "only with a certificate"),
            ("", {"FLEETNET_SERVE_PRT": "1"}, "did you mean 'FLEETNET_SERVE_PORT'"),
            ("", {"FLEETNET_SERVE_QUEUE_IMAGES": "0"}, "FLEETNET_SERVE_QUEUE_IMAGES: "),
        ],
    )
    def test_what_is_wrong_is_said_with_its_place(
        self, tmp_path: Path, text: str, environment: dict[str, str], said: str
    ) -> None:
        file = tmp_path / "serve.yaml"
        file.write_text(text)
        with pytest.raises(FleetnetError) as refused:
            Settings.load_all(file, environment, {})
        assert said in str(refused.value)


def test_traces_and_ids_from_outside() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    found = trace_of(f"00-{trace}-b7ad6b7169203331-01")
    assert found is not None
    assert found.trace == trace
    for wrong in (
        None,
        "",
        "00-x",
        f"ff-{trace}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-{'1' * 16}-01",
    ):
        assert trace_of(wrong) is None
    assert id_of("a-1") == "a-1"
    for wrong in (None, "", "a b", "a\n", "x" * 129, "é"):
        assert id_of(wrong) is None


def test_which_addresses_are_this_machines_alone() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org")))  # noqa: S104
