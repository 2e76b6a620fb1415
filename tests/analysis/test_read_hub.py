"""Backbones of keras_hub, where that is installed: read, or named."""

import numpy as np
import pytest

from keras_convinit import initialize, signal_report
from keras_convinit.analysis import analyze

hub = pytest.importorskip("keras_hub")
TOKENS = {
    "token_ids": np.ones((2, 8), "int32"),
    "padding_mask": np.ones((2, 8), "int32"),
}
MODELS = {
    "ViT": lambda: (
        hub.models.ViTBackbone(
            image_shape=(32, 32, 3),
            patch_size=8,
            num_layers=2,
            num_heads=2,
            hidden_dim=16,
            mlp_dim=32,
        ),
        np.random.default_rng(0).random((2, 32, 32, 3)).astype("float32"),
    ),
    "GPT-2": lambda: (
        hub.models.GPT2Backbone(
            vocabulary_size=20,
            num_layers=2,
            num_heads=2,
            hidden_dim=16,
            intermediate_dim=32,
            max_sequence_length=8,
        ),
        TOKENS,
    ),
    "Llama": lambda: (
        hub.models.LlamaBackbone(
            vocabulary_size=20,
            num_layers=2,
            num_query_heads=2,
            hidden_dim=16,
            intermediate_dim=32,
            num_key_value_heads=1,
        ),
        TOKENS,
    ),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_every_matrix_is_read_or_its_layer_is_named(make):
    model, x = make()
    graph = analyze(model, x)
    known = {id(site.kernel.variable) for site in graph.kernels}
    known |= {id(v) for one in graph.unread for v in one.layer.variables}
    matrices = [v for v in model.trainable_variables if len(v.shape) > 1]
    missing = [v.path for v in matrices if id(v) not in known]
    # Neither embeddings are kernels, nor biases of heads.
    others = ("embedding", "bias")
    assert not [p for p in missing if not any(o in p for o in others)], missing
    assert signal_report(model, x).verdict
    if graph.kernels:
        assert initialize(model, "auto", data=x, seed=0).rows
    else:
        with pytest.raises(ValueError, match=r"kernels_of\.register"):
            initialize(model, "auto", data=x, seed=0)
