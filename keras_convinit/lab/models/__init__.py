"""The papers' networks in functional Keras, one family a file.

All take `input_shape`, `num_classes`, `normalization` (`"batch"`, `"weight"`, None) and
`kernel_initializer`, and return a built model that ends in logits, without softmax.

| function | network |
|---|---|
| `mlp(depth, width)` | fully connected |
| `plain_cnn(depth, width)` | 3x3 convolutions one after the other, no shortcuts |
| `residual_cnn(blocks, width)` | residual blocks one after the other, one stage |
| `resnet_cifar(depth)` | three stages of residual blocks, 6n + 2 layers |
"""

from keras_convinit.lab.models.mlp import mlp
from keras_convinit.lab.models.plain_cnn import plain_cnn
from keras_convinit.lab.models.residual_cnn import residual_cnn
from keras_convinit.lab.models.resnet_cifar import resnet_cifar

__all__ = ["mlp", "plain_cnn", "residual_cnn", "resnet_cifar"]
