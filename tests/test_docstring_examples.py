"""Every example of a docstring runs as it is pasted."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest

import keras_convinit

# What the first lines of a session import; anything else an example imports itself.
NAMES = {"keras": keras, "np": np, "keras_convinit": keras_convinit}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules():
    for found in pkgutil.walk_packages(keras_convinit.__path__, "keras_convinit."):
        name = found.name
        if "__main__" in name or name.rpartition("backend.")[2] in (
            "jax",
            "tensorflow",
            "torch",
        ):
            continue
        yield importlib.import_module(name)


def examples():
    finder = doctest.DocTestFinder(recurse=True, exclude_empty=True)
    for module in modules():
        for test in finder.find(module, module.__name__, globs=dict(NAMES)):
            if test.examples:
                once = [pytest.mark.once] if ".lab." in test.name else []
                yield pytest.param(test, id=test.name, marks=once)


@pytest.mark.parametrize("test", [*examples()])
def test_an_example_runs_as_it_is_pasted(test, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # Names that Keras makes up count the layers of the session.
    keras.utils.clear_session(free_memory=False)
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    report = []
    runner.run(test, out=report.append, clear_globs=False)
    assert runner.failures == 0, "".join(report)
