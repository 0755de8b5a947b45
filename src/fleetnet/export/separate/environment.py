"""Environments for packages that do not install beside Fleetnet, made once, in the cache.

Converters pin what they were tested with: other releases of NumPy, protobuf or PyTorch than ours or
each other's. So each has an environment of its own, of locked versions, which is made when a target
is first asked for. Afterwards nothing is fetched any more.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import ClassVar

from fleetnet.cache import CACHE_VARIABLE, cache_folder
from fleetnet.errors import FleetnetError
from fleetnet.files import write_error
from fleetnet.locks import locked
from fleetnet.reporting import Advance, Begin, Say

_MADE = "made"
"""The file that says that everything was installed."""
_QUIETLY = ("--disable-pip-version-check", "--no-input", "--no-deps", "--no-compile")


@dataclass(frozen=True)
class Environment:
    """A Python environment of its own.

    Attributes:
        name: of the file in ``locks/`` that lists every package with its version.
        megabytes: about what it takes on disk.
        python: the version that its packages are made for, such as ``3.7``, where that is not ours;
            users have to have it.
    """

    name: str
    megabytes: int
    python: str = ""

    ending: ClassVar[str] = ".py"
    """Of the names of scripts that it runs."""

    @property
    def missing(self) -> str:
        """What it takes that nobody can fetch for a user, and that is not here; else empty."""
        if self.interpreter is not None:
            return ""
        return f"Python {self.python} as 'python{self.python}' on the PATH, or of pyenv"

    @property
    def interpreter(self) -> Path | None:
        """The Python that it is made with: ours, or one of another version; None without one."""
        if not self.python:
            return Path(sys.executable)
        versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
        if kept := sorted(versions.glob(f"{self.python}.*/bin/python")):
            return kept[0]
        name = f"python{self.python}"
        for folder in os.get_exec_path():
            # What pyenv puts there runs nothing unless the version was chosen.
            if (found := shutil.which(name, path=folder)) and Path(folder).name != "shims":
                return Path(found)
        return None

    @property
    def requirements(self) -> tuple[str, ...]:
        """What is installed, as ``pip`` takes it, each package with its version."""
        lines = self._lock.decode().splitlines()
        return tuple(line for line in map(str.strip, lines) if line and not line.startswith("#"))

    @property
    def _lock(self) -> bytes:
        return (resources(__package__) / "locks" / f"{self.name}.txt").read_bytes()

    @property
    def folder(self) -> Path:
        """Where it is, or will be: another one for other versions, and for another Python."""
        ours = sys.version + sys.base_prefix
        made_of = self._lock + (f"{self.interpreter}" if self.python else ours).encode()
        digest = hashlib.sha256(made_of).hexdigest()[:12]
        return cache_folder() / "environments" / f"{self.name}-{digest}"

    @property
    def made(self) -> bool:
        """Whether it is there, whole."""
        return (self.folder / _MADE).is_file()

    @property
    def program(self) -> Path:
        """The Python interpreter in it."""
        inside = "Scripts/python.exe" if os.name == "nt" else "bin/python"
        return self.folder / inside

    @property
    def variables(self) -> dict[str, str]:
        """Those that its scripts are run with.

        Compiled modules are kept in its folder, as a converter imports for many seconds without
        them: nothing is written beside our scripts, where users may not write.
        """
        if self.python:  # of which not every one can keep them elsewhere
            return {**clean_environment(), "PYTHONDONTWRITEBYTECODE": "1"}
        return {**clean_environment(), "PYTHONPYCACHEPREFIX": str(self.folder / "compiled")}

    def version(self, package: str) -> str:
        """Return the version of a package that it has, or will have; empty if it has none."""
        for requirement in self.requirements:
            name, _, version = requirement.partition("==")
            if name.lower().replace("_", "-") == package.lower().replace("_", "-"):
                return version
        return ""

    def make(
        self,
        say: Say = lambda _: None,
        begin: Begin = lambda _what, _steps: lambda _done: None,
    ) -> Path:
        """Return the interpreter; if the environment is not there, it is made first.

        Processes that want the same one at once wait for the first of them. One that was not
        finished is made anew.

        Args:
            say: called with what is being done, in a line.
            begin: called with the packages to fetch, and how many they are.

        Raises:
            FleetnetError: a package cannot be fetched or installed, or there is no space.
        """
        if self.made:
            return self.program
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with locked(Path(f"{self.folder}.lock")):
                if not self.made:
                    self._make(say, begin)
        except OSError as error:
            raise write_error(self.folder, error) from error
        return self.program

    def _make(self, say: Say, begin: Begin) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        size = (
            f"{self.megabytes} MB" if self.megabytes < 1000 else f"{self.megabytes / 1000:.1f} GB"
        )
        self._check_space(size)
        say(f"making the environment '{self.name}', once: {size} in {self.folder}")
        try:
            self._fill(begin(f"packages for '{self.name}'", len(self.requirements)))
            (self.folder / _MADE).touch()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _check_space(self, size: str) -> None:
        """Refuse what the disk cannot hold, before anything is fetched.

        Raises:
            FleetnetError: it says how much is free, and where.
        """
        free = shutil.disk_usage(self.folder.parent).free
        if free < self.megabytes * 10**6:
            raise FleetnetError(
                f"the environment '{self.name}' takes {size}, and {free // 10**6} MB are free in "
                f"{self.folder.parent}: free some, or let {CACHE_VARIABLE} name another disk",
                code="not-installed",
                package=self.name,
            )

    def _fill(self, advance: Advance) -> None:
        """Put the packages into the folder."""
        interpreter = self.interpreter
        if interpreter is None:
            raise FleetnetError(
                f"the environment '{self.name}' needs {self.missing}",
                code="not-installed",
                package=f"python{self.python}",
            )
        self._run([interpreter, "-m", "venv", self.folder], "make", lambda _: None)
        install = ["-m", "pip", "install", *_QUIETLY, *self.requirements]
        self._run([self.program, *install], "install", advance)

    def _run(self, command: Sequence[str | Path], what: str, advance: Advance) -> None:
        told: list[str] = []
        with subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env={**clean_environment(), "PYTHONDONTWRITEBYTECODE": "1"},
        ) as process:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            try:
                for line in process.stdout:
                    told.append(line.strip())
                    del told[:-50]
                    if line.startswith("Collecting "):
                        advance(1)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise FleetnetError(
                f"cannot {what} the environment '{self.name}': {_reason(told)}",
                code="not-installed",
                package=self.name,
            )


def clean_environment() -> dict[str, str]:
    """Return the variables for a process apart, without what would lead it to our packages."""
    ours = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "PYTHONNOUSERSITE": "1"}


def _reason(told: list[str]) -> str:
    """Return the line of ``pip`` that says what went wrong."""
    if any("connection broken by" in line for line in told):
        # What pip ends with then is that there is no such version.
        return (
            "no index of packages could be reached, which it takes this once: connect, or let "
            "PIP_INDEX_URL name one"
        )
    errors = [line for line in told if line.lower().startswith("error")]
    return (errors or [line for line in told if line] or ["it said nothing"])[0][:500]
