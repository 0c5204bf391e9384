"""t5lite: pretrain, fine-tune, evaluate and export Transformers in JAX at TPU scale."""

__version__ = "0.1.0"
