"""`python examples/stress.py`: what it says of what was held and what was not."""

import importlib.util

import pytest

pytestmark = pytest.mark.once


@pytest.fixture
def stress(root):
    path = root / "examples" / "stress.py"
    found = importlib.util.spec_from_file_location("stress_example", path)
    module = importlib.util.module_from_spec(found)
    # A dataclass looks for the module that it is in.
    importlib.sys.modules[found.name] = module
    found.loader.exec_module(module)
    yield module
    del importlib.sys.modules[found.name]


def test_what_fails_is_told(stress, monkeypatch, capsys):
    draws = []

    def held(bench):
        draws.append(bench.draws.random())

    def failed(bench):
        raise stress.FailedError("it is not as it was")

    monkeypatch.setattr(stress, "TRIES", {"good": held, "bad": failed})
    assert stress.main(["--tries", "2"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("good, 1: held")
    assert lines[2].startswith("bad, 1: FAILED: it is not as it was")
    assert [line.split() for line in lines[-3:-1]] == [
        ["good", "2", "2", "0"],
        ["bad", "2", "0", "2"],
    ]
    assert stress.main(["--tries", "2", "--only", "good"]) == 0
    # Decided by the seed, whatever was tried before.
    assert draws[:2] == draws[2:]
    assert draws[0] != draws[1]


def test_damage_of_a_result(stress, capsys):
    assert stress.main(["--tries", "1", "--only", "result.json"]) == 0
    assert "held" in capsys.readouterr().out


def test_content_that_is_believed_is_found(stress, monkeypatch, tmp_path):
    path = tmp_path / "there" / "result.json"
    path.parent.mkdir()
    path.write_text('{"accuracy": 0.5}')
    bench = stress.Bench(tmp_path, stress.random.Random(0))
    with pytest.raises(stress.FailedError, match="other content was believed"):
        stress.damage(bench, path, lambda copy: copy.read_bytes())
