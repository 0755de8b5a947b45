"""What ``make cpp`` and its like do where Debian packages are missing (``cpp/cmake/packages.sh``).

The package tools are stand-ins that come first in ``PATH`` and write down how they were called.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "cpp" / "cmake" / "packages.sh"
TRIES = 3

pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="there is no shell")


class Machine(NamedTuple):
    """A machine without the packages, as the scripts see it."""

    tools: Path

    def has(self, name: str, script: str) -> None:
        tool = self.tools / name
        tool.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.tools}/calls"\n{script}\n')
        tool.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return (self.tools / "calls").read_text().splitlines()

    def run(self, *command: str | Path, ci: bool) -> subprocess.CompletedProcess[str]:
        path = f"{self.tools}{os.pathsep}{os.environ['PATH']}"
        # Not what a make that runs these tests hands on.
        rest = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
        return subprocess.run(
            command,
            cwd=ROOT,
            env={
                **rest,
                "PATH": path,
                "CI": "true" if ci else "",
                "POLICY": str(self.tools / "policy"),
            },
            capture_output=True,
            text=True,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return one whose user is root and whose mirror does not answer."""
    machine = Machine(tmp_path)
    machine.has("dpkg-query", "exit 1")
    machine.has("id", "echo 0")
    machine.has("sleep", "")
    machine.has("apt-get", 'echo "E: Unable to fetch" >&2; exit 100')
    return machine


@pytest.mark.parametrize("ci", [False, True])
def test_asks_for_nothing_where_all_is_there(machine: Machine, ci: bool) -> None:
    machine.has("dpkg-query", "echo installed")
    done = machine.run(PACKAGES, "fuzz", ci=ci)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not [call for call in machine.calls if call.startswith("apt-get")]


@pytest.mark.parametrize("ci", [False, True])
def test_says_in_one_line_what_root_has_to_install(machine: Machine, ci: bool) -> None:
    machine.has("id", "echo 1000")
    done = machine.run(PACKAGES, "fuzz", ci=ci)
    assert done.returncode == 1
    assert done.stdout.startswith("make cpp-fuzz: skipped: these packages are missing: ")
    assert done.stdout.count("\n") == 1
    assert " clang " in done.stdout
    assert not [call for call in machine.calls if call.startswith("apt-get")]


def test_no_service_is_started(machine: Machine) -> None:
    """Those of servers would listen on all addresses."""
    policy = machine.tools / "policy"
    machine.has("apt-get", f'[ "$1" = update ] || "{policy}" nginx start || echo $? >&2; exit 100')
    done = machine.run(PACKAGES, ci=False)
    assert "    101\n" in done.stdout
    assert not policy.exists()
    policy.write_text("theirs")
    machine.run(PACKAGES, ci=False)
    assert policy.read_text() == "theirs"


def test_other_lists_have_other_names(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIST", str(ROOT / "tests" / "packages.txt"))
    monkeypatch.setenv("NAME", "some tests")
    machine.has("id", "echo 1000")
    done = machine.run(PACKAGES, ci=False)
    assert done.stdout.startswith("some tests: skipped: these packages are missing: chromium ")


def test_goes_without_what_cannot_be_installed(machine: Machine) -> None:
    done = machine.run(PACKAGES, ci=False)
    assert done.returncode == 1
    assert done.stdout.startswith("make cpp: skipped: these packages could not be installed: ")
    assert "E: Unable to fetch" in done.stdout
    assert len([call for call in machine.calls if call.startswith("apt-get install")]) == 1


def test_is_an_error_in_ci_after_some_tries(machine: Machine) -> None:
    done = machine.run(PACKAGES, ci=True)
    assert done.returncode == 2
    assert done.stdout.startswith("make cpp: error: these packages could not be installed: ")
    kinds = [call.split()[1] for call in machine.calls if call.startswith("apt-get")]
    assert kinds == ["update", "install"] * TRIES


def test_a_later_try_is_enough(machine: Machine) -> None:
    """And lists that cannot be fetched are no error where the packages can."""
    machine.has(
        "apt-get", f'[ "$1" = install ] && [ $(grep -c install "{machine.tools}/calls") = 2 ]'
    )
    done = machine.run(PACKAGES, ci=True)
    assert (done.returncode, done.stdout) == (0, "")


TARGETS = ("cpp", "cpp-runtime", "cpp-windows", "cpp-arm64", "cpp-sanitize", "cpp-fuzz")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_targets_are_skipped_or_fail(machine: Machine, target: str) -> None:
    command = ("make", "--no-print-directory", "--old-file=.venv/.dev", target)
    skipped = machine.run(*command, ci=False)
    assert (skipped.returncode, skipped.stderr) == (0, "")
    assert skipped.stdout.startswith(f"make {target}: skipped: ")
    failed = machine.run(*command, ci=True)
    assert failed.returncode == 2
    assert failed.stdout.startswith(f"make {target}: error: ")
