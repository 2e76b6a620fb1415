"""The networks that come with Keras: every kernel is read, none is lost."""

import keras
import pytest
from keras import ops

from keras_convinit.analysis import activation_name, analyze


def no_kernel_is_lost(model, graph):
    wanted = {id(v) for v in model.trainable_variables if len(v.shape) > 1}
    found = [id(site.kernel.variable) for site in graph.kernels]
    assert set(found) == wanted
    assert len(found) == len(wanted)


def names(graph, attribute):
    return {activation_name(getattr(site, attribute)) for site in graph.kernels}


# Stages are counted by hand, from the tables of the papers: a block of MobileNetV2 or
# EfficientNet is residual only where neither stride nor width changes, so that of n in
# a row n - 1 are, and what stands between rows ends a stage. Xception has two blocks
# of width 128 and 256, nine of 728 of which the first has a projection, and one of
# 1024.
NETWORKS = {
    "VGG16": (32, (), 0),
    "ResNet50": (32, (3, 4, 6, 3), 4),
    "ResNet50V2": (32, (3, 4, 6, 3), 4),
    "MobileNetV2": (32, (1, 2, 3, 2, 2), 0),
    "DenseNet121": (32, (), 0),
    "Xception": (71, (1, 1, 9, 1), 4),
    "EfficientNetB0": (32, (1, 1, 2, 2, 3), 0),
    "ConvNeXtTiny": (32, (3, 3, 9, 3), 0),
}
FIRST = {
    "VGG16": "block1_conv1",
    "ResNet50": "conv1_conv",
    "ResNet50V2": "conv1_conv",
    "MobileNetV2": "Conv1",
    "DenseNet121": "conv1_conv",
    "Xception": "block1_conv1",
    "EfficientNetB0": "stem_conv",
    "ConvNeXtTiny": "convnext_tiny_stem/convnext_tiny_stem_conv",
}


@pytest.fixture(autouse=True)
def _zeros(monkeypatch):
    # Nothing here is about values, and drawing them takes most of the time.
    for cls in (keras.initializers.VarianceScaling, keras.initializers.TruncatedNormal):
        monkeypatch.setattr(
            cls, "__call__", lambda self, shape, dtype=None: ops.zeros(shape, dtype)
        )


@pytest.mark.parametrize("name", list(NETWORKS))
def test_network(name):
    size, stages, projections = NETWORKS[name]
    network = getattr(keras.applications, name)
    model = network(weights=None, input_shape=(size, size, 3), classes=5)
    graph = analyze(model)
    no_kernel_is_lost(model, graph)
    assert graph.stages == stages
    assert sum(site.projection for site in graph.kernels) == projections
    assert sum(site.last_in_branch for site in graph.kernels) == sum(stages)
    assert not graph.conflicts
    assert [site.path for site in graph.kernels if site.first] == [FIRST[name]]
    (classifier,) = (site for site in graph.kernels if site.classifier)
    assert classifier is graph.kernels[-1]
    assert activation_name(classifier.following) == "softmax"
    CHECKS[name](graph)


def check_vgg(graph):
    assert not any(s.normalized or s.preceded_by_normalization for s in graph.kernels)
    assert all(activation_name(s.preceding) == "relu" for s in graph.kernels[1:])


def check_resnet(graph):
    assert all(site.normalized for site in graph.kernels[:-1])
    assert names(graph, "following") == {"relu", "softmax"}
    assert all(activation_name(s.preceding) == "relu" for s in graph.kernels[1:])


def check_resnet_v2(graph):
    inner = [s for s in graph.kernels[:-1] if not (s.projection or s.last_in_branch)]
    assert all(activation_name(s.following) == "relu" for s in inner)
    assert all(s.normalized for s in inner)
    outer = [s for s in graph.kernels if s.projection or s.last_in_branch]
    assert all(s.following is None and not s.normalized for s in outer)
    assert all(activation_name(s.preceding) == "relu" for s in graph.kernels[1:])


def check_mobilenet(graph):
    assert all(site.normalized for site in graph.kernels[:-1])
    for site in graph.kernels[1:-1]:
        # The last convolution of a block is linear, and the first one of the next.
        if site.path.endswith("_project"):
            assert site.following is None
        if site.path.endswith("_expand"):
            assert site.preceding is None
        if site.path.endswith("_depthwise"):
            assert activation_name(site.preceding) == "relu6"
            assert activation_name(site.following) == "relu6"


def check_densenet(graph):
    assert all(site.normalized for site in graph.kernels[:-1])
    for site in graph.kernels[1:]:
        assert activation_name(site.preceding) == "relu"
        assert site.preceded_by_normalization


def check_xception(graph):
    for site in graph.kernels:
        if site.kernel.name == "pointwise_kernel":
            assert site.preceding is None
        if site.kernel.name == "depthwise_kernel":
            assert site.following is None and not site.normalized
            assert not site.last_in_branch


def check_efficientnet(graph):
    for site in graph.kernels:
        if site.path.endswith("_se_expand"):
            assert activation_name(site.following) == "sigmoid"
            assert not site.last_in_branch and not site.normalized
        if site.path.endswith("_project_conv"):
            assert activation_name(site.preceding) == "silu"
            assert site.preceded_by_normalization and site.normalized
            assert site.last_in_branch == (site.branch is not None)


def check_convnext(graph):
    assert {type(entry.layer).__name__ for entry in graph.unread} == {"LayerScale"}
    for site in graph.kernels:
        if site.path.endswith("_depthwise_conv"):
            assert site.normalized and site.following is None
        if site.path.endswith("_pointwise_conv_1"):
            assert site.preceding is None and site.preceded_by_normalization
            assert activation_name(site.following) == "gelu"
        if site.path.endswith("_pointwise_conv_2"):
            assert activation_name(site.preceding) == "gelu" and site.last_in_branch


CHECKS = {
    "VGG16": check_vgg,
    "ResNet50": check_resnet,
    "ResNet50V2": check_resnet_v2,
    "MobileNetV2": check_mobilenet,
    "DenseNet121": check_densenet,
    "Xception": check_xception,
    "EfficientNetB0": check_efficientnet,
    "ConvNeXtTiny": check_convnext,
}
