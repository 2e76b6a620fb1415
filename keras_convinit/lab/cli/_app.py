"""What all commands share: no traceback for what can be mended, a status at the end."""

import contextlib
from collections.abc import Iterator

import typer

from keras_convinit.lab.errors import LabError

# Exit statuses.
MISSING = 1
WRONG_OPTION = 2
INTERRUPTED = 130

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def commands() -> None:
    """Initialisation that makes deep convolutional networks trainable."""
    # With a callback, a single command keeps its name.


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
    typer.echo(message, err=True)
    return typer.Exit(status)
