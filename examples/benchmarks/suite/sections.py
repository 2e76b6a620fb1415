"""Which lines the table and the figure have, and what the project set itself."""

from examples.benchmarks.suite.forms import price, stack, step
from examples.benchmarks.suite.lines import Line, Section

MANY_WEIGHTS = (
    "At 32x32 the arithmetic on vectors of 24 million weights outweighs the network."
)

SECTIONS = (
    step(64, 64, 1.03, ("batch norm", "spectral norm")),
    step(256, 8, 1.10, ("spectral norm",)),
    step(64, 64, 1.03, ("batch norm",), xla=True),
    step(256, 8, 1.10, (), xla=True),
    Section(
        "A prediction by the network of width 64",
        (
            Line(
                "weight norm, folded",
                "plain Conv2D",
                "folded_inference",
                ("folded weight norm",),
                1.0,
                excerpt="a prediction, weight norm, folded",
            ),
            Line(
                "weight norm, not folded",
                "plain Conv2D",
                "folded_inference",
                ("weight norm",),
            ),
        ),
        contest=True,
        near_one=True,
    ),
    stack(
        "stack_166",
        "498 residual blocks, 1000 layers",
        "498 residual blocks",
        0.1,
    ),
    stack("stack_30", "90 residual blocks, 184 layers", "90 residual blocks"),
    Section(
        "Drawing a (3, 3, 640, 640) kernel",
        tuple(
            Line(
                name,
                "VarianceScaling of the same law",
                "initializers",
                (name,),
                1.1,
            )
            for name in ("ZhangForward", "ZhangBackward")
        ),
        contest=True,
        near_one=True,
    ),
    Section(
        "Initializing a model",
        (
            price(
                '`initialize(ResNet-50, "auto")`',
                "building it",
                "initialize_model",
                "initialize auto",
                2.0,
                shown=True,
            ),
            price(
                '`"lsuv"`, 50 layers',
                "forward passes",
                "data_schemes",
                "lsuv: lsuv",
                3.0,
                shown=True,
            ),
            price(
                '`"data_dependent"`, 50 layers',
                "forward passes",
                "data_schemes",
                "data_dependent: data_dependent",
                3.0,
            ),
            price(
                '`"gradinit"`, an iteration on the norm, ResNet-20',
                "training steps",
                "search_schemes",
                "GradInit, the norm",
                4.0,
                shown=True,
            ),
            price(
                '`"gradinit"`, an iteration on the loss, ResNet-20',
                "training steps",
                "search_schemes",
                "GradInit, the loss",
                4.0,
            ),
            price(
                '`"metainit"`, a step, ResNet-20',
                "training steps",
                "search_schemes",
                "MetaInit",
                10.0,
                shown=True,
            ),
        ),
        contest=False,
    ),
    Section(
        "Looking inside",
        (
            price(
                "`signal_report(ResNet-50)`",
                "training steps",
                "signal_report_resnet50",
                "report",
                3.0,
                shown=True,
            ),
            price(
                "`signal_report`, 300 dense layers",
                "training steps",
                "signal_report_deep",
                "report",
                3.0,
            ),
            price(
                "`hessian_norm`, an iteration, ten convolutions",
                "training steps",
                "hessian_norm_plain",
                "iteration",
                4.0,
            ),
            price(
                "`hessian_norm(ResNet-50)`, an iteration",
                "training steps",
                "hessian_norm_resnet50",
                "iteration",
                4.0,
                shown=True,
                losing=MANY_WEIGHTS,
            ),
        ),
        contest=False,
    ),
    Section(
        "Augmented images from `tf.data`, 32x32",
        (
            Line(
                "crop, flip and Cutout",
                "`tf.image`, image by image",
                "augmentation",
                ("Crop, flip, Cutout: tf.image, image by image",),
                inverted=True,
                excerpt="images: crop, flip and Cutout",
            ),
            Line(
                "AutoAugment",
                "Keras' RandAugment, batch by batch",
                "augmentation",
                ("AutoAugment: RandAugment of batches",),
                inverted=True,
                excerpt="images: AutoAugment",
            ),
            Line(
                "AutoAugment",
                "Keras' RandAugment, image by image",
                "augmentation",
                ("AutoAugment: RandAugment image by image",),
                inverted=True,
            ),
        ),
        contest=True,
    ),
)
