"""`recipes`: what the papers trained."""

import dataclasses
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from keras_convinit.lab import recipes as catalog
from keras_convinit.lab.cli._app import app, friendly
from keras_convinit.lab.recipes import Recipe


@app.command()
def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Of a recipe, to show all of it; or a part of names such as vgg19, or "
            "a pattern such as '*/resnet56/*', to list those.",
        ),
    ] = None,
    paper: Annotated[
        str | None, typer.Option(help="Only those of zhang2022, or of arpit2019.")
    ] = None,
) -> None:
    """Lists the recipes, or shows one of them whole."""
    console = Console()
    with friendly():
        found = catalog.names(paper)
        if name is not None:
            matching = [one for one in catalog.matching(name) if one in found]
            # Where there is none, `get` says so, with the nearest.
            found = tuple(matching) or (name,)
        recipes = [catalog.get(one) for one in found]
        console.print(shown(recipes[0]) if len(recipes) == 1 else listed(recipes))


def listed(found: list[Recipe]) -> Table:
    """One line for each recipe."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    # A name is what is typed, so it stays in one piece.
    table.add_column("recipe", no_wrap=True, overflow="ignore")
    for title, justify in (("data", "left"), ("epochs", "right"), ("rate", "right")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    reported = any(recipe.reported is not None for recipe in found)
    if reported:
        table.add_column("reported", justify="right", no_wrap=True)
    for recipe in found:
        row = [
            escape(recipe.name),
            recipe.dataset,
            str(recipe.epochs),
            f"{recipe.optimizer.learning_rate:g}",
        ]
        if reported:
            row.append("-" if recipe.reported is None else f"{recipe.reported:g}")
        table.add_row(*row)
    return table


def shown(recipe: Recipe) -> Table:
    """One line for each setting; what the paper leaves open comes last."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        for number, line in enumerate(_lines(value)):
            table.add_row(field.name if number == 0 else "", escape(line))
    return table


def _lines(value: Any) -> list[str]:
    if value is None or value in ((), ""):
        return ["-"]
    if dataclasses.is_dataclass(value):
        return [
            f"{field.name}: {getattr(value, field.name)}"
            for field in dataclasses.fields(value)
        ]
    if isinstance(value, tuple):
        return [
            " ".join(map(str, one)) if isinstance(one, tuple) else one for one in value
        ]
    return [str(value)]
