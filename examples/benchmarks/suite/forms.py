"""Lines and sections of which there are several of one form."""

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


def step(width, batch, limit, peers, xla=False):
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
    """Weight normalization of the backends themselves, without Keras."""
    what = "weight norm of Flax (JAX) and of PyTorch"
    return Line(
        what,
        "plain convolutions of theirs",
        f"weight_norm_peers_{width}",
        ("weight norm",),
        peer=True,
        excerpt=f"a training step, {what}",
    )


def stack(source, title, shown, limit=None):
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


def price(what, unit, source, row, limit, shown=False, losing=""):
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
