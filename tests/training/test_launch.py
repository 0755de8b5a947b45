"""Starting several processes, and starting them anew: with programs that only end in some way."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Run
from fleetnet.cli.train_together import goes_on
from fleetnet.errors import FleetnetError
from fleetnet.training.launch import Launch, check_processes, shared_settings
from fleetnet.training.launch_environment import Launched

BEGIN = """
import os, signal, sys, time
from pathlib import Path
rank, attempt = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]
folder = Path(sys.argv[1])
(folder / f"begun-{attempt}-{rank}").write_text(str(os.getpid()))
"""


def launched(folder: Path, program: str, *, restarts: int = 2) -> tuple[int, list[str]]:
    said: list[str] = []
    command = [sys.executable, "-c", BEGIN + program, str(folder)]
    return Launch(command, 2, restarts=restarts, say=said.append).run(), said


def begun(folder: Path) -> list[str]:
    return sorted(file.name.removeprefix("begun-") for file in folder.glob("begun-*"))


def test_all_end_well(tmp_path: Path) -> None:
    assert launched(tmp_path, "") == (0, [])
    assert begun(tmp_path) == ["0-0", "0-1"]


def test_a_killed_one_starts_all_anew(tmp_path: Path) -> None:
    program = """
if attempt == "0" and rank == "1": os.kill(os.getpid(), signal.SIGKILL)
if attempt == "0": sys.exit(75)  # which misses the other
"""
    code, said = launched(tmp_path, program)
    assert code == 0
    assert begun(tmp_path) == ["0-0", "0-1", "1-0", "1-1"]
    (line,) = said
    killed = (tmp_path / "begun-0-1").read_text()
    assert line == (
        f"rank 1 (process {killed}) was killed by SIGKILL: all 2 start anew from what was saved "
        "last, restart 1 of at most 2"
    )


def test_one_that_is_killed_again_and_again_ends_all(tmp_path: Path) -> None:
    code, said = launched(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)", restarts=1)
    assert code == 75
    assert begun(tmp_path) == ["0-0", "0-1", "1-0", "1-1"]
    assert said[-1].endswith("was killed by SIGKILL, and all restarts are used up")


def test_one_that_says_what_is_wrong_ends_all(tmp_path: Path) -> None:
    code, said = launched(tmp_path, 'sys.exit(2 if rank == "1" else 75)')
    assert (code, said) == (2, [])
    assert begun(tmp_path) == ["0-0", "0-1"]


def test_one_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetnet.training.launch._NOTICING_S", 0.2)
    program = """
if attempt == "0" and rank == "1": os.kill(os.getpid(), signal.SIGSTOP)
if attempt == "0": sys.exit(75)
"""
    code, said = launched(tmp_path, program)
    assert code == 0
    assert "did not end by itself: all 2 start anew" in said[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_to_all_once(tmp_path: Path, number: signal.Signals) -> None:
    program = """
got = []
for kind in (signal.SIGTERM, signal.SIGINT): signal.signal(kind, lambda n, _: got.append(n))
(folder / f"ready-{rank}").touch()
while not got: time.sleep(0.01)
sys.exit(128 + got[0] if len(got) == 1 else 1)
"""

    def stop() -> None:
        while len(list(tmp_path.glob("ready-*"))) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop, daemon=True).start()
    assert launched(tmp_path, program) == (128 + number, [])
    assert begun(tmp_path) == ["0-0", "0-1"]


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    program = f"""{BEGIN}
import threading
from fleetnet.training.launch import end_with_the_launch
got = []
signal.signal(signal.SIGTERM, lambda n, _: got.append(n))
threading.Thread(target=end_with_the_launch, daemon=True).start()
(folder / f"ready-{{rank}}").touch()
while not got: time.sleep(0.01)
(folder / f"ended-{{rank}}").touch()
"""
    starter = f"""
