"""No kernel of the networks that come with Keras is without a rule."""

import keras
import pytest
from keras import ops

from keras_convinit import initialize

pytestmark = pytest.mark.slow

NETWORKS = {
    "VGG16": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "MobileNetV2": 32,
    "DenseNet121": 32,
    "Xception": 71,
    "EfficientNetB0": 32,
    "ConvNeXtTiny": 32,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name, monkeypatch):
    for cls in (keras.initializers.VarianceScaling, keras.initializers.TruncatedNormal):
        # To draw what nobody looks at takes most of the time.
        monkeypatch.setattr(
            cls, "__call__", lambda self, shape, dtype=None: ops.zeros(shape, dtype)
        )
    size = NETWORKS[name]
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=5
    )
    report = initialize(model, "auto", seed=1, dry_run=True)
    kernels = {v.path for v in model.trainable_variables if len(v.shape) > 1}
    rules = {row.path: row.rule for row in report.rows if row.path in kernels}
    assert rules.keys() == kernels
    assert all(
        rule.startswith(("eq.", "ours: eq.")) and "not elementwise" not in rule
        for rule in rules.values()
    )
    targets = [row.target_std for row in report.rows if row.path in kernels]
    assert all(target > 0 for target in targets)
    # Layers of Keras' own that are not public, and multiply each channel by a number.
    unknown = ["LayerScale"] if name == "ConvNeXtTiny" else []
    assert len(report.notes) == len(unknown)
    assert all(a in b for a, b in zip(unknown, report.notes, strict=True))
