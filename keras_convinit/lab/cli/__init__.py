"""The command line: one command a file, options in, a status out."""

from keras_convinit.lab.cli import compare, quickstart, recipes, report, train
from keras_convinit.lab.cli._app import app

__all__ = ["app", "compare", "quickstart", "recipes", "report", "train"]
