"""Which lines the table and the figure have, and what the project set itself."""

from examples.benchmarks.suite.lines import Line, Section
from examples.benchmarks.suite.measurements import BACKENDS, JAX

PEERS = {
    "batch norm": "Keras' BatchNormalization",
    "spectral norm": "Keras' SpectralNormalization",
}

XLA_LOOP = (
    "XLA is slow at gradients of convolutions inside a loop. On a CPU up to 200 blocks "
    "are no loop, and take longer to compile than layers do; on a GPU take "
    "`ScaledResidual` block by block where a step matters more than the first one."
)
MANY_WEIGHTS = (
    "At 32x32 the arithmetic on vectors of 24 million weights outweighs the network."
)


def _step(width, batch, limit, peers, xla=False):
    """The lines of one network of convolutions."""
    source = f"weight_norm_step_{'xla_' if xla else ''}{width}"
    shown = width == 64 and not xla

    def line(row, what, **more):
        text = f"a training step, {what}" if shown else ""
        return Line(what, "plain Conv2D", source, (row,), excerpt=text, **more)

    return Section(
        f"A training step, 6 convolutions of width {width}, batch {batch}"
        f"{', XLA' if xla else ''}",
        (
            line("weight norm", "weight norm, ours", limit=limit),
            *(line(row, PEERS[row], peer=True) for row in peers),
            *([_theirs(width)] if shown else []),
        ),
        contest=True,
        near_one=True,
    )


def _theirs(width):
    """Weight normalisation of the backends themselves, without Keras."""
    what = "weight norm of Flax (JAX) and of PyTorch"
    return Line(
        what,
        "plain convolutions of theirs",
        f"weight_norm_peers_{width}",
        ("weight norm",),
        peer=True,
        excerpt=f"a training step, {what}",
    )


def _stack(source, title, shown, limit=None):
    """A stack beside single layers."""
    steps = {
        "first_step": ("until the first step is made", limit),
        "step": ("a later step", None),
    }
    return Section(
        title,
        tuple(
            Line(
                f"a stack: {what}",
                "layer by layer",
                source,
                ("stack", "compared", step),
                bound,
                excerpt=f"{shown}, {what}",
                losing={JAX: XLA_LOOP},
            )
            for step, (what, bound) in steps.items()
        ),
        contest=True,
    )


def _price(what, unit, source, row, limit, shown=False, losing=""):
    """What one of our own things costs; README has it if it is shown."""
    return Line(
        what,
        unit,
        source,
        (row,),
        limit,
        excerpt=what if shown else "",
        losing=dict.fromkeys(BACKENDS, losing),
    )


SECTIONS = (
    _step(64, 64, 1.03, ("batch norm", "spectral norm")),
    _step(256, 8, 1.10, ("spectral norm",)),
    _step(64, 64, 1.03, ("batch norm",), xla=True),
    _step(256, 8, 1.10, (), xla=True),
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
    _stack(
        "stack_166",
        "498 residual blocks, 1000 layers",
        "498 residual blocks",
        0.1,
    ),
    _stack("stack_30", "90 residual blocks, 184 layers", "90 residual blocks"),
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
        "Initialising a model",
        (
            _price(
                '`initialize(ResNet-50, "auto")`',
                "building it",
                "initialize_model",
                "initialize auto",
                2.0,
                shown=True,
            ),
            _price(
                '`"lsuv"`, 50 layers',
                "forward passes",
                "data_schemes",
                "lsuv: lsuv",
                3.0,
                shown=True,
            ),
            _price(
                '`"data_dependent"`, 50 layers',
                "forward passes",
                "data_schemes",
                "data_dependent: data_dependent",
                3.0,
            ),
            _price(
                '`"gradinit"`, an iteration on the norm, ResNet-20',
                "training steps",
                "search_schemes",
                "GradInit, the norm",
                4.0,
                shown=True,
            ),
            _price(
                '`"gradinit"`, an iteration on the loss, ResNet-20',
                "training steps",
                "search_schemes",
                "GradInit, the loss",
                4.0,
            ),
            _price(
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
            _price(
                "`signal_report(ResNet-50)`",
                "training steps",
                "signal_report_resnet50",
                "report",
                3.0,
                shown=True,
            ),
            _price(
                "`signal_report`, 300 dense layers",
                "training steps",
                "signal_report_deep",
                "report",
                3.0,
            ),
            _price(
                "`hessian_norm`, an iteration, ten convolutions",
                "training steps",
                "hessian_norm_plain",
                "iteration",
                4.0,
            ),
            _price(
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
