"""The command line: one command a file, options in, a status out."""

from keras_convinit.lab.cli import init, quickstart, report
from keras_convinit.lab.cli._app import app

__all__ = ["app", "init", "quickstart", "report"]