import sys
from fleetnet.training.launch import Launch
Launch([sys.executable, "-c", {program!r}, {str(tmp_path)!r}], 2, restarts=0, say=print).run()
"""
    with subprocess.Popen([sys.executable, "-c", starter]) as process:
        while len(list(tmp_path.glob("ready-*"))) < 2:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    while len(list(tmp_path.glob("ended-*"))) < 2:
        time.sleep(0.01)


def test_processes_share_the_processors_and_stay_on_the_machine() -> None:
    settings = shared_settings({"PATH": "/bin"}, 10_000)
    assert settings["PATH"] == "/bin"
    assert settings["OMP_NUM_THREADS"] == "1"
    assert settings["GLOO_SOCKET_IFNAME"].startswith("lo")
    own = {"OMP_NUM_THREADS": "7", "GLOO_SOCKET_IFNAME": "eth0", "NCCL_SOCKET_IFNAME": "eth0"}
    assert shared_settings(own, 2) == own


@pytest.mark.parametrize(
    ("numbers", "argument"),
    [((0, 3, 1.0), "nproc"), ((2, -1, 1.0), "restarts"), ((2, 3, 0.0), "timeout")],
)
def test_numbers_that_make_no_sense_are_refused(
    numbers: tuple[int, int, float], argument: str
) -> None:
    with pytest.raises(FleetnetError, match=f"{argument}= is") as caught:
        check_processes(*numbers)
    assert caught.value.arguments == (argument,)


def test_the_command_line_starts_itself_with_one_folder_for_all(
    fleetnet: Run, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def run(launch: Launch) -> int:
        started.append((launch.command, launch.processes, launch.restarts))
        return 75

    monkeypatch.setattr(Launch, "run", run)
    monkeypatch.setattr(sys, "argv", ["fleetnet", "train", "photos"])
    monkeypatch.chdir(tmp_path)
    done = fleetnet("train", shapes, "--nproc", "3", "--restarts", "5")
    assert done.code == 75, done
    ((command, processes, restarts),) = started
    assert (processes, restarts) == (3, 5)
    assert command[:5] == [sys.executable, "-m", "fleetnet", "train", "photos"]
    assert command[5] == "--output"
    assert Path(command[6]).parent == Path("runs")
    assert fleetnet("train", shapes, "--nproc", "3", "-o", tmp_path / "run").code == 75
    assert fleetnet("train", "--resume", tmp_path / "run", "--nproc", "2").code == 75
    assert [command[5:] for command, *_ in started[1:]] == [[], []]


def test_options_that_several_processes_cannot_have_are_refused(
    fleetnet: Run, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleetnet("train", shapes, "--nproc", "0").assert_one_line("--nproc is 0")
    fleetnet("train", shapes, "--nproc", "2", "--find-lr").assert_one_line(
        "--find-lr", "one process"
    )
    fleetnet("train", shapes, "--continue").assert_one_line("give --output")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    fleetnet("train", shapes).assert_one_line("MASTER_ADDR and MASTER_PORT", "torchrun")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    fleetnet("train", shapes).assert_one_line("give --output")
    fleetnet("train", shapes, "--nproc", "2").assert_one_line("leave --nproc out")


@pytest.mark.slow
def test_continue_begins_a_run_and_goes_on_with_it(
    fleetnet: Run, shapes: Path, tmp_path: Path
) -> None:
    from samples import TINY

    options = [word for setting in TINY for word in ("--set", setting)]
    command = [
        "train",
        shapes,
        "-m",
        "MobileNetV2_x0_25",
        "--log",
        "none",
        *options,
        "--epochs",
        "1",
    ]
    command += ["-o", tmp_path / "run", "--continue"]
    assert "is complete" not in fleetnet(*command).err
    again = fleetnet(*command)
    assert again.code == 0, again
    assert "is complete, 1 epoch as planned" in again.err
    fleetnet(*command, "--set", "optimizer.lr=0.5").assert_one_line(
        "optimizer.lr=0.02, not 0.5", "--resume"
    )
    fleetnet(*command[:-1]).assert_one_line("holds a run already")


def test_a_restart_goes_on_with_what_its_own_launch_has_begun(tmp_path: Path) -> None:
    """And not with an older run, whose launch by torchrun may have had the same name."""
    variables = {"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "none"}
    first = Launched.found(variables)
    again = Launched.found({**variables, "TORCHELASTIC_RESTART_COUNT": "1"})
    assert first is not None
    assert again is not None
    assert first.name == again.name
    assert first.name.startswith("none ")
    assert not goes_on(tmp_path, again, asked=True)
    (tmp_path / "last.ckpt").touch()
    for launch, own in ((first.name, True), ("none", False), ("", False)):
        (tmp_path / "run.json").write_text(json.dumps({"launch": launch}))
        assert goes_on(tmp_path, again, asked=False) is own
        assert not goes_on(tmp_path, first, asked=False)
        assert goes_on(tmp_path, first, asked=True)
    (tmp_path / "run.json").unlink()
    assert not goes_on(tmp_path, replace(again, name=""), asked=False)
