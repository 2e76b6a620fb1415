"""A signal report as text, as a page, as plain data and as a figure."""

import json

import keras
import numpy as np
import pytest

from keras_convinit import signal_report
from keras_convinit.diagnostics import SignalIssue, SignalReport, SignalRow
from keras_convinit.diagnostics._views import predict_forward_norms
from keras_convinit.layers import ScaledResidual


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def row(index, **changes):
    number = 1.0 if index else 0.1
    values = {
        "path": f"model/with_a_long_name/stage_{index}/block_1/convolution",
        "type": "WeightNormConv2DTranspose",
        "inputs": (index - 1,),
        "channels": 4,
        "forward_norm": 1.2345e-12,
        "alpha": 12345.6,
        "predicted_alpha": 1.0,
        "factors": None,
        "error_norm": float("inf"),
        "beta": 1e-7,
        "predicted_beta": None,
        "weight_norm": 1.5e9,
        "gradient_norm": 3e-30,
        "dead_fraction": number,
    }
    return SignalRow(**{**values, **changes})


def report(count=3):
    rows = tuple(row(index) for index in range(count))
    issues = (SignalIssue("vanishing", "forward", 1, rows[1].path, 0.05),)
    return SignalReport(rows, (1.0,), None, issues, (("a.kernel", "b.kernel"),) * 4)


def test_the_table_fits_a_hundred_columns():
    text = str(report())
    assert max(map(len, text.splitlines())) <= 100
    lines = text.splitlines()
    assert lines[0].startswith("vanishing from")
    assert "block_1/convolution" in text
    assert "1.23e-12" in text
    assert "inf" in text
    assert "100%" in text
    assert "equal kernels: a.kernel = b.kernel and 3 more" in text


def test_the_table_of_a_network():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(4, "relu", name="one")]
    )
    found = signal_report(model, random(8, 4))
    *_, heading, _, line = str(found).splitlines()
    assert heading.split() == [
        *("layer", "type", "forward", "alpha", "theory"),
        *("error", "beta", "theory", "weights", "gradient", "dead"),
    ]
    cells = line.split()
    (only,) = found.rows
    assert cells[:2] == ["one", "Dense"]
    assert float(cells[2]) == pytest.approx(only.forward_norm, rel=0.01)
    assert float(cells[3]) == pytest.approx(only.alpha, abs=0.005)
    assert cells[6:8] == ["-", "-"]


def test_a_page_for_notebooks():
    page = report()._repr_html_()
    assert page.count("<tr") == 4
    assert page.count("#D55E00") == 1
    assert "block_1/convolution" in page
    escaped = SignalReport((row(0, path="<a>"),), (1.0,), None, (), ())
    assert "<a>" not in escaped._repr_html_()


def test_plain_data():
    found = report()
    plain = found.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["verdict"] == found.verdict
    assert plain["rows"][0]["error_norm"] is None
    assert plain["rows"][0]["alpha"] == 12345.6
    assert plain["issues"][0]["kind"] == "vanishing"
    assert found.rows[0].to_dict()["path"] == found.rows[0].path


@pytest.mark.parametrize("depth", [2, 60])
def test_the_figure(depth, tmp_path):
    pytest.importorskip("matplotlib")
    layers = [keras.layers.Dense(32, "relu", name=f"d{i}") for i in range(depth)]
    model = keras.Sequential([keras.Input((32,)), *layers])
    found = signal_report(model, random(8, 32))
    path = tmp_path / "signal.png"
    figure = found.plot(path)
    assert path.stat().st_size > 10_000
    above, below = figure.axes
    assert below.get_xlabel() == "layer, in order of execution"
    assert above.get_yscale() == below.get_yscale() == "log"
    points, line = above.get_lines()[:2]
    expected = [each.forward_norm for each in found.rows]
    np.testing.assert_allclose(points.get_ydata(), expected)
    first = found.rows[0].predicted_alpha * found.inputs[0]
    assert line.get_ydata()[0] == pytest.approx(first)
    marked = [t for t in found.issues if t.direction == "forward"]
    assert len(above.get_lines()) == 2 + len(marked)
    errors = [each.error_norm for each in found.rows]
    np.testing.assert_allclose(below.get_lines()[0].get_ydata(), errors)
    # Nothing predicts the last error signal: the line starts where it is measured.
    assert below.get_lines()[1].get_ydata()[-1] == pytest.approx(errors[-1])


def test_a_figure_of_what_is_not_finite():
    pytest.importorskip("matplotlib")
    broken = row(0, forward_norm=float("nan"), alpha=None, predicted_alpha=None)
    figure = SignalReport((broken,), (1.0,), None, (), ()).plot()
    assert np.isnan(figure.axes[0].get_lines()[0].get_ydata()).all()


def test_the_predicted_line_of_residual_blocks_is_the_theorem():
    inputs = x = keras.Input((64,))
    for _ in range(20):
        branch = keras.layers.Dense(64, kernel_initializer="orthogonal")
        x = ScaledResidual(branch, 20)(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    found = signal_report(model, random(256, 64))
    line = predict_forward_norms(found.rows, found.inputs)
    (start,) = found.inputs
    # Of every pair of rows the second is the sum.
    growth = [line[index] / start for index in range(1, 40, 2)]
    np.testing.assert_allclose(
        growth, (1 + 1 / 20) ** (np.arange(1, 21) / 2), rtol=1e-3
    )
