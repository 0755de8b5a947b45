"""The command line: one thin file a verb."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterable
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from typer.main import get_command

import fleetnet
from fleetnet.cli import streams
from fleetnet.cli.console import fail, say
from fleetnet.cli.termination import tidy_termination
from fleetnet.errors import INSTALL, FleetnetError, Interrupted, one_line
from fleetnet.reporting import Note
from fleetnet.schema import first_problem

VERBS = (
    "data",
    "models",
    "train",
    "distill",
    "prune",
    "runs",
    "evaluate",
    "explain",
    "export",
    "devices",
    "verify",
    "conformance",
    "quantize",
    "reject",
    "tune",
    "predict",
    "serve",
    "bench",
    "weights",
    "demo",
    "study",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"fleetnet {fleetnet.__version__}")  # noqa: T201
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback where something goes wrong.")
    ] = False,
) -> None:
    pass


def _app(verbs: Iterable[str]) -> typer.Typer:
    """Return the command line with these verbs."""
    app = typer.Typer(
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Small, fast, verified image classifiers: from a folder of images to every device.",
    )
    app.callback()(_options)
    for verb in verbs:
        importlib.import_module(f"fleetnet.cli.{verb}").register(app)
    return app


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    The codes: 0 done, 1 done with failures, 2 bad input, 130 or 143 interrupted.
    """
    streams.set_up()
    arguments = sys.argv[1:] if arguments is None else arguments
    # Accepted anywhere, because it is asked for after a failure, at the end of the last command.
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    arguments = arguments or ["--help"]
    if not debug:
        warnings.simplefilter("ignore")
    # What the other verbs import would be a fifth of the time to a first answer.
    verb = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        app = _app([verb] if verb in VERBS else VERBS)
        with tidy_termination(verb):
            code = get_command(app).main(arguments, prog_name="fleetnet", standalone_mode=False)
        # Here, because Python cannot say in one line what goes wrong with it at its end.
        sys.stdout.flush()
    except (typer.Abort, KeyboardInterrupt):
        # Whoever presses Ctrl-C once more would see where Python was as it ended.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(130)
    except typer.TyperException as error:
        fail(_usage_message(error))
    except BrokenPipeError:
        _leave_the_pipe()
    except SystemExit as ended:
        # Rich and typer end the program with code 1 where the pipe is closed.
        if isinstance(ended.__context__, BrokenPipeError):
            _leave_the_pipe()
        raise
    except Interrupted as error:
        say(Note.of(error))
        sys.exit(error.exit_code)
    except FleetnetError as error:
        if debug:
            raise
        fail(Note.of(error))
    except ImportError as error:
        if debug or str(error.name).partition(".")[0] == "fleetnet":
            raise
        fail(_import_message(error))
    except (MemoryError, RuntimeError) as error:
        if debug or not _is_want_of_memory(error):
            raise
        fail("there is not enough memory: smaller batches, or smaller images, need less")
    except OSError as error:
        if debug:
            raise
        streams.drop_output()
        reason = error.strerror or one_line(error)
        fail(f"{os.fsdecode(error.filename)}: {reason}" if error.filename else reason)
    sys.exit(code if isinstance(code, int) else 0)


def _leave_the_pipe() -> NoReturn:
    """End well: the reader of our output, such as head, has seen enough."""
    streams.drop_output()
    sys.exit(0)


def _is_want_of_memory(error: Exception) -> bool:
    """Tell whether memory is full; PyTorch says so by errors of its own."""
    torchs = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or torchs


def _import_message(error: ImportError) -> str:
    """Return the error for a package of others that is not there, or does not work."""
    if isinstance(error, ModuleNotFoundError):
        package = str(error.name).partition(".")[0]
        return f"this needs the package '{package}', which is not installed: {INSTALL} {package}"
    return f"a package that this needs cannot be loaded: {one_line(error)}; install it anew"


def _usage_message(error: typer.TyperException) -> str:
    """Return a wrong command line's error with the command whose help explains it."""
    if isinstance(error.__cause__, ValidationError):
        error.message = first_problem(error.__cause__).text
    describe = getattr(error, "format_message", None)
    message: str = describe() if describe else str(error)
    context = getattr(error, "ctx", None)
    message = one_line(message)
    return f"{message} (try '{context.command_path} --help')" if context else message
