import pytest

from keras_convinit import Geometry

pytestmark = pytest.mark.once


def test_of_an_ordinary_kernel():
    geometry = Geometry.from_shape((3, 5, 7, 11))
    assert geometry == Geometry(receptive_field=15, in_channels=7, out_channels=11)
    assert geometry.fans() == (105, 165)
    assert Geometry.from_shape((7, 11)).fans() == (7, 11)


def test_groups_share_the_channels():
    geometry = Geometry(receptive_field=9, in_channels=4, out_channels=2, groups=3)
    assert geometry.fans() == (36, 18)
    assert (geometry.total_in_channels, geometry.total_out_channels) == (12, 6)


def test_a_stride_is_counted_only_when_asked_for():
    plain = Geometry(9, 4, 6, stride=4)
    assert plain.fans() == (36, 54)
    assert plain.fans(stride_aware=True) == (36, 13.5)
    transposed = Geometry(16, 4, 6, stride=4, transposed=True)
    assert transposed.fans() == (64, 96)
    assert transposed.fans(stride_aware=True) == (16, 96)


@pytest.mark.parametrize(
    "shape", [(), (3,), (3, 0), (None, 4), (3, -1), (3, 2.5), 7, None, "ab"]
)
def test_what_is_not_the_shape_of_a_kernel_is_refused(shape):
    with pytest.raises(ValueError, match="at least two dimensions") as caught:
        Geometry.from_shape(shape)
    assert f"Received: shape={shape!r}" in str(caught.value)
