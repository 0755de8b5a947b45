import fcntl
import itertools
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from fleetnet.benchmark import launcher
from fleetnet.benchmark.process import predict_command, run_once, run_processes, write_image
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


@pytest.mark.slow
def test_a_fresh_process_answers(bundle: Bundle, tmp_path: Path) -> None:
    image = tmp_path / "image.jpg"
    write_image(image)
    with Image.open(image) as written:
        assert written.size == (500, 375)
    command = predict_command(bundle.path, image, "openvino", "fp32", 1)
    found, failed = run_processes({"key": command}, 1)
    assert failed == {}
    process = found["key"]
    assert process.runs == 1
    assert process.quickest == process.start_up == process.slowest > 0
    assert process.peak_bytes is None or process.peak_bytes > 30e6


def test_memory_is_the_processes_own(tmp_path: Path) -> None:
    """A process is charged with its parent's memory, unless a small one stands between them."""
    held = bytearray(200_000_000)
    held[::4096] = b"x" * len(held[::4096])
    report = run_once(python("print(1)"))
    assert report["peak_bytes"] is None or report["peak_bytes"] < 60e6
    large = run_once(python("a = b'x' * 100_000_000; print(1)"))
    assert large["peak_bytes"] is None or large["peak_bytes"] > 100e6


def test_the_time_to_a_first_answer_ends_with_the_first_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process does after its answer is not start-up, however much it still says."""
    stopped = tmp_path / "the clock was stopped"
    readings = iter([5.0, 7.5])

    def clock() -> float:
        reading = next(readings)
        if reading == 7.5:
            stopped.touch()
        return reading

    monkeypatch.setattr(time, "perf_counter", clock)
    waits = f"""
import os, time
print(1, flush=True)
while not os.path.exists({str(stopped)!r}):
    time.sleep(0.01)
print("x" * 200_000)
"""
    report = launcher.launch(python(waits))
    assert report["seconds"] == 2.5
    assert report["status"] == 0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; sys.exit('error: no such thing')", "status 1: no such thing"),
        ("import os; os.kill(os.getpid(), 9)", "status -9: no message"),
        ("raise ValueError('one\\ntwo')", "status 1: two"),
    ],
)
def test_a_failure_is_one_line(code: str, words: str) -> None:
    with pytest.raises(FleetnetError) as caught:
        run_once(python(code))
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_command_that_does_not_exist_or_does_not_end() -> None:
    with pytest.raises(FleetnetError, match=r"status 1: .*no-such-program"):
        run_once(["/no-such-program"])
    with pytest.raises(FleetnetError, match=r"did not answer in 0\.2 seconds"):
        run_once(python("import time; time.sleep(600)"), timeout=0.2)


@pytest.mark.slow
def test_a_process_that_does_not_end_is_ended_with_its_parent(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = f"""
import fcntl, time
lock = open({str(lock)!r}, "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", file=lock, flush=True)
time.sleep(600)
"""
    # However long it takes to come to its lock.
    for count in itertools.count():
        with pytest.raises(FleetnetError, match="did not answer"):
            run_once(python(code), timeout=0.2 * 2**count)
        if lock.exists() and lock.read_text():
            break
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits until the other process ends


def test_one_failure_leaves_the_others() -> None:
    done: list[int] = []
    found, failed = run_processes(
        {"good": python("print(1)"), "bad": python("raise SystemExit('broken')")},
        2,
        lambda count, _: done.append(count),
    )
    assert found["good"].runs == 2
    assert list(found) == ["good"]
    assert failed == {"bad": "the process ended with status 1: broken"}
    assert done == [1, 2, 3]
