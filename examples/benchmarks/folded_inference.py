"""What is left of weight normalization at inference once it has been folded away.

    KERAS_BACKEND=tensorflow python examples/benchmarks/folded_inference.py

Predicts one batch in turn with a plain network, with one of weight-normalized layers,
and with what `fold` makes of the latter.
"""

from over_processes import compare_over_processes
from paired import keep, show
from weight_norm_step import JIT_COMPILE, images, network, parser, title

import keras_convinit


def main(arguments=None):
    """Measures, prints a table, and keeps the numbers."""
    options = parser(__doc__).parse_args(arguments)
    batch = images(options)

    def prediction(model):
        model.compile(jit_compile=JIT_COMPILE[options.jit_compile])
        return lambda: model.predict_on_batch(batch)

    def predictions():
        weight_norm = network("weight norm", options)
        models = {
            "plain": network("plain", options),
            "folded weight norm": keras_convinit.fold(weight_norm, verbose=False),
            "weight norm": weight_norm,
        }
        return {name: prediction(model) for name, model in models.items()}

    rows = compare_over_processes(__file__, arguments, options, predictions)
    if rows is None:
        return
    show(f"Prediction: {title(options)}", rows)
    keep(options.json, vars(options), rows)


if __name__ == "__main__":
    main()
