"""The pages to read run, in small."""

import importlib
import sys


def test_signal_report(root, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(root / "examples"))
    page = importlib.import_module("signal_report")
    before, after = page.main(
        ["--depth", "12", "--width", "16", "--output", str(tmp_path)]
    )
    assert "vanishing from conv_" in before.verdict
    assert after.verdict == "steady"
    assert "After initialize(model): steady" in capsys.readouterr().out
    for name in ("signal_before.png", "signal_after.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_augmentation(root, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(root / "examples"))
    # A page and a benchmark have this name.
    monkeypatch.delitem(sys.modules, "augmentation", raising=False)
    page = importlib.import_module("augmentation")
    page.main(["--columns", "3", "--output", str(tmp_path)])
    path = tmp_path / "augmentation.png"
    assert f"Figure: {path}" in capsys.readouterr().out
    assert path.read_bytes().startswith(b"\x89PNG")
