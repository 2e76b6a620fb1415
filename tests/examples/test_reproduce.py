"""The reproductions run, in small."""

import importlib
import json
import math


def test_figure_1_of_arpit(root, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(root / "examples" / "reproduce"))
    figure = importlib.import_module("arpit_figure1")
    small = {"SAMPLES": 40, "INPUTS": 100, "LAYERS": 3, "BLOCKS": 4}
    for name, value in {**small, "WIDTHS": (150,)}.items():
        monkeypatch.setattr(figure, name, value)
    curves = figure.main(["--output", str(tmp_path)])

    # Two networks, two directions, three starts.
    assert len(curves) == 12
    (residual,) = (
        curve
        for curve in curves
        if (curve.network, curve.direction, curve.start)
        == ("residual", "forward", "proposed, orthogonal")
    )
    growth = math.sqrt((1 + 1 / 4) ** 4)
    # 40 samples of a deviation of some 20 % each.
    assert abs(residual.mean[-1] / growth - 1) < 0.16
    assert "predicted 1.562" in capsys.readouterr().out
    values = json.loads((tmp_path / "arpit_figure1.json").read_text())
    assert len(values["curves"]) == 12
    picture = (tmp_path / "arpit_figure1.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
