"""Which measurements there are: scripts with their arguments, nothing else."""

import dataclasses

TENSORFLOW, JAX, TORCH = BACKENDS = ("tensorflow", "jax", "torch")
NAMES = {TENSORFLOW: "TensorFlow", JAX: "JAX", TORCH: "PyTorch"}


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A script of this folder, and how it is called.

    Args:
        name: What its files are called.
        script: The script, without its ending.
        full: Arguments with which it is measured.
        smoke: Arguments with which it only shows that it runs.
        backends: Where it is measured.
    """

    name: str
    script: str
    full: str
    smoke: str
    backends: tuple[str, ...] = BACKENDS

    def file(self, backend: str) -> str:
        """The name of the file with its numbers."""
        return f"{self.name}_{backend}.json"

    def command(self, backend: str, scale: str) -> str:
        """What a reader would type in the root of the repository."""
        arguments = getattr(self, scale)
        script = f"examples/benchmarks/{self.script}.py"
        return f"KERAS_BACKEND={backend} python {script} {arguments}".rstrip()


# Six convolutions, and not every kind everywhere: all measurements together are to take
# little more than half an hour.
TINY = "--layers 1 --width 2 --batch 2 --size 4 --steps 2 --processes 1"
NARROW = "--layers 6 --width 64 --batch 64"
WIDE = "--layers 6 --width 256 --batch 8"

MEASUREMENTS = (
    Measurement("weight_norm_step_64", "weight_norm_step", NARROW, TINY),
    Measurement(
        "weight_norm_step_256",
        "weight_norm_step",
        f"{WIDE} --kinds 'plain,weight norm,spectral norm'",
        TINY,
    ),
    Measurement(
        "weight_norm_step_xla_64",
        "weight_norm_step",
        f"{NARROW} --jit-compile yes --kinds 'plain,weight norm,batch norm'",
        f"{TINY} --jit-compile yes",
        (TENSORFLOW,),
    ),
    Measurement(
        "weight_norm_step_xla_256",
        "weight_norm_step",
        f"{WIDE} --jit-compile yes --kinds 'plain,weight norm'",
        f"{TINY} --jit-compile yes",
        (TENSORFLOW,),
    ),
    Measurement(
        "weight_norm_peers_64", "weight_norm_peers", NARROW, TINY, (JAX, TORCH)
    ),
    Measurement("folded_inference", "folded_inference", NARROW, TINY),
    Measurement(
        "stack_166",
        "stack_first_step",
        "--blocks 166 --kinds layers,stack --repeats 2",
        "--blocks 2 --width 2 --repeats 1 --steps 1",
        (TENSORFLOW,),
    ),
    # Layer by layer, compiling 166 blocks takes JAX longer than all the rest here.
    Measurement(
        "stack_30",
        "stack_first_step",
        "--blocks 30 --kinds layers,stack --repeats 2 --steps 1",
        "--blocks 2 --width 2 --repeats 1 --steps 1",
        (JAX, TORCH),
    ),
    Measurement(
        "stack_1666",
        "stack_first_step",
        "--blocks 1666 --kinds stack,remat --repeats 1 --steps 1",
        "--blocks 2 --width 2 --kinds stack,remat --repeats 1 --steps 1",
        (TENSORFLOW,),
    ),
    Measurement(
        "initializers",
        "initializers",
        "--pairs 20 --processes 2",
        "--width 8 --pairs 2 --processes 1",
    ),
    Measurement(
        "initialize_model",
        "initialize_model",
        "--rounds 7",
        "--network MobileNetV2 --size 32 --rounds 1",
    ),
    Measurement(
        "data_schemes",
        "data_schemes",
        "--rounds 5",
        "--layers 1 --width 2 --batch 2 --size 4 --rounds 1",
    ),
    Measurement(
        "search_schemes",
        "search_schemes",
        "--rounds 3",
        "--network plain_cnn:2,width=2 --size 8 --batch 4 --rounds 1",
    ),
    Measurement(
        "signal_report_resnet50",
        "signal_report",
        "--network resnet50 --rounds 5",
        "--network resnet50 --size 32 --batch 2 --rounds 1",
    ),
    # This and the ResNet-50 below take JAX minutes to compile.
    Measurement(
        "signal_report_deep",
        "signal_report",
        "--network deep --rounds 5",
        "--network deep --size 4 --batch 2 --rounds 1",
        (TENSORFLOW, TORCH),
    ),
    Measurement(
        "hessian_norm_plain",
        "hessian_norm",
        "--network plain --rounds 3",
        "--network plain --size 8 --batch 2 --rounds 1",
    ),
    Measurement(
        "hessian_norm_resnet50",
        "hessian_norm",
        "--network resnet50 --rounds 2",
        # Statistics of two samples explode in it.
        "--network resnet50 --size 32 --batch 16 --rounds 1",
        (TENSORFLOW, TORCH),
    ),
    # Pipelines of tf.data, which are the same whatever trains with them.
    Measurement(
        "augmentation",
        "augmentation",
        "--images 1600 --rounds 5",
        "--images 4 --size 8 --batch 2 --rounds 1",
        (TENSORFLOW,),
    ),
)
