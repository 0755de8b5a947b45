import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import fleetnet
from fleetnet.telemetry import PACKAGE, VARIABLE, without_telemetry

REPORTED = """
import importlib, sys
for module in sys.argv[1:]:
    loaded = importlib.import_module(module)
    # An engine's file imports its runtime when something of it is asked for.
    getattr(loaded, "devices", list)()
import openvino.tools.ovc as ovc
print("openvino_telemetry" in sys.modules, type(ovc.telemetry).__module__.rpartition(".")[2])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "modules",
    [
        ("fleetnet.inference.engines.onnxruntime", "fleetnet.inference.engines.openvino"),
        ("fleetnet.export.quantize.nncf",),
        ("fleetnet.benchmark.macs",),
        ("fleetnet.benchmark.peak",),
        ("fleetnet.cli.bench",),
    ],
)
def test_engines_tell_nobody_that_they_are_used(tmp_path: Path, modules: tuple[str, ...]) -> None:
    """ONNX Runtime and OpenVINO keep what they are about to send in the home folder."""
    kept = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REPORTED, *modules],
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["False", "telemetry_stub"]
    assert list(tmp_path.iterdir()) == []


def reports(module: str) -> bool:
    return module.partition(".")[0] in {"openvino", "nncf", "onnxruntime"}


def unguarded(tree: ast.AST) -> Iterator[ast.stmt]:
    """Imports of what reports its use that anything else than a guard runs."""
    for child in ast.iter_child_nodes(tree):
        match child:
            case ast.With(items=items) if "without_telemetry()" in map(ast.unparse, items):
                continue
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=otherwise):
                yield from unguarded(ast.Module(otherwise, []))
            case ast.Import(names=names):
                if any(reports(name.name) for name in names):
                    yield child
            case ast.ImportFrom(module=str(module), level=0):
                if reports(module):
                    yield child
            case _:
                yield from unguarded(child)


def test_no_module_imports_an_engine_unguarded() -> None:
    """Whichever module is imported first decides whether the engine reports."""
    written = ast.parse(
        "if TYPE_CHECKING:\n  import nncf\nelse:\n  import openvino as ov\n"
        "with without_telemetry(), quiet():\n  import nncf\n"
        "def f():\n  from onnxruntime.quantization import x\n"
    )
    assert [ast.unparse(found) for found in unguarded(written)] == [
        "import openvino as ov", "from onnxruntime.quantization import x",
    ]  # fmt: skip
    package = Path(fleetnet.__path__[0])
    assert [
        f"{path.relative_to(package)}:{found.lineno}"
        for path in sorted(package.rglob("*.py"))
        for found in unguarded(ast.parse(path.read_text()))
    ] == []


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    monkeypatch.delenv(VARIABLE, raising=False)
    with without_telemetry():
        assert os.environ[VARIABLE] == "1"
        with pytest.raises(ModuleNotFoundError):
            __import__(PACKAGE)
    assert VARIABLE not in os.environ
    assert PACKAGE not in sys.modules

    monkeypatch.setenv(VARIABLE, "0")
    monkeypatch.setitem(sys.modules, PACKAGE, os)
    with pytest.raises(ZeroDivisionError), without_telemetry():
        raise ZeroDivisionError
    assert os.environ[VARIABLE] == "0"
    assert sys.modules[PACKAGE] is os


def test_the_last_of_several_threads_puts_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, os)
    monkeypatch.delenv(VARIABLE, raising=False)
    first, second = without_telemetry(), without_telemetry()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        one.submit(first.__enter__).result()
        other.submit(second.__enter__).result()
        one.submit(first.__exit__, None, None, None).result()
        assert sys.modules[PACKAGE] is None, "the second one is importing still"
        assert os.environ[VARIABLE] == "1"
        other.submit(second.__exit__, None, None, None).result()
    assert sys.modules[PACKAGE] is os
    assert VARIABLE not in os.environ
