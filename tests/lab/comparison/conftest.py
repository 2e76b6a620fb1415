import pytest

from keras_convinit.lab.comparison.plan import Case, Plan
from keras_convinit.lab.comparison.run import Beginning, Run
from keras_convinit.lab.training import Epoch, Record


def made_plan(**fields):
    """Two runs of a small network on few images, seven steps each."""
    return Plan(
        **{
            "model": "plain_cnn:3,width=4,strides=()",
            "dataset": "digits",
            "schemes": ("he_normal", "auto"),
            "learning_rates": (0.1,),
            "seeds": 1,
            "epochs": 1,
            "subset": 64,
            "batch_size": 8,
            **fields,
        }
    )


def made_run(
    scheme="he_normal",
    learning_rate=0.1,
    seed=0,
    *,
    accuracy=0.75,
    accuracies=(0.0, 0.5),
    diverged=False,
    refusal=None,
    **beginning,
):
    """A run out of nothing."""
    case = Case(scheme, learning_rate, seed)
    if refusal is not None:
        return Run(case, Beginning(refusal=refusal))
    begun = Beginning(
        **{
            "report": f"Initialization by {scheme}",
            "verdict": "steady",
            "signal": (1.0, 0.5),
            "error": (4.0, 1.0),
            "seconds": 0.25,
            **beginning,
        }
    )
    epoch = Epoch(1, learning_rate, 1.5, 0.25, 1.25, accuracy, 2.0)
    return Run(case, begun, tuple(accuracies), Record((epoch,), diverged))


@pytest.fixture
def make_plan():
    """Makes a plan, with any of its fields set."""
    return made_plan


@pytest.fixture
def make_run():
    """Makes a run, with any of its parts set."""
    return made_run
