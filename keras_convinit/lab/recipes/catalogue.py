"""Recipes by name."""

import difflib

from keras_convinit.lab.errors import LabError
from keras_convinit.lab.recipes import arpit2019, zhang2022
from keras_convinit.lab.recipes.recipe import Recipe

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (*zhang2022.RECIPES, *arpit2019.RECIPES)
}


def names(paper: str | None = None) -> tuple[str, ...]:
    """The names of all recipes, in the order of the papers.

    Args:
        paper: Name of a paper, such as `"zhang2022"`; None for all.

    Returns:
        The names.

    Raises:
        LabError: There is no paper of that name.
    """
    papers = dict.fromkeys(recipe.paper for recipe in RECIPES.values())
    if paper is not None and paper not in papers:
        raise LabError(
            f"A paper must be one of {', '.join(papers)}. Received: {paper!r}"
        )
    return tuple(
        name for name, recipe in RECIPES.items() if paper in (None, recipe.paper)
    )


def get(name: str) -> Recipe:
    """The recipe of that name.

    Args:
        name: Such as `"zhang2022/table1/resnet110/ours"`.

    Returns:
        The recipe.

    Raises:
        LabError: There is none of that name; the message has the nearest ones.

    Example:
        >>> get("arpit2019/table1/resnet56/proposed").epochs
        182
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.5)
        advice = f"The nearest: {', '.join(near)}" if near else "None is near"
        raise LabError(
            f"No recipe has that name. {advice}. All of them: "
            f"`keras-convinit recipes`. Received: {name!r}"
        )
    return RECIPES[name]
