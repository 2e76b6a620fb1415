"""What weight normalization of others adds to a training step, without Keras.

    KERAS_BACKEND=torch python examples/benchmarks/weight_norm_peers.py
    KERAS_BACKEND=jax python examples/benchmarks/weight_norm_peers.py --json FILE

The network of `weight_norm_step.py`, with the same options: in PyTorch with
`torch.nn.utils.parametrizations.weight_norm`, in JAX with `flax.linen.WeightNorm`. Each
is measured against its own plain twin, as ours is there, so that what Keras itself
takes or saves is no part of the ratio. TensorFlow has none.
"""

import importlib

import keras
import numpy as np
from over_processes import compare_over_processes
from paired import keep, show
from weight_norm_step import images, parser, title

PEERS = {"torch": "pure_torch", "jax": "pure_flax"}
KINDS = ("plain", "weight norm")


def main(arguments=None):
    """Measures, prints a table, and keeps the numbers."""
    options = parser(__doc__).parse_args(arguments)
    backend = keras.backend.backend()
    if backend not in PEERS:
        raise SystemExit(
            f"`KERAS_BACKEND` must be one of {', '.join(PEERS)}, which have weight "
            f"normalization of others. Received: KERAS_BACKEND={backend}"
        )
    peer = importlib.import_module(PEERS[backend])
    labels = np.random.default_rng(0).integers(0, 10, options.batch)
    rows = compare_over_processes(
        __file__,
        arguments,
        options,
        lambda: {
            kind: peer.training_step(kind, options, images(options), labels)
            for kind in KINDS
        },
    )
    if rows is None:
        return
    show(f"Training step without Keras: {title(options)}", rows)
    others = ("flax", "optax") if backend == "jax" else ()
    keep(options.json, vars(options), rows, others)


if __name__ == "__main__":
    main()
