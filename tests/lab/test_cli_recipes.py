import pytest
from typer.testing import CliRunner

from keras_convinit.lab import cli, recipes

pytestmark = pytest.mark.once


def invoked(*arguments):
    return CliRunner().invoke(cli.app, ["recipes", *arguments])


def test_all_recipes_are_listed_whole():
    result = invoked()
    assert result.exit_code == 0
    found = {line.split()[0] for line in result.stdout.splitlines() if "/" in line}
    assert found == set(recipes.names())


def test_those_of_one_paper_are_listed():
    result = invoked("--paper", "zhang2022")
    found = {line.split()[0] for line in result.stdout.splitlines() if "/" in line}
    assert found == set(recipes.names("zhang2022"))


def test_one_recipe_is_shown_with_all_it_has():
    name = "arpit2019/table1/resnet164/proposed_warmup_cutout"
    result = invoked(name)
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    for words in (
        "Arpit, Campos, Bengio 2019, table 1, CIFAR-100",
        "2611508",
        "quadratic",
        "Cutout {'size': 16}",
        "assumed the learning rate",
    ):
        assert words in shown, shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zhang2022/table1/resnet110/orus"], "zhang2022/table1/resnet110/ours"),
        (["--paper", "he2015"], "must be one of zhang2022, arpit2019"),
    ],
)
def test_what_is_not_there_is_told(arguments, message):
    result = invoked(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("pattern", "pieces"),
    [
        ("vgg19", ["/vgg19/"]),
        ("zhang2022 VGG19", ["zhang2022/", "/vgg19/"]),
        ("*/resnet56/*", ["/resnet56/"]),
    ],
)
def test_a_part_of_names_lists_those(pattern, pieces):
    result = invoked(pattern)
    assert result.exit_code == 0, result.output
    found = [line.split()[0] for line in result.stdout.splitlines() if "/" in line]
    wanted = [name for name in recipes.names() if all(p in name for p in pieces)]
    assert found == wanted
    assert len(found) > 1


def test_a_part_of_one_name_shows_it():
    shown = invoked("resnet164/proposed_warmup_cutout").stdout
    assert "2611508" in shown
    shown = invoked("vgg19", "--paper", "arpit2019")
    assert shown.exit_code == 1
    assert "vgg19" in shown.stderr
