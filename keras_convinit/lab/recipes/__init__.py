"""What the papers trained, one module a paper, as data.

`get(name)` gives a `Recipe`, `names()` all names. A recipe says where it comes from,
and what of it our references leave open.
"""

from keras_convinit.lab.recipes.catalog import get, matching, names
from keras_convinit.lab.recipes.recipe import Initialization, Optimizer, Recipe
from keras_convinit.lab.recipes.schedule import Schedule, WarmUp

__all__ = [
    "Initialization",
    "Optimizer",
    "Recipe",
    "Schedule",
    "WarmUp",
    "get",
    "matching",
    "names",
]
