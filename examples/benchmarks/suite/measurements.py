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


# What every network of convolutions takes.
TINY = "--layers 1 --width 2 --batch 2 --size 4 --steps 2"
WIDE = "--width 256 --batch 8"
SMALL_IMAGES = "--size 32 --batch 2 --rounds 1"

MEASUREMENTS = (
    Measurement("weight_norm_step_64", "weight_norm_step", "", TINY),
    Measurement("weight_norm_step_256", "weight_norm_step", WIDE, TINY),
    Measurement(
        "weight_norm_step_xla_64",
        "weight_norm_step",
        "--jit-compile yes",
        f"{TINY} --jit-compile yes",
        (TENSORFLOW,),
    ),
    Measurement(
        "weight_norm_step_xla_256",
        "weight_norm_step",
        f"{WIDE} --jit-compile yes",
        f"{TINY} --jit-compile yes",
        (TENSORFLOW,),
    ),
    Measurement("weight_norm_peers_64", "weight_norm_peers", "", TINY, (JAX, TORCH)),
    Measurement("weight_norm_peers_256", "weight_norm_peers", WIDE, TINY, (JAX, TORCH)),
    Measurement("folded_inference", "folded_inference", "", TINY),
    Measurement(
        "stack_166",
        "stack_first_step",
        "--blocks 166",
        "--blocks 2 --width 2 --repeats 1 --steps 1",
        (TENSORFLOW,),
    ),
    # Layer by layer, compiling 166 blocks takes JAX longer than all the rest here.
    Measurement(
        "stack_30",
        "stack_first_step",
        "--blocks 30 --steps 2",
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
        "initializers", "initializers", "", "--width 8 --pairs 2 --processes 1"
    ),
    Measurement(
        "initialize_model",
        "initialize_model",
        "--rounds 10",
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
        "--rounds 5",
        "--network plain_cnn:2,width=2 --size 8 --batch 4 --rounds 1",
    ),
    Measurement(
        "signal_report_resnet50",
        "signal_report",
        "--network resnet50 --rounds 5",
        f"--network resnet50 {SMALL_IMAGES}",
    ),
    Measurement(
        "signal_report_deep",
        "signal_report",
        "--network deep --rounds 7",
        "--network deep --size 4 --batch 2 --rounds 1",
    ),
    Measurement(
        "hessian_norm_plain",
        "hessian_norm",
        "--network plain --rounds 5",
        "--network plain --size 8 --batch 2 --rounds 1",
    ),
    Measurement(
        "hessian_norm_resnet50",
        "hessian_norm",
        "--network resnet50 --rounds 3",
        f"--network resnet50 {SMALL_IMAGES}",
    ),
    # Pipelines of tf.data, which are the same whatever trains with them.
    Measurement(
        "augmentation",
        "augmentation",
        "--images 3200 --rounds 7",
        "--images 4 --size 8 --batch 2 --rounds 1",
        (TENSORFLOW,),
    ),
)
