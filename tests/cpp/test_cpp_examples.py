"""The installed library is found and used as its users do; the examples run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fleetnet.bundle import Bundle
from fleetnet.export.converted import export_to
from fleetnet.inference.classifier import Classifier

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "cpp" / "examples"
NETWORK = ROOT / "conformance" / "network.onnx"
IMAGES = [
    str(ROOT / "conformance" / "pictures" / name) for name in ("png-rgb.png", "jpeg-grey.jpg")
]


@pytest.fixture(scope="module")
def installed(cpp_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the built library is installed in."""
    if not (cpp_build / "libfleetnet.so").is_file() or os.environ.get("FLEETNET_CPP_RUNNER"):
        pytest.skip("the C++ library is not built for this processor ('make cpp' builds it)")
    prefix = tmp_path_factory.mktemp("installed")
    _run("cmake", "--install", cpp_build, "--prefix", prefix)
    return prefix


@pytest.fixture(scope="module")
def environment(installed: Path) -> dict[str, str]:
    """Return variables by which compilers and programs find the library and OpenVINO."""
    found = importlib.util.find_spec("openvino")
    assert found is not None
    assert found.origin is not None
    library = next(installed.rglob("libfleetnet.so.1")).parent
    return {
        **os.environ,
        "LD_LIBRARY_PATH": f"{library}:{Path(found.origin).parent / 'libs'}",
        "PKG_CONFIG_PATH": str(library / "pkgconfig"),
    }


def _run(*command: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command], env=env, cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _check_answers(*command: object, env: dict[str, str]) -> None:
    """Compare a program's lines with the answers of the Python package, and how it fails."""
    with Classifier(NETWORK) as classifier:
        wanted = [
            f"{answer.source}: {answer.label} {answer.probability:.4f}"
            for answer in classifier.predict(IMAGES)
        ]
    assert _run(*command, NETWORK, *IMAGES, env=env).splitlines() == wanted
    words = [str(word) for word in command]
    failed = subprocess.run([*words, "not there", *IMAGES], env=env, capture_output=True, text=True)
    assert failed.returncode == 2
    assert failed.stderr.strip() == "error: no such bundle: not there"
    failed = subprocess.run([*words, NETWORK, "no.jpg"], env=env, capture_output=True, text=True)
    assert failed.returncode == 2
    assert failed.stderr.strip().removeprefix("error: ") == "no.jpg: No such file or directory"


@pytest.mark.parametrize("options", [(), ("--static",)])
def test_c_with_pkg_config(
    options: tuple[str, ...],
    installed: Path,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """pkg-config knows what to compile with."""
    if shutil.which("pkg-config"):
        flags = _run("pkg-config", "--cflags", "--libs", *options, "fleetnet", env=environment)
    elif options:
        pytest.skip("pkg-config is not installed")
    else:
        library = Path(environment["PKG_CONFIG_PATH"]).parent
        flags = f"-I{installed}/include -L{library} -lfleetnet -Wl,--allow-shlib-undefined"
    compile_ = ("cc", "-std=c99", "-Wall", "-Werror=implicit", EXAMPLES / "c" / "classify.c")
    _run(*compile_, *flags.split(), "-o", tmp_path / "classify")
    _check_answers(tmp_path / "classify", env=environment)


def test_cpp_with_cmake(
    bundle: Bundle, installed: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """What ``fleetnet export --to cpp`` writes is built by what its README says, and answers."""
    made = tmp_path / "made"
    export_to(bundle.path, "cpp", made, limit=2)
    page = (made / "README.md").read_text("utf-8")
    commands = [line.strip() for line in page.splitlines() if line.startswith("    ")]
    configure, build, _, _, run = commands  # OpenVINO is where the environment says
    configure = configure.replace("=PREFIX", f"={installed}")
    _run(*configure.split(), cwd=made)
    _run(*build.split(), cwd=made)
    program, folder, _ = run.split()
    _check_answers(made / program, env=environment)
    line = _run(made / program, made / folder, IMAGES[0], env=environment)
    assert line.startswith(f"{IMAGES[0]}: ")


def test_static_library_with_cmake(
    installed: Path, environment: dict[str, str], cpp_build: Path, tmp_path: Path
) -> None:
    """The static library brings what it is linked with."""
    openvino = next(
        line.partition("=")[2]
        for line in (cpp_build / "CMakeCache.txt").read_text().splitlines()
        if line.startswith("OpenVINO_DIR:")
    )
    source = ROOT / "src" / "fleetnet" / "export" / "cpp_program"
    shutil.copy(source / "classify.cpp", tmp_path)
    rules = (
        (source / "CMakeLists.txt")
        .read_text()
        .replace("(fleetnet ", "(fleetnet 0.1 COMPONENTS static ")
    )
    (tmp_path / "CMakeLists.txt").write_text(
        rules.replace("fleetnet::fleetnet", "fleetnet::fleetnet_static")
    )
    build = tmp_path / "build"
    _run(
        "cmake",
        "-S",
        tmp_path,
        "-B",
        build,
        f"-DCMAKE_PREFIX_PATH={installed}",
        f"-DOpenVINO_DIR={openvino}",
    )
    _run("cmake", "--build", build)
    _check_answers(build / "classify", env=environment)


def test_csharp(environment: dict[str, str], tmp_path: Path) -> None:
    """P/Invoke by Mono."""
    if not shutil.which("mcs") or not shutil.which("mono"):
        pytest.skip("Mono is not installed (Debian: mono-mcs)")
    for name in ("Classify.cs", "Classify.exe.config"):
        shutil.copy(EXAMPLES / "csharp" / name, tmp_path)
    _run("mcs", "Classify.cs", cwd=tmp_path)
    _check_answers("mono", tmp_path / "Classify.exe", env=environment)


def test_python(environment: dict[str, str]) -> None:
    """``ctypes``, without the package."""
    _check_answers(sys.executable, "-I", EXAMPLES / "python" / "classify.py", env=environment)


def test_the_command_is_installed(installed: Path, environment: dict[str, str]) -> None:
    """It finds OpenVINO beside the library, or where it is told to look."""
    command = installed / "bin" / "fleetnet-predict"
    expected = _run(command, NETWORK, *IMAGES, env=environment)
    assert expected.count("\n") == len(IMAGES)
    nowhere = {name: value for name, value in environment.items() if name != "LD_LIBRARY_PATH"}
    library, openvino = environment["LD_LIBRARY_PATH"].split(":")
    made = [Path(library) / file.name for file in Path(openvino).iterdir()]
    for link in made:
        link.symlink_to(Path(openvino) / link.name)
    try:
        assert _run(command, NETWORK, *IMAGES, env=nowhere) == expected
    finally:
        for link in made:
            link.unlink()


def test_only_the_interface_is_exported(installed: Path) -> None:
    """Nothing inside the library can be mistaken for a function of the program, or replace one."""
    library = next(installed.rglob("libfleetnet.so.1"))
    symbols = _run("nm", "-D", "--defined-only", library).split("\n")
    names = {line.split()[-1].partition("@")[0] for line in symbols if line}
    header = (installed / "include" / "fleetnet.h").read_text()
    assert names - {"FLEETNET_1"} == {
        line.partition("(")[0].split()[-1].lstrip("*")
        for line in header.splitlines()
        if line.startswith("FLEETNET_API ")
    }
