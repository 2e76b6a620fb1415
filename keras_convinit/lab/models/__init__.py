"""The papers' networks in functional Keras, one family a file.

All take `input_shape`, `num_classes`, `normalization` (`"batch"`, `"weight"`, None) and
`kernel_initializer`, and return a built model that ends in logits, without softmax.

| function | network |
|---|---|
| `mlp(depth, width)` | fully connected |
| `plain_cnn(depth, width)` | 3x3 convolutions one after the other, no shortcuts |
| `residual_cnn(blocks, width)` | residual blocks one after the other, one stage |
| `resnet_cifar(depth)` | three narrow stages of residual blocks, 6n + 2 layers |
| `resnet34()` | four stages of residual blocks, as for ImageNet |
| `wide_resnet(depth, k)` | three wide stages of residual blocks, 6n + 4 layers |
| `vgg19()` | 3x3 convolutions and maximum pooling |
| `densenet(depth, growth)` | layers that all get the outputs of all before them |

`from_spec("resnet_cifar:56")` makes any of them from a line of text.
"""

from keras_convinit.lab.models.densenet import densenet
from keras_convinit.lab.models.mlp import mlp
from keras_convinit.lab.models.plain_cnn import plain_cnn
from keras_convinit.lab.models.residual_cnn import residual_cnn
from keras_convinit.lab.models.resnet34 import resnet34
from keras_convinit.lab.models.resnet_cifar import resnet_cifar
from keras_convinit.lab.models.specification import NETWORKS, from_spec
from keras_convinit.lab.models.vgg19 import vgg19
from keras_convinit.lab.models.wide_resnet import wide_resnet

__all__ = [
    "NETWORKS",
    "densenet",
    "from_spec",
    "mlp",
    "plain_cnn",
    "residual_cnn",
    "resnet34",
    "resnet_cifar",
    "vgg19",
    "wide_resnet",
]
