"""What happens inside a model: computed to plain data, then told or drawn."""

from keras_convinit.diagnostics.hessian_norm import HessianNorm, hessian_norm

__all__ = ["HessianNorm", "hessian_norm"]
