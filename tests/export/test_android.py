"""The app for Android: its parts name each other rightly, and its code runs."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from export.test_native_program import CACHE, STAND_INS, answers, changed, check, put, ran
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.export.android_project import kotlin, project
from fleetnet.export.converted import export_to, page_of
from fleetnet.export.targets import TARGETS, litert
from fleetnet.export.targets.android import Both
from fleetnet.export.targets.target import Quantize
from fleetnet.preprocess import Preprocess

pytestmark = pytest.mark.slow

HEADERS = next(iter(sorted(Path("/usr/lib/jvm").glob("*/include/jni.h"))), None)
PREPROCESS = Preprocess(40, 32)
PACKAGE = "app/src/main/java/org/fleetnet/classify"
ANDROID = "{http://schemas.android.com/apk/res/android}"


@pytest.fixture
def made(bundle: Bundle, tmp_path: Path) -> Path:
    """A project, without the network's own files."""
    put(tmp_path / "app", project(changed(bundle, PREPROCESS, "softmax", 1)))
    return tmp_path / "app"


def named(pattern: str, *texts: str) -> set[str]:
    return {name for text in texts for name in re.findall(pattern, text)}


def test_what_the_app_names_is_there(made: Path) -> None:
    main = made / "app/src/main"
    sources = [path.read_text("utf-8") for path in (made / PACKAGE).iterdir()]
    layout, strings, manifest = (
        ElementTree.parse(main / name).getroot()  # noqa: S314 - our own
        for name in ("res/layout/activity.xml", "res/values/strings.xml", "AndroidManifest.xml")
    )
    ids = {node.get(f"{ANDROID}id", "").removeprefix("@+id/") for node in layout.iter()} - {""}
    assert named(r"R\.id\.(\w+)", *sources) == ids
    assert named(r"R\.layout\.(\w+)", *sources) == {"activity"}
    texts = (main / "res/layout/activity.xml").read_text() + (
        main / "AndroidManifest.xml"
    ).read_text()
    used = named(r"R\.string\.(\w+)", *sources) | named(r"@string/(\w+)", texts)
    assert used == {node.get("name") for node in strings}
    (activity,) = manifest.iter("activity")
    assert (made / PACKAGE / f"{activity.get(f'{ANDROID}name', '')[1:]}.kt").is_file()
    assert all(text.startswith("package org.fleetnet.classify\n") for text in sources)
    build = (made / "app/build.gradle.kts").read_text()
    assert 'namespace = "org.fleetnet.classify"' in build
    assert (made / "app" / named(r'path = file\("(.*?)"\)', build).pop()).is_file()
    assert named(r'include\(":(\w+)"\)', (made / "settings.gradle.kts").read_text()) == {"app"}
    applied = named(r'id\("(.*?)"\)', build)
    assert applied == named(r'id\("(.*?)"\)', (made / "build.gradle.kts").read_text())
    # What Kotlin calls is what C++ has.
    native = (main / "cpp/android.cpp").read_text()
    called = named(r"external fun (\w+)", *sources)
    assert called == named(r"Java_org_fleetnet_classify_Native_(\w+)\(", native)
    listed = named(r"[\w/]+\.cpp", (main / "cpp/CMakeLists.txt").read_text())
    assert listed == {path.name for path in (main / "cpp").glob("*.cpp")}
    files = named(r'"(model\.[\w.]+)"', *sources)
    assert files == {"model.tflite", "model.ncnn.param", "model.ncnn.bin"}


@pytest.mark.skipif(HEADERS is None or shutil.which("g++") is None, reason="no jni.h or no g++")
@pytest.mark.parametrize("ncnn", [True, False])
def test_the_native_part_compiles(made: Path, ncnn: bool) -> None:
    assert HEADERS is not None
    where = [f"-I{HEADERS.parent}", f"-I{HEADERS.parent / 'linux'}", f"-I{STAND_INS / 'ncnn'}"]
    strict = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    sources = ["android.cpp", "network.cpp"] if ncnn else ["android.cpp"]
    with_it = ["-DWITH_NCNN"] if ncnn else []
    ran("g++", *strict, *where, *with_it, *sources, cwd=made / "app/src/main/cpp")


def test_an_app_of_ones_own_gets_the_same_sources(bundle: Bundle, made: Path) -> None:
    own = kotlin({}, changed(bundle, PREPROCESS, "softmax", 1))
    for name, content in own.items():
        inside = name.removeprefix("android/")
        place = "app/src/main" if inside.startswith("cpp/") else PACKAGE
        assert (made / place / inside).read_bytes() == content
    assert "android/LiteRtNetwork.kt" in own


