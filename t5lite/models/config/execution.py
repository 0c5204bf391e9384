"""How a model is computed, as opposed to what it is: free to change when a run resumes."""

from dataclasses import dataclass
from typing import Literal, get_args

from t5lite.core.errors import ConfigError
from t5lite.models.config.checks import check_choice

Dtype = Literal["float32", "bfloat16"]
AttentionBackend = Literal["auto", "reference", "flash", "cudnn"]
Remat = Literal["none", "gathered", "dots", "full", "save", "offload"]

REMAT_NAMES = (
    "layer_input", "query", "key", "value", "context", "attention_out", "mlp_wi", "kernels",
)  # fmt: skip
"""What of a layer ``remat_names`` can name: its input, the projected heads, the attention op's result and its
projection, the MLP's input projections, and its kernels as they were gathered, where a mesh divides them."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a model is computed."""

    compute_dtype: Dtype = "float32"
    """Dtype of activations and matrix products; norms, softmax and logits are float32 in any case."""
    param_dtype: Dtype = "float32"
    """Dtype the parameters are stored in."""
    scan_unroll: int = 1
    """Turns of the loop over layers that are one; 1 compiles fastest, -1 unrolls all (fastest on CPU)."""
    remat: Remat = "none"
    """What the backward pass recomputes: norms and activation functions alone (none); all but matrix products
    (dots); the same, with attention's result and the layers' kernels kept as they were gathered over the mesh
    (gathered: a third fewer bytes on the links, for the kernels' size in the compute dtype); every layer from
    its input (full); or every layer from its input and ``remat_names``, kept on
    the device (save) or in the memory of the host (offload; the layers' inputs go there by the name
    layer_input)."""
    remat_names: tuple[str, ...] = ()
    """What remat save keeps and remat offload moves to the host; see ``REMAT_NAMES``."""
    attention: AttentionBackend = "auto"
    """Who computes attention: the reference op, the TPU kernel, cuDNN, or what pays on the platform. One
    that cannot compute a call leaves it to the reference and says why, once."""

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
          ConfigError: for one that is not allowed, or names without a policy that takes them.
        """
        choices = {
            "compute_dtype": Dtype,
            "param_dtype": Dtype,
            "remat": Remat,
            "attention": AttentionBackend,
        }
        for name, literal in choices.items():
            check_choice(name, getattr(self, name), get_args(literal))
        if self.scan_unroll != -1 and self.scan_unroll < 1:
            raise ConfigError(
                f"scan_unroll={self.scan_unroll} must be -1 (all layers) or a number of turns from 1"
            )
        self._check_remat_names()

    @property
    def loops_over_layers(self) -> bool:
        """Whether a stack of layers is a loop in the compiled program."""
        return self.scan_unroll != -1

    def _check_remat_names(self) -> None:
        for name in self.remat_names:
            check_choice("remat_names entry", name, REMAT_NAMES)
        takes_names = self.remat in ("save", "offload")
        if takes_names and not self.remat_names:
            raise ConfigError(
                f"remat={self.remat!r} needs remat_names, one or more of {', '.join(REMAT_NAMES)}; "
                "or use remat='full'"
            )
        if self.remat_names and not takes_names:
            raise ConfigError(
                f"remat_names={self.remat_names} has no effect with remat={self.remat!r}; use "
                "remat='save' or 'offload', or leave the names out"
            )
