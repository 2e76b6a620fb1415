"""The network of `weight_norm_step.py` in PyTorch alone, without Keras.

Written as a user of PyTorch would: channels first, `torch.optim`, and
`torch.nn.utils.parametrizations.weight_norm` around each convolution.
"""

import torch
from torch.nn.utils.parametrizations import weight_norm


def convolution(kind, width):
    """One convolution, with its parametrization or without."""
    layer = torch.nn.Conv2d(width, width, 3, padding="same")
    return weight_norm(layer) if kind == "weight norm" else layer


def network(kind, options):
    """Equal convolutions, with a classifier on top."""
    layers = []
    for _ in range(options.layers):
        layers += [convolution(kind, options.width), torch.nn.ReLU()]
    layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(options.width, 10))


def training_step(kind, options, images, labels):
    """A function that makes one step, and returns the loss as a number.

    Args:
        kind: `"plain"` or `"weight norm"`.
        options: Those of `weight_norm_step.py`.
        images: `(batch, size, size, width)`.
        labels: `(batch,)`.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = network(kind, options).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    loss_of = torch.nn.CrossEntropyLoss()
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(device)
    y = torch.from_numpy(labels).to(device)

    def step():
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
