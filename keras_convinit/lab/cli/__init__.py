"""The command line: one command a file, options in, a status out."""

from keras_convinit.lab.cli import (
    compare,
    hessian,
    init,
    quickstart,
    recipes,
    report,
    train,
)
from keras_convinit.lab.cli._app import app

__all__ = [
    "app",
    "compare",
    "hessian",
    "init",
    "quickstart",
    "recipes",
    "report",
    "train",
]
