"""Nothing raw reaches a terminal, a figure or a page."""

import io

import keras
import numpy as np
import pytest
from matplotlib.text import Text
from rich.console import Console

from keras_convinit import initialize, signal_report
from keras_convinit._printable import escape_lines, escape_unprintable
from keras_convinit.diagnostics.signal_monitor import list_scalars
from keras_convinit.lab.say import say

pytestmark = pytest.mark.once

HOSTILE = "\x1b]0;owned\x07\x1b[2J\nnext\u202erow"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\nnext\u202erow"


def test_names_are_shown_as_python_writes_them():
    assert escape_unprintable(HOSTILE) == SHOWN
    assert escape_unprintable("block_1/größe $a^b$ [red] :smile: 層") == (
        "block_1/größe $a^b$ [red] :smile: 層"
    )
    assert escape_unprintable("\udc80\x9b\u200b\t") == r"\udc80\x9b\u200b\t"
    assert escape_lines("one\r\ntwo\x1b") == "one\\r\ntwo\\x1b"


def network(*names, **arguments):
    layers = [keras.layers.Dense(4, name=name, **arguments) for name in names]
    return keras.Sequential([keras.Input((4,)), *layers])


X = np.ones((4, 4), "float32")


def is_clean(text):
    return all(line.isprintable() for line in text.split("\n"))


@pytest.fixture
def report():
    """That of a network that is in trouble at a layer with a hostile name."""
    model = network("in", HOSTILE, "out", activation="relu")
    for variable in model.layers[1].variables:
        variable.assign(np.zeros(variable.shape))
    return signal_report(model, X)


@pytest.mark.everywhere
def test_of_a_signal_report(report):
    assert SHOWN in report.verdict
    assert is_clean(report.verdict)
    assert is_clean(str(report))
    rows = str(report).split("---\n")[1].split("\n")
    assert len(rows) == 3
    html = report._repr_html_()
    assert is_clean(html)
    assert SHOWN in html
    assert all(map(is_clean, list_scalars(report)))
    # Data stay as they are.
    assert report.rows[1].path == HOSTILE


def test_of_kernels_that_are_equal():
    model = network(HOSTILE, "other")
    model.layers[1].kernel.assign(model.layers[0].kernel)
    report = signal_report(model, X)
    assert "equal kernels" in report.verdict
    assert is_clean(report.verdict)


@pytest.mark.everywhere
def test_of_an_initialization():
    model = network(HOSTILE, "other")
    model.layers[1].trainable = False
    report = initialize(model, "he_normal")
    assert is_clean(str(report))
    assert r"\u202erow" in str(report)
    # Title, heads, one row, and what was left alone.
    model.layers[0].trainable, model.layers[1].trainable = False, True
    left = str(initialize(model, "he_normal"))
    assert is_clean(left)
    assert SHOWN in left


@pytest.mark.parametrize("name", ["cost$a_b^$", "$\\frac$", HOSTILE])
def test_a_figure_has_names_as_they_are(name, tmp_path):
    model = network("in", name, "out", kernel_initializer="zeros")
    model.layers[0].kernel.assign(np.eye(4))
    model.layers[1].kernel.assign(1e-3 * np.eye(4))
    model.layers[2].kernel.assign(np.eye(4))
    figure = signal_report(model, X).plot(tmp_path / "figure.png")
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert any(text.endswith(f": {escape_unprintable(name)}") for text in texts)
    assert (tmp_path / "figure.png").stat().st_size


def test_what_is_said_is_neither_markup_nor_emoji():
    console = Console(file=io.StringIO(), width=20, force_terminal=True)
    say(console, "runs[/bold] [red]1 :smile:", f"{HOSTILE} and a long line")
    assert console.file.getvalue() == (
        f"runs[/bold] [red]1 :smile:\n{SHOWN} and a long line\n"
    )
