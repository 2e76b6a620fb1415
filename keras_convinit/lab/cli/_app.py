"""What all commands share: no traceback for what can be mended, a status at the end."""

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import typer

import keras_convinit
from keras_convinit._printable import escape_lines
from keras_convinit.lab.errors import LabError

# Exit statuses.
MISSING = 1
WRONG_OPTION = 2
INTERRUPTED = 130

app = typer.Typer(no_args_is_help=True, add_completion=False)


# What several commands say of the same option.
MODEL_HELP = (
    "A network of the lab such as resnet_cifar:20; a .keras file; or "
    "package.module:function, which is imported and called: that runs its code. The "
    "current folder is looked in first."
)
IMPORT_HELP = (
    "A module with classes that the file needs. To import it runs its code; the "
    "current folder is looked in first."
)
RESUME: Any = typer.Option(
    "--resume", help="What it does anyway: to go on with what is finished."
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"keras_convinit {keras_convinit.__version__}")
        raise typer.Exit


@app.callback()
def commands(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Makes deep convolutional networks trainable before their first step."""


@contextlib.contextmanager
def friendly() -> Iterator[None]:
    """Says in one line what the person at the keyboard can mend."""
    try:
        yield
    except LabError as error:
        raise failure(error, MISSING) from error
    except KeyboardInterrupt as error:
        raise failure("Interrupted.", INTERRUPTED) from error


def failure(message: object, status: int) -> typer.Exit:
    """Prints a message, and gives what ends the program with that status."""
    # It may have names from a file of somebody else's.
    typer.echo(escape_lines(message), err=True)
    return typer.Exit(status)
