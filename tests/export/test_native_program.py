"""The C++ programs beside converted files: pixels and answers are Python's."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fleetnet.bundle import Bundle, Calibration, Manifest
from fleetnet.cache import cache_folder
from fleetnet.export.converted import export_to
from fleetnet.export.native_program import program
from fleetnet.export.targets import TARGETS
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.engines import Pixels
from fleetnet.inference.probabilities import to_probabilities
from fleetnet.preprocess import Preprocess
from samples import draw

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="apt-get install g++"),
]

CACHE = cache_folder()
"""Outside of the tests, where an environment may have been made: nothing is fetched here."""
STAND_INS = Path(__file__).with_name("stand_ins")
ODD = 'a "quoted" \\ class ?? Ä\N{GRINNING FACE}'


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def ran(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def answers(told: str, image: Path) -> list[tuple[str, float]]:
    """Return the names and probabilities that the program printed."""
    lines = [line.removeprefix(f"{image}: ").rpartition(" ") for line in told.splitlines()]
    return [(name, float(probability)) for name, _, probability in lines]


def changed(bundle: Bundle, preprocess: Preprocess, activation: Any, batch: int | None) -> Manifest:
    """Return a manifest with values of which each one matters."""
    manifest = bundle.manifest
    artifact = manifest.artifacts[0].model_copy(update={"batch": batch})
    return manifest.model_copy(
        update={
            "artifacts": (artifact,),
            "preprocess": preprocess,
            "model": manifest.model.model_copy(update={"activation": activation}),
            "classes": (ODD, *manifest.classes[1:]),
            "calibration": Calibration(
                temperature=0.37, images=1, ece_before=0, ece_after=0, source="made up"
            ),
        }
    )


def check(
    found: list[tuple[str, float]], pixels: Pixels, expected: Pixels, manifest: Manifest
) -> None:
    """Hold pixels to the bit, and the answers of the tests' network to Python's of the same."""
    np.testing.assert_array_equal(pixels, expected.ravel())
    classes = len(manifest.classes)
    sums = [expected.ravel()[index::classes].sum(dtype=float) for index in range(classes)]
    logits = np.asarray(sums) / 1024 / 64
    probabilities = to_probabilities(logits, manifest.model.activation, manifest.temperature)
    order = np.argsort(-probabilities, kind="stable")[:5]
    assert [name for name, _ in found] == [manifest.classes[index] for index in order]
    np.testing.assert_allclose([value for _, value in found], probabilities[order], atol=2e-5)


@pytest.mark.parametrize(
    ("preprocess", "activation", "batch"),
    [
        (Preprocess(40, 32, "bilinear"), "softmax", None),
        (Preprocess(33, 24, "cv2-linear"), "sigmoid", 2),
    ],
)
def test_pixels_and_probabilities_are_those_of_python(
    bundle: Bundle, tmp_path: Path, preprocess: Preprocess, activation: Any, batch: int | None
) -> None:
    manifest = changed(bundle, preprocess, activation, batch)
    put(tmp_path, program("ncnn")({}, manifest))
    shutil.copy(STAND_INS / "network.cpp", tmp_path)
    core = [*(tmp_path / "core").glob("*.c")]
    strict = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    ran("gcc", "-c", "-std=c99", "-O1", "-ffp-contract=off", *core, cwd=tmp_path)
    objects = [f"{path.stem}.o" for path in core]
    sources = ["classify.cpp", "answers.cpp", "network.cpp"]
    ran("g++", *strict, *sources, *objects, "-o", "classify", cwd=tmp_path)
    picture = np.random.default_rng(4).integers(0, 256, (57, 91, 3), np.uint8)
    image = tmp_path / "picture.ppm"
    Image.fromarray(picture).save(image)
    found = answers(ran(tmp_path / "classify", tmp_path, image), image)
    pixels = np.fromfile(tmp_path / "pixels", np.uint8)
    expected = np.zeros((batch or 1, preprocess.crop, preprocess.crop, 3), np.uint8)
    expected[0] = preprocess(picture)
    check(found, pixels, expected, manifest)
    # Broken pictures are a line each.
    whole = image.read_bytes()
    (tmp_path / "commented.ppm").write_bytes(whole.replace(b"P6\n", b"P6\n# made up\n", 1))
    ran(tmp_path / "classify", tmp_path, tmp_path / "commented.ppm")
    for content, words in [
        (b"", "is no binary PPM"),
        (whole[:-1], "is cut off"),
        (b"P6 0 5 255\n", "has an odd size"),
        (b"P6 99999999999 5 255\n", "has an odd size"),
        (b"P6 5 5 65535\n", "has not a byte a colour"),
        (b"P6 1 101 255\n" + bytes(303), "1:100 apart"),
    ]:
        image.write_bytes(content)
        done = subprocess.run(
            [tmp_path / "classify", tmp_path, image], capture_output=True, text=True, check=False
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert words in done.stderr


@pytest.mark.parametrize("runtime", ["ncnn", "mnn", "tnn", "paddle-lite", "rknn"])
def test_it_compiles_without_its_runtime(bundle: Bundle, tmp_path: Path, runtime: str) -> None:
    put(tmp_path, program(runtime)({}, changed(bundle, Preprocess(40, 32), "softmax", None)))
    strict = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    where: list[str | Path] = ["-I", STAND_INS]
    for folder in ("ncnn", "paddle_lite", "rknn"):
        where += ["-I", STAND_INS / folder]
    ran("g++", *strict, *where, "network.cpp", cwd=tmp_path)


def prefix(runtime: str) -> Path:
    """Return where a runtime's headers and libraries are; without them, skip the test."""
    variable = f"FLEETNET_{runtime.upper().replace('-', '_')}"
    if given := os.environ.get(variable):
        return Path(given)
    environment = TARGETS[runtime].environment
    if runtime != "executorch" or environment is None:
        pytest.skip(f"{variable} names no folder with {runtime}'s libraries")
    (place,) = environment.folder.glob("lib/python*/site-packages/executorch")
    return place


@pytest.mark.skipif(os.environ.get("FLEETNET_DEVICES") != "all", reason="FLEETNET_DEVICES=all")
@pytest.mark.parametrize("runtime", ["executorch", "ncnn", "mnn", "paddle-lite"])
def test_a_picture_gets_the_answers_of_python(
    runtime: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(CACHE))
    environment = TARGETS[runtime].environment
    if environment is None or not environment.made or shutil.which("cmake") is None:
        pytest.skip(f"the environment '{runtime}' is made by 'fleetnet export', cmake by apt-get")
    place = prefix(runtime)
    made = export_to(bundle.path, runtime, tmp_path / "made", limit=2).path
    build = made / "build"
    ran("cmake", "-S", made, "-B", build, "-D", f"CMAKE_PREFIX_PATH={place}")
    ran("cmake", "--build", build)
    picture = draw("circle", np.random.default_rng(5)).resize((200, 141))
    for name in ("picture.ppm", "picture.png"):
        picture.save(tmp_path / name)
    image = tmp_path / "picture.ppm"
    found = answers(ran(build / "classify", made, image), image)
    with Classifier(bundle.path, engine="torch") as classifier:
        (expected,) = classifier.predict([tmp_path / "picture.png"], top_k=5)
    wanted = [(entry.label, entry.probability) for entry in expected.top]
    assert [name for name, _ in found] == [name for name, _ in wanted]
    np.testing.assert_allclose(
        [value for _, value in found], [value for _, value in wanted], atol=1e-4
    )
