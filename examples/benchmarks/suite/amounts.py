"""Which numbers the table has that are no ratios."""

from examples.benchmarks.suite.lines import Amount

AMOUNTS = (
    Amount(
        "`import keras_convinit` after `import keras`",
        "s",
        "initializers",
        ("import_seconds",),
        0.1,
    ),
    Amount(
        "4998 residual blocks (10,000 layers): first step over a later one",
        "s",
        "stack_1666",
        ("stack", "over_the_step"),
        15,
    ),
    Amount(
        "the same, memory at its peak",
        "GB",
        "stack_1666",
        ("stack", "peak_gigabytes"),
    ),
    Amount(
        "the same, memory at its peak, recomputing",
        "GB",
        "stack_1666",
        ("remat", "peak_gigabytes"),
        3,
    ),
)