def test_one_image_at_a_time(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(FleetnetError, match="one image at a time: leave out fixed_batch="):
        TARGETS["android"].convert(bundle, "fp32", 2)


def test_in_int8_litert_is_alone(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []

    def calibrate(*arguments: object) -> Quantize:
        given.extend(arguments)
        return lambda kept: {litert.FILE: ",".join(kept).encode()}

    monkeypatch.setattr(litert, "calibrate", calibrate)
    monkeypatch.setattr(litert, "load", lambda files: files[litert.FILE])
    target = TARGETS["android"]
    assert target.int8 is not None
    assert target.load is not None
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    files = target.int8.calibrate(bundle, None, pixels, ())(["stem", "head"])
    assert given == [bundle, 1, pixels, ()]
    assert list(files) == ["model.tflite"]
    loaded: object = target.load(files)
    assert loaded == b"stem,head"
    with pytest.raises(FleetnetError, match="one image at a time: leave out fixed_batch="):
        target.int8.calibrate(bundle, 2, pixels, ())


@pytest.mark.skipif(
    "FLEETNET_KOTLINC" not in os.environ or HEADERS is None,
    reason="FLEETNET_KOTLINC names Kotlin's compiler, which npm's package kotlin-compiler has",
)
def test_kotlin_gives_the_answers_of_python(bundle: Bundle, made: Path, tmp_path: Path) -> None:
    assert HEADERS is not None
    kotlin_home = Path(os.environ["FLEETNET_KOTLINC"]).parents[1]
    sources = sorted((made / PACKAGE).glob("*.kt"))
    stand_ins = sorted((STAND_INS / "android").rglob("*.kt"))
    ran(os.environ["FLEETNET_KOTLINC"], *sources, *stand_ins, "-d", tmp_path / "app.jar")
    native = made / "app/src/main/cpp"
    shutil.copy(STAND_INS / "network.cpp", native)
    core = sorted((native / "core").glob("*.c"))
    ran("gcc", "-c", "-fPIC", "-ffp-contract=off", *core, cwd=native)
    ran(
        "g++", "-shared", "-fPIC", "-std=c++17", "-DWITH_NCNN", f"-I{HEADERS.parent}",
        f"-I{HEADERS.parent / 'linux'}", *[path.name for path in native.glob("*.cpp")],
        *[f"{path.stem}.o" for path in core], "-o", tmp_path / "libfleetnet.so", cwd=native,
    )  # fmt: skip
    picture = np.random.default_rng(4).integers(0, 256, (57, 91, 3), np.uint8)
    image = tmp_path / "picture.rgb"
    image.write_bytes(picture.tobytes())
    library = kotlin_home / "lib" / "kotlin-stdlib.jar"
    told = ran(
        "java", "-Dstdout.encoding=UTF-8", f"-Djava.library.path={tmp_path}", "-cp",
        f"{tmp_path / 'app.jar'}:{library}", "org.fleetnet.classify.RunKt", tmp_path, image, "91",
        "57",
    )  # fmt: skip
    *lines, short, closed, rows, colours = told.splitlines()
    manifest = changed(bundle, PREPROCESS, "softmax", 1)
    pixels = np.fromfile(tmp_path / "pixels", np.uint8)
    check(answers("\n".join(lines), image), pixels, PREPROCESS(picture), manifest)
    assert short == "refused: the picture has another size"
    assert closed == "refused: it is closed"
    assert rows == "rows: [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3]"
    assert colours == "colours: [1, 2, 3, -1, -1, -1]"


@pytest.mark.skipif(os.environ.get("FLEETNET_DEVICES") != "all", reason="FLEETNET_DEVICES=all")
def test_a_project_is_written(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(CACHE))
    for name in ("litert", "ncnn"):
        environment = TARGETS[name].environment
        if environment is None or not environment.made:
            pytest.skip(f"the environment '{name}' is made by 'fleetnet export'")
    written = export_to(bundle.path, "android", tmp_path / "made", limit=3)
    assert written.path == tmp_path / "made" / "app/src/main/assets"
    (artifact,) = written.artifacts
    assert [file.name for file in artifact.files] == [
        "model.tflite", "model.ncnn.param", "model.ncnn.bin",
    ]  # fmt: skip
    assert artifact.verification[0].max_abs_diff <= 1e-3
    assert page_of(written) == tmp_path / "made" / "README.md"
    assert (tmp_path / "made" / "settings.gradle.kts").is_file()
    # Again over its own; and two networks that differ are refused.
    export_to(bundle.path, "android", tmp_path / "made", limit=1)
    files = {path.name: path.read_bytes() for path in written.files_of(artifact)}
    weights = np.frombuffer(files["model.ncnn.bin"], np.float32)
    both = Both({**files, "model.ncnn.bin": (weights * 3).tobytes()})
    crop = bundle.manifest.preprocess.crop
    with pytest.raises(FleetnetError, match="LiteRT and ncnn differ"):
        both(np.full((1, crop, crop, 3), 128, np.uint8))
    both.close()
