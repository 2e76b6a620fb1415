"""One site for a kernel that is used several times."""

from typing import Any

from keras_convinit.graph import _activation
from keras_convinit.graph.site import Conflict, KernelContext

# What an initial value depends on.
_DEMANDS = (
    "preceding",
    "following",
    "normalized",
    "first",
    "classifier",
    "last_in_branch",
    "branch_factor",
    "absorbed",
    "projection",
    "blocks",
)


def merged(
    sites: list[KernelContext],
) -> tuple[tuple[KernelContext, ...], list[Conflict]]:
    """Leaves one site for each variable, the first one.

    Args:
        sites: The sites of all calls, in order.

    Returns:
        The first of each variable, and where later ones ask for something else.
    """
    first: dict[int, KernelContext] = {}
    answers: dict[tuple[int, str], list[Any]] = {}
    for site in sites:
        key = id(site.kernel.variable)
        first.setdefault(key, site)
        for name in _DEMANDS:
            given = answers.setdefault((key, name), [])
            value = getattr(site, name)
            if not any(_same(value, other) for other in given):
                given.append(value)
    conflicts = [
        Conflict(
            first[key].path, name, tuple(values), "the kernel is used several times"
        )
        for (key, name), values in answers.items()
        if len(values) > 1
    ]
    return tuple(first.values()), conflicts


def _same(first: Any, second: Any) -> bool:
    return first == second or _activation.same(first, second)
