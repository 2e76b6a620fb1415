import pytest

from keras_convinit.lab.comparison.plan import AUGMENTATIONS, Case
from keras_convinit.lab.data import augmentation

pytestmark = pytest.mark.once


def test_learning_rates_change_first_and_seeds_last(make_plan):
    plan = make_plan(learning_rates=(0.1, 0.01), seeds=2)
    assert plan.cases() == [
        Case(scheme, rate, seed)
        for seed in (0, 1)
        for scheme in ("he_normal", "auto")
        for rate in (0.1, 0.01)
    ]


def test_settings_are_what_every_run_depends_on(make_plan):
    settings = make_plan().settings()
    assert not {"schemes", "learning_rates", "seeds"} & set(settings)
    more = make_plan(schemes=("lsuv",), learning_rates=(1.0,), seeds=7)
    assert more.settings() == settings
    assert make_plan(clip_norm=1.0).settings() != settings


def test_parts_of_the_training(make_plan):
    plan = make_plan(
        weight_decay=0.5, clip_norm=2.0, schedule="cosine", augment=("cutout:size=3",)
    )
    optimizer = plan.optimizer(0.25)
    assert (optimizer.learning_rate, optimizer.momentum) == (0.25, 0.9)
    assert (optimizer.weight_decay, optimizer.clip_norm) == (0.5, 2.0)
    assert plan.learning_rate_schedule().kind == "cosine"
    assert plan.augmentations() == (augmentation.Cutout(3),)


def test_all_augmentations_have_a_name():
    classes = {
        thing
        for thing in vars(augmentation).values()
        if isinstance(thing, type)
        and issubclass(thing, augmentation.Augmentation)
        and not thing.__name__.endswith("Augmentation")
    }
    assert set(AUGMENTATIONS.values()) == classes


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("schemes", ("he_norml",), "did you mean he_normal"),
        ("schemes", ("lsuv:tolerence=1",), "did you mean tolerance"),
        ("schemes", (), "at least one"),
        ("schemes", ("auto", "auto"), "each of them once. Received: schemes=auto, au"),
        ("learning_rates", (-1.0,), "greater than 0"),
        ("learning_rates", (), "at least one"),
        ("seeds", 0, "`seeds` must be an integer of at least 1"),
        ("epochs", 0, "`epochs` must be an integer of at least 1"),
        ("subset", 9, "`subset` must be an integer of at least 10"),
        ("batch_size", 0, "`batch_size` must be an integer of at least 1"),
        ("momentum", 1.0, "`momentum` must be at least 0 and less than 1"),
        ("weight_decay", -1.0, "`weight_decay` must be at least 0"),
        ("clip_norm", 0.0, "`clip_norm` must be"),
        ("schedule", "steps", "`schedule` must be one of constant, cosine"),
        ("augment", ("cropflip",), "did you mean crop_flip"),
        ("augment", ("cutout:sise=3",), "cutout must be given arguments that it takes"),
    ],
)
def test_what_is_not_allowed(make_plan, field, value, message):
    with pytest.raises(ValueError, match=message):
        make_plan(**{field: value})
