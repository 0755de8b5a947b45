"""Images of our own making, and a small network trained on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import portable
from fleetnet.bundle import Bundle
from fleetnet.cli import main
from samples import PHOTOS, SMALL_LR, TINY, make_folder

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core: more threads would only wait for each other.
    os.environ["OMP_NUM_THREADS"] = "1"
# Threads that spin while they wait take a busy machine's cores from those that they wait for.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Shells and nohup start what runs in the background with this signal ignored, and all that it
# starts in turn: programs that are to be interrupted would go on for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

if portable.PRETEND in os.environ:
    portable.pretend(os.environ[portable.PRETEND])

# Machines are busy, so no example has a deadline; what decides over a change is repeatable.
settings.register_profile(
    "house",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("quick", settings.get_profile("house"), max_examples=15)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def no_handler_of_loaders() -> None:
    """PyTorch's loader leaves a handler for the end of any child; each test begins without it.

    Python calls it on whichever test's thread a child ends, long after its loader is gone, and it
    raises there for a worker that another test killed on purpose.
    """
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        loader = sys.modules.get("torch.utils.data._utils.signal_handling")
        if loader is not None:
            vars(loader)["_SIGCHLD_handler_set"] = False  # so that it is set up anew


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither use what this user's cache holds, nor leave anything there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEETNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data") / "shapes")


@pytest.fixture(scope="session")
def photos() -> list[Path]:
    found = sorted(PHOTOS.glob("*.JPEG"))
    if not found:
        pytest.skip("the shared photographs are not here")
    return found


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Path:
    """Train MobileNetV2_x0_25 on the shapes for two epochs, in steps that hardly change it.

    A network that two epochs have changed much is another one on every processor, and so near to
    saying something else of some image that rounding decides. This one says of every image that it
    is a square, or else a circle, by far more than fewer bits or a smaller decoding change.
    """
    import torch

    from fleetnet.data.sources import open_source
    from fleetnet.training.recipe import Recipe
    from fleetnet.training.trainer import Trainer

    output = tmp_path_factory.mktemp("run")
    recipe = Recipe.load(overrides=[*TINY, "epochs=2", f"optimizer.lr={SMALL_LR}"])
    trainer = Trainer(open_source(str(shapes)), "mobilenetv2_x0_25", recipe, output)
    with torch.no_grad():
        for network in (trainer.train_step.network, trainer.train_step.evaluated):
            network.get_parameter("classifier.weight").mul_(5)
            network.get_parameter("classifier.bias").copy_(torch.tensor([0.0, 1.0, -1.0]))
    trainer.fit()
    return output


@pytest.fixture(scope="session")
def checkpoint(run_folder: Path) -> Path:
    return run_folder / "last.ckpt"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Bundle:
    from fleetnet.export.bundle import export_bundle

    return export_bundle(checkpoint, tmp_path_factory.mktemp("export") / "shapes.bundle")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a file system takes root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


class Result:
    """What a command printed and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def assert_one_line(self, *words: str) -> None:
        """Hold the rule of bad input: exit code 2, one line, no traceback, the words in it."""
        assert self.code == 2, self
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        assert "Traceback" not in self.err
        for word in words:
            assert word in lines[0], f"{word!r} is not in {lines[0]!r}"

    def __repr__(self) -> str:
        return f"exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


Run = Callable[..., Result]


@pytest.fixture
def fleetnet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in this process."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str | Path) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Result(code, captured.out, captured.err)

    return run
