import pytest

from keras_convinit.lab import models
from keras_convinit.lab.call_text import parsed_call
from keras_convinit.lab.models import from_spec
from keras_convinit.lab.models.specification import NETWORKS

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("vgg19", ("vgg19", [], [])),
        ("vgg19:", ("vgg19", [], [])),
        ("resnet_cifar:56", ("resnet_cifar", [56], [])),
        (" resnet_cifar : 56 ", ("resnet_cifar", [56], [])),
        (
            "wide_resnet:depth=28,k=10,normalization=weight",
            (
                "wide_resnet",
                [],
                [("depth", 28), ("k", 10), ("normalization", "weight")],
            ),
        ),
        ("wide_resnet:28,10", ("wide_resnet", [28, 10], [])),
        ("plain_cnn:50,width=64", ("plain_cnn", [50], [("width", 64)])),
        ("plain_cnn:50:width=64", ("plain_cnn", [50], [("width", 64)])),
        (
            "plain_cnn:50, strides=(2, 2), normalization=None",
            ("plain_cnn", [50], [("strides", (2, 2)), ("normalization", None)]),
        ),
        (
            "vgg19:use_bias=False,gain_mode='kernel'",
            ("vgg19", [], [("use_bias", False), ("gain_mode", "kernel")]),
        ),
        (
            "mlp:3:kernel_initializer={'class_name': 'Zeros'}",
            ("mlp", [3], [("kernel_initializer", {"class_name": "Zeros"})]),
        ),
        ("mlp:depth=-1", ("mlp", [], [("depth", -1)])),
    ],
)
def test_a_line_is_taken_apart(spec, expected):
    assert parsed_call(spec, NETWORKS, "network") == expected


def test_all_networks_have_a_name():
    assert sorted([*NETWORKS, "NETWORKS", "from_spec"]) == sorted(models.__all__)
    assert all(NETWORKS[name] is getattr(models, name) for name in NETWORKS)


def test_a_network_comes_out():
    model = from_spec(
        "plain_cnn:4,width=3,strides=(),kernel_initializer=zeros,normalization=weight",
        input_shape=(8, 8, 1),
        num_classes=5,
    )
    expected = models.plain_cnn(
        4,
        3,
        strides=(),
        kernel_initializer="zeros",
        normalization="weight",
        input_shape=(8, 8, 1),
        num_classes=5,
    )
    assert model.name == "plain_cnn"
    assert model.input_shape == (None, 8, 8, 1)
    assert [v.shape for v in model.weights] == [v.shape for v in expected.weights]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet:20", r"no network 'resnet' \(did you mean resnet34 or .*there are"),
        ("transformer", "no network 'transformer'; there are densenet, mlp, plain"),
        ("", "no network ''; there are"),
        ("resnet_cifar:depht=20", r"no argument 'depht' \(did you mean depth\?\)"),
        ("densenet:gain_mode=kernel", "densenet has no argument 'gain_mode'; it takes"),
        ("resnet_cifar:20,depth=26", "`depth` must be given once"),
        ("vgg19:19", "Values without a name must be those of vgg19: none"),
        ("resnet_cifar:20,26", "must be those of resnet_cifar: depth. Received"),
        ("plain_cnn:50", "plain_cnn must have width, as in 'plain_cnn:width=16'"),
        ("mlp", "mlp must have depth and width"),
        ("resnet_cifar:21", "`depth` of a resnet_cifar must be 6n"),
        ("resnet_cifar:depth=", "A network must be NAME, NAME:VALUE or"),
        ("resnet_cifar:depth=2*10", "A network must be NAME"),
        ("resnet_cifar:depth=print(1)", "A network must be NAME"),
        ("resnet_cifar:**{'depth': 20}", "A network must be NAME"),
        ("resnet_cifar:20)(", "A network must be NAME"),
        ("resnet_cifar:20) + (1", "A network must be NAME"),
        ("vgg19:input_shape=(64, 64, 3)", "`input_shape` must be given once"),
    ],
)
def test_mistakes_are_told(spec, message):
    arguments = {"input_shape": (32, 32, 3), "kernel_initializer": "zeros"}
    with pytest.raises(ValueError, match=message):
        from_spec(spec, **arguments)


def test_only_text_is_read():
    with pytest.raises(ValueError, match=r"A network must be NAME.* Received: 20"):
        from_spec(20)
