"""Images by what people type."""

from keras_convinit.lab.call_text import like
from keras_convinit.lab.comparison.images import AbstractImages
from keras_convinit.lab.comparison.named_images import NamedImages
from keras_convinit.lab.comparison.own_images import OwnImages
from keras_convinit.lab.comparison.plan import Plan
from keras_convinit.lab.data import DATASETS
from keras_convinit.lab.errors import LabError


def images_of(plan: Plan) -> AbstractImages:
    """The images that a plan names.

    Args:
        plan: The plan.

    Returns:
        A data set of the lab, or what a function gives.

    Raises:
        LabError: There are none of that name, or they cannot be had or used.
    """
    if plan.dataset in DATASETS:
        return NamedImages(plan)
    if ":" not in plan.dataset:
        raise LabError(
            f"There is no data set {plan.dataset!r}{like(plan.dataset, DATASETS)}; "
            f"there are {', '.join(DATASETS)}, and what a function "
            f"`package.module:function` gives. Received: dataset={plan.dataset!r}"
        )
    for name in ("subset", "augment"):
        if getattr(plan, name):
            raise LabError(
                f"`{name}` is for data sets by name; a function of DATA does itself "
                f"what is to be done. Received: {name}={getattr(plan, name)!r}"
            )
    return OwnImages(plan.dataset)
