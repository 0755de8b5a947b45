"""The command line: one thin file a verb."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterable
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from typer.main import get_command

import fleetnet
from fleetnet.cli import streams
from fleetnet.cli.console import fail, say
from fleetnet.errors import FleetnetError, Interrupted, one_line
from fleetnet.reporting import Note
from fleetnet.schema import first_problem

VERBS = (
    "data",
    "models",
    "train",
    "runs",
    "evaluate",
    "explain",
    "export",
    "verify",
    "conformance",
    "quantize",
    "tune",
    "predict",
    "bench",
    "weights",
    "demo",
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
    app = _app([verb] if verb in VERBS else VERBS)
    try:
        code = get_command(app).main(arguments, prog_name="fleetnet", standalone_mode=False)
        # Here, because Python cannot say in one line what goes wrong with it at its end.
        sys.stdout.flush()
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except typer.TyperException as error:
        fail(_usage_message(error))
    except BrokenPipeError:
        # The reader of our output, such as head, has seen enough.
        streams.drop_output()
        sys.exit(0)
    except Interrupted as error:
        say(Note.of(error))
        sys.exit(error.exit_code)
    except FleetnetError as error:
        if debug:
            raise
        fail(Note.of(error))
    except OSError as error:
        if debug:
            raise
        streams.drop_output()
        reason = error.strerror or one_line(error)
        fail(f"{os.fsdecode(error.filename)}: {reason}" if error.filename else reason)
    sys.exit(code if isinstance(code, int) else 0)


def _usage_message(error: typer.TyperException) -> str:
    """Return a wrong command line's error with the command whose help explains it."""
    if isinstance(error.__cause__, ValidationError):
        error.message = first_problem(error.__cause__).text
    describe = getattr(error, "format_message", None)
    message: str = describe() if describe else str(error)
    context = getattr(error, "ctx", None)
    message = one_line(message)
    return f"{message} (try '{context.command_path} --help')" if context else message
