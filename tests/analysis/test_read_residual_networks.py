"""Stages and branches of the papers' networks."""

import pytest
from helpers import residual_networks as networks

from keras_convinit.analysis import activation_name, analyze


@pytest.fixture(scope="module")
def graphs():
    return {
        name: analyze(getattr(networks, name)())
        for name in ("resnet_110", "wide_resnet_28_10", "arpit_resnet_110")
    }


STAGES = {
    "resnet_110": (18, 18, 18),
    "wide_resnet_28_10": (4, 4, 4),
    "arpit_resnet_110": (18, 18, 18),
}
# ResNet-110 has its first stage as wide as the stem, and no projection there.
PROJECTIONS = {"resnet_110": 2, "wide_resnet_28_10": 3, "arpit_resnet_110": 2}


@pytest.mark.parametrize("name", list(STAGES))
def test_stages(name, graphs):
    graph = graphs[name]
    assert graph.stages == STAGES[name]
    assert not graph.unread
    assert len(graph.kernels) == 2 + 2 * sum(STAGES[name]) + PROJECTIONS[name]


@pytest.mark.parametrize("name", list(STAGES))
def test_every_kernel_of_a_block_has_its_place(name, graphs):
    stem, *inside, classifier = graphs[name].kernels
    assert stem.stage is None and classifier.stage is None
    blocks = STAGES[name][0]
    for stage in range(3):
        for index in range(blocks):
            block = [s for s in inside if (s.stage, s.block) == (stage, index)]
            projection = [s for s in block if s.projection]
            branch = [s for s in block if not s.projection]
            assert [s.last_in_branch for s in branch] == [False, True]
            assert len({s.branch for s in branch}) == 1
            assert all(s.blocks == blocks for s in block)
            assert all(s.branch is None for s in projection)
            opens = index == 0 and (stage > 0 or PROJECTIONS[name] == 3)
            assert len(projection) == opens
    assert len({s.branch for s in inside}) == 3 * blocks + 1


@pytest.mark.parametrize("name", list(STAGES))
def test_ends_are_seen(name, graphs):
    stem, *inside, classifier = graphs[name].kernels
    assert stem.first and classifier.classifier
    assert not any(s.first or s.classifier for s in inside)
    assert classifier.path == "classifier"


def around(site):
    return (
        activation_name(site.preceding),
        site.preceded_by_normalization,
        activation_name(site.following),
        site.normalized,
    )


def test_activation_after_the_sum(graphs):
    stem, *inside, classifier = graphs["resnet_110"].kernels
    assert around(stem) == ("linear", False, "relu", True)
    assert around(classifier) == ("relu", False, "softmax", False)
    for site in inside:
        # The ReLU after a sum is preceded by a sum, which is not normalized.
        from_stem = site.stage == 0 and site.block == 0
        inner = site.last_in_branch or (from_stem and not site.projection)
        assert around(site) == ("relu", inner, "relu", True)


def test_activation_before_the_convolutions(graphs):
    stem, *inside, classifier = graphs["wide_resnet_28_10"].kernels
    # A projection follows, so that nothing reads the stem but normalization and ReLU.
    assert around(stem) == ("linear", False, "relu", True)
    assert around(classifier) == ("linear", False, "softmax", False)
    for site in inside:
        first = not (site.projection or site.last_in_branch)
        after = ("relu", True) if first else ("linear", False)
        assert around(site) == ("relu", True, *after)


def test_no_activation_on_the_stream(graphs):
    stem, *inside, classifier = graphs["arpit_resnet_110"].kernels
    assert around(stem) == ("linear", False, "linear", False)
    assert around(classifier) == ("linear", False, "softmax", False)
    for site in inside:
        first = not (site.projection or site.last_in_branch)
        before, after = ("linear", "relu") if first else ("relu", "linear")
        if site.projection:
            before = "linear"
        assert around(site) == (before, False, after, False)
