"""How good a network is on images that it was not trained on."""

from typing import Any

import keras


def whole_batches(
    batches: Any, batch_size: int, shard: tuple[int, int] = (0, 1)
) -> Any:
    """Fills up the last batch with images that do not count.

    So one program is compiled for all batches, and devices have equal shares of each.

    Args:
        batches: A tf.data set of (images, labels).
        batch_size: Images of a batch, over all processes.
        shard: Which share of each batch to give, and of how many.

    Returns:
        A tf.data set of (images, labels, weights), weights 1 for what counts and 0 for
        what does not.
    """
    import tensorflow as tf

    number, count = shard
    own = slice(batch_size * number // count, batch_size * (number + 1) // count)

    def filled(images: Any, labels: Any) -> tuple[Any, Any, Any]:
        missing = batch_size - tf.shape(images)[0]

        def fill(values: Any) -> Any:
            rank = values.shape.rank
            padding = tf.concat([[[0, missing]], tf.zeros((rank - 1, 2), tf.int32)], 0)
            values = tf.pad(values, padding)
            return tf.ensure_shape(values, (batch_size, *values.shape[1:]))[own]

        return fill(images), fill(labels), fill(tf.ones(tf.shape(images)[:1]))

    return batches.map(filled).prefetch(tf.data.AUTOTUNE)


def compile_for_recording(model: keras.Model, optimizer: Any, xla: Any) -> None:
    """Compiles a model with the loss and the metrics that records have.

    Args:
        model: A model that gives logits.
        optimizer: The optimizer.
        xla: `jit_compile` of Keras: true, false or `"auto"`.
    """
    model.compile(
        optimizer,
        # Weighted, both, so that what fills up a batch does not count. Keras' mean of
        # the loss counts all batches alike, though, and that of the metric all images.
        keras.losses.CategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        ),
        weighted_metrics=[
            keras.metrics.CategoricalAccuracy(name="accuracy"),
            keras.metrics.CategoricalCrossentropy(
                from_logits=True, name="cross_entropy"
            ),
        ],
        jit_compile=xla,
    )


def evaluated(model: keras.Model, batches: Any) -> dict[str, float]:
    """Loss and accuracy of a compiled model.

    Args:
        model: The model.
        batches: A tf.data set.

    Returns:
        `cross_entropy` and `accuracy`, which may be not finite.
    """
    found = model.evaluate(batches, return_dict=True, verbose=0)
    return {name: float(found[name]) for name in ("cross_entropy", "accuracy")}
