import pytest
from typer.testing import CliRunner

from keras_convinit.lab import cli, quickstart
from keras_convinit.lab.errors import LabError

pytestmark = pytest.mark.once

SMALL = [
    *("--seeds", "1", "--epochs", "1", "--depth", "2", "--width", "1"),
    *("--residual-epochs", "1", "--blocks", "1"),
]


def invoked(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def replaced(monkeypatch):
    """Puts something else in the place of the work, and keeps what it was given."""
    given = []

    def replace(outcome):
        def quickstart(options, resume, console):
            given.append((options, resume))
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr(cli.quickstart, "run_quickstart", quickstart)
        return given

    return replace


@pytest.mark.everywhere
def test_quickstart_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(quickstart, "INITIALIZERS", ("zhang_backward",))
    result = invoked("quickstart", *SMALL, "--limit", 40, "--output", tmp_path)
    assert result.exit_code == 0, result.output
    assert "zhang_backward, seed 0" in result.stdout
    assert {file.name for file in tmp_path.iterdir()} == {
        "quickstart.json",
        "quickstart.png",
    }


def test_options_arrive(replaced, tmp_path):
    given = replaced(True)
    options = ["--dataset", "mnist", "--learning-rate", 0.5, "--limit", 7]
    result = invoked("quickstart", *SMALL, *options, "--output", tmp_path, "--resume")
    assert result.exit_code == 0
    expected = quickstart.Options(
        dataset="mnist",
        seeds=1,
        epochs=1,
        depth=2,
        width=1,
        blocks=1,
        residual_epochs=1,
        learning_rate=0.5,
        limit=7,
        output=tmp_path,
    )
    assert given == [(expected, True)]


def test_defaults_are_those_of_the_options(replaced):
    given = replaced(True)
    assert invoked("quickstart").exit_code == 0
    assert given == [(quickstart.Options(), False)]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--depth", 1, "`depth` must be an integer of at least 2. Received: depth=1"),
        ("--seeds", 0, "`seeds` must be an integer of at least 1. Received: seeds=0"),
        (
            "--dataset",
            "svhn",
            "`dataset` must be one of digits, mnist, cifar10, cifar100. "
            "Received: dataset='svhn'",
        ),
    ],
)
def test_wrong_options(option, value, message, replaced):
    given = replaced(True)
    result = invoked("quickstart", option, value)
    assert result.exit_code == 2
    assert result.stderr == f"{message}\n"
    assert not given


def test_what_is_missing_is_told_in_a_line(replaced):
    replaced(LabError("The data set cannot be had."))
    result = invoked("quickstart")
    assert result.exit_code == 1
    assert result.stderr == "The data set cannot be had.\n"
    assert result.stdout == ""


@pytest.mark.parametrize("outcome", [False, KeyboardInterrupt()])
def test_interruption(outcome, replaced):
    replaced(outcome)
    assert invoked("quickstart").exit_code == 130


def test_mistakes_of_ours_keep_their_traceback(replaced):
    replaced(ValueError("a bug"))
    result = invoked("quickstart")
    assert isinstance(result.exception, ValueError)


def test_commands_have_names():
    result = invoked("--help")
    assert result.exit_code == 0
    assert "quickstart" in result.stdout
