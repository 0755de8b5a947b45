"""The drift watch: traffic like the evaluation data, traffic unlike it, and what is refused."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from starlette.testclient import TestClient

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.evaluation.drift.reference import NUMBERS, Reference
from fleetnet.evaluation.drift.statistics import PICTURE
from fleetnet.serving.drift import Watch, Watching
from serving.conftest import Serve


def made_up(images: int = 2000, seed: int = 0, classes: int = 3) -> Reference:
    answers, numbers = drawn(images, seed, classes)
    return Reference.of(
        tuple("abcdefgh"[:classes]),
        answers,
        {name: numbers[:, column] for column, name in enumerate(NUMBERS)},
    )


def drawn(images: int, seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, classes, images), generator.normal(size=(images, len(NUMBERS)))


def show(watch: Watch, images: int, seed: int) -> None:
    answers, numbers = drawn(images, seed)
    for answer, (confidence, *figures) in zip(answers, numbers, strict=True):
        watch.saw(np.array(figures))
        watch.answered(int(answer), float(confidence))


def test_the_same_distribution_is_near_and_another_far() -> None:
    watch = Watch(made_up(), window=1000, least=200)
    show(watch, 199, seed=1)
    assert list(watch.drift()) == []
    show(watch, 1000, seed=2)
    near = {drift.statistic: drift for drift in watch.drift()}
    assert set(near) == {"class", *NUMBERS}
    assert all(drift.stability_index < 0.06 for drift in near.values())
    assert all(drift.jensen_shannon < 0.03 for drift in near.values())
    for _ in range(1000):
        watch.answered(0, 0.0)
    far = {drift.statistic: drift for drift in watch.drift()}
    assert far["class"].stability_index > 1
    assert far["confidence"].stability_index > 1
    assert far["brightness"] == near["brightness"]


def test_only_the_last_images_count_and_memory_is_bounded() -> None:
    watch, fresh = (Watch(made_up(), window=300, least=1) for _ in range(2))
    for _ in range(1000):
        watch.saw(np.full(len(PICTURE), 1e9))
        watch.answered(2, -1e9)
    show(watch, 300, seed=5)
    show(fresh, 300, seed=5)
    assert list(watch.drift()) == list(fresh.drift())
    assert watch.images == 300


def test_threads_lose_no_image() -> None:
    watch = Watch(made_up(), window=10_000, least=1)
    threads = [threading.Thread(target=show, args=(watch, 500, seed)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        list(watch.drift())
    for thread in threads:
        thread.join()
    alone = Watch(made_up(), window=10_000, least=1)
    for seed in range(8):
        show(alone, 500, seed)
    assert watch.images == 4000
    assert list(watch.drift()) == list(alone.drift())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_figures_that_are_no_numbers_break_nothing(value: float) -> None:
    watch = Watch(made_up(), window=10, least=1)
    watch.saw(np.full(len(PICTURE), value))
    watch.answered(0, value)
    assert all(np.isfinite(drift.stability_index) for drift in watch.drift())


def test_a_reference_is_bound_to_classes_and_for_a_version_to_its_bundle(tmp_path: Path) -> None:
    reference = made_up().model_copy(update={"bundle": "a" * 64})
    file = tmp_path / "reference.json"
    reference.save(file)
    for key in ("net", "net/1"):
        watching = Watching({key: file})
        assert watching.watch("net", "1", ("a", "b", "c"), "a" * 64) is not None
        assert watching.watch("other", "1", ("x",), "a" * 64) is None
        with pytest.raises(FleetnetError, match="of a network of other classes"):
            watching.watch("net", "1", ("a", "b", "d"), "a" * 64)
    with pytest.raises(FleetnetError, match="the reference of another bundle"):
        Watching({"net/1": file}).watch("net", "1", ("a", "b", "c"), "b" * 64)
    # One for all versions has the classes to go by.
    assert Watching({"net": file}).watch("net", "2", ("a", "b", "c"), "b" * 64) is not None


def metrics(client: TestClient) -> dict[str, float]:
    found = {}
    for line in client.get("/metrics").text.splitlines():
        if line.startswith("fleetnet_drift"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def index(client: TestClient) -> dict[str, float]:
    return {
        name.partition('statistic="')[2].partition('"')[0]: value
        for name, value in metrics(client).items()
        if name.startswith("fleetnet_drift_psi")
    }


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [
        Image.fromarray(generator.integers(60, 256, (6, 6, 3), np.uint8)).resize(
            (int(generator.integers(60, 90)), int(generator.integers(60, 90))),
            Image.Resampling.BICUBIC,
        )
        for _ in range(80)
    ]


def encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def data(pictures: list[Image.Image], bundle: Bundle, tmp_path: Path) -> Path:
    classes = bundle.manifest.classes
    for number, image in enumerate(pictures):
        folder = tmp_path / "data" / classes[number % len(classes)]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(encoded(image))
    return tmp_path / "data"


@pytest.mark.slow
def test_from_evaluation_to_metrics(
    fleetnet: Run,
    bundle: Bundle,
    data: Path,
    pictures: list[Image.Image],
    serve: Serve,
    tmp_path: Path,
) -> None:
    file = tmp_path / "reference.json"
    result = fleetnet(
        "evaluate", bundle.path, data, "--split", "all", "--reference", file, "--bootstrap", 0
    )
    assert result.code == 0, result
    assert f"reference: {file}" in result.out
    reference = Reference.load(file)
    assert reference.images == len(pictures)
    assert reference.bundle == bundle.hash
    client = serve(
        models={"shapes": bundle.path},
        drift={"references": {"shapes/1": file}, "window": 80, "least": 40},
    )
    which = 'model="shapes",version="1"'
    assert metrics(client) == {f"fleetnet_drift_images{{{which}}}": 0}
    for image in pictures:
        # Half of them as the pixels of other protocols, which are measured the same.
        assert client.post("/classify", content=encoded(image)).status_code == 200
    same = index(client)
    assert set(same) == {"class", *NUMBERS}
    assert all(value < 0.01 for value in same.values()), same
    for image in pictures:
        dark = ImageEnhance.Brightness(image).enhance(0.3)
        pixels = np.asarray(dark).tolist()
        tensor = {"name": "pixels", "datatype": "UINT8", "data": pixels}
        body = {"inputs": [{**tensor, "shape": [1, image.height, image.width, 3]}]}
        assert client.post("/v2/models/shapes/infer", json=body).status_code == 200
    dark_index = index(client)
    assert dark_index["brightness"] > 2
    assert dark_index["size"] < 0.01
    assert dark_index["aspect"] < 0.01
    assert metrics(client)[f"fleetnet_drift_images{{{which}}}"] == 80
    # What cannot be read is no picture of the window.
    assert client.post("/classify", content=b"nothing").status_code == 400
    assert index(client) == dark_index
    client.post("/v2/repository/models/shapes/unload")
    assert metrics(client) == {}


def test_one_that_does_not_fit_keeps_the_model_from_being_loaded(
    bundle: Bundle, serve: Serve, tmp_path: Path, fleetnet: Run
) -> None:
    file = tmp_path / "reference.json"
    made_up().save(file)
    refused = fleetnet("serve", f"shapes={bundle.path}", "--port", 0, "--reference", file)
    refused.assert_one_line("of a network of other classes")
    refused = fleetnet("serve", f"shapes={bundle.path}", "--reference", f"shape={file}")
    refused.assert_one_line("no such model", "shapes")
    missing = tmp_path / "none.json"
    refused = fleetnet("serve", f"shapes={bundle.path}", "--port", 0, "--reference", missing)
    refused.assert_one_line("cannot read")


def test_settings_that_contradict_each_other(fleetnet: Run, bundle: Bundle, tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text(json.dumps({"drift": {"window": 10, "least": 20}}))
    refused = fleetnet("serve", bundle.path, "--config", config)
    refused.assert_one_line("drift: of a window of 10, least cannot be 20")
