"""Recipes by name."""

import difflib
import fnmatch
import re

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


def matching(pattern: str) -> tuple[str, ...]:
    """The names that a pattern stands for.

    Args:
        pattern: A name; a part of names, such as `"vgg19"` or `"table1 proposed"`, of
            which all words have to occur; or one with `*` and `?`, for whole names.

    Returns:
        The names, in the order of the papers.

    Example:
        >>> from keras_convinit.lab.recipes import matching
        >>> matching("zhang2022 vgg19 metainit")
        ('zhang2022/table1/vgg19/metainit', 'zhang2022/table3/vgg19/metainit')
    """
    if pattern in RECIPES:
        return (pattern,)
    if set(pattern) & set("*?"):
        return tuple(fnmatch.filter(RECIPES, pattern))
    words = re.split(r"[\s/]+", pattern.strip().lower())
    return tuple(name for name in RECIPES if all(word in name for word in words))


def get(name: str) -> Recipe:
    """The recipe of that name.

    Args:
        name: Such as `"zhang2022/table1/resnet110/ours"`.

    Returns:
        The recipe.

    Raises:
        LabError: There is none of that name; the message has the nearest ones.

    Example:
        >>> from keras_convinit.lab.recipes import get
        >>> get("arpit2019/table1/resnet56/proposed").epochs
        182
    """
    if name not in RECIPES:
        near = list(matching(name)[:3]) if name.strip() else []
        near = near or difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.5)
        advice = f"The nearest: {', '.join(near)}" if near else "None is near"
        raise LabError(
            f"No recipe has that name. {advice}. All of them: "
            f"`keras-convinit recipes`. Received: {name!r}"
        )
    return RECIPES[name]
