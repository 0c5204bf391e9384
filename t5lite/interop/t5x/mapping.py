"""Which leaves of a T5X ``target`` hold which parameters here, and the model they describe.

T5X names a layer ``encoder/layers_0/…``; scanned layers are one leaf ``encoder/encoder/…`` with the layers on
axis 1. Attention kernels are ``[embed, heads, kv]``, or the last two axes are one, as here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from t5lite.core.errors import CheckpointError, UserError
from t5lite.interop.arrival import Source
from t5lite.interop.differences import differences
from t5lite.interop.t5x.leaves import JoinedLeaf, Leaf, PermutedLeaf, StackedLeaf
from t5lite.interop.trees import Shape, listed, refuse_misfits
from t5lite.models.config import (
    EncoderDecoderConfig,
    GatedMLP,
    MLPKind,
    ModelConfig,
    PlainMLP,
    RelativePositions,
)

Leaves = Mapping[str, Leaf]
GatedActivation = Literal["gated_gelu", "swiglu"]
"""What an MLP with two input kernels may compute; a checkpoint does not say which."""
GATED: dict[GatedActivation, MLPKind] = {
    "gated_gelu": GatedMLP(activation="gelu_tanh"),
    "swiglu": GatedMLP(activation="silu"),
}

STACKS = ("encoder", "decoder")
_RELPOS = "relpos_bias/rel_embedding"
_SHARED = {
    "mlp_norm/scale": "pre_mlp_layer_norm/scale",
    "mlp/wi": "mlp/wi/kernel",
    "mlp/wi_0": "mlp/wi_0/kernel",
    "mlp/wi_1": "mlp/wi_1/kernel",
    "mlp/wo": "mlp/wo/kernel",
    "relpos_bias/embedding": _RELPOS,
}
_ATTENTION = ("query", "key", "value", "out")
_LAYER: dict[str, dict[str, str]] = {
    "encoder": _SHARED
    | {"self_attention_norm/scale": "pre_attention_layer_norm/scale"}
    | {f"self_attention/{name}": f"attention/{name}/kernel" for name in _ATTENTION},
    "decoder": _SHARED
    | {
        "self_attention_norm/scale": "pre_self_attention_layer_norm/scale",
        "cross_attention_norm/scale": "pre_cross_attention_layer_norm/scale",
    }
    | {f"self_attention/{name}": f"self_attention/{name}/kernel" for name in _ATTENTION}
    | {f"cross_attention/{name}": f"encoder_decoder_attention/{name}/kernel" for name in _ATTENTION},
}
_WHOLE = {
    "token_embedder/embedding": "token_embedder/embedding",
    "logits/kernel": "decoder/logits_dense/kernel",
    "encoder/final_norm/scale": "encoder/encoder_norm/scale",
    "decoder/final_norm/scale": "decoder/decoder_norm/scale",
} | {f"{stack}/relpos_bias/embedding": f"{stack}/{_RELPOS}" for stack in STACKS}
_SIZES = (
    "vocab_size", "embed_dim", "mlp_dim", "head_dim", "num_heads", "num_encoder_layers", "num_decoder_layers",
    "tie_embeddings",
)  # fmt: skip
_OF_TRAINING = ("dropout_rate", "initializer", "max_length")
_KINDS: dict[str, tuple[Any, ...]] = {
    "mlp": (PlainMLP(activation="relu"), *GATED.values()),
    "positions": (RelativePositions,),
    "positions.max_distance": (RelativePositions().max_distance,),
}
_HINTS = 8
_LEAVES_OF_A_LAYER = 4
"""At least, and some may be missing, which are then listed: a layer has 8 or more."""


@dataclass(frozen=True)
class StackLayout:
    """How one stack lies in the checkpoint.

    Attributes:
      prefixes: of the leaves of every layer, or the one prefix of all of them if they are scanned.
      num_layers: how many layers.
      scanned: whether they are scanned.
    """

    prefixes: tuple[str, ...]
    num_layers: int
    scanned: bool


def stack_layouts(leaves: Leaves) -> dict[str, StackLayout]:
    """Return the layout of both stacks.

    Raises:
      CheckpointError: if one of them has no layers: another architecture, or names that T5X does not use.
    """
    return {stack: _stack_layout(leaves, stack) for stack in STACKS}


def _stack_layout(leaves: Leaves, stack: str) -> StackLayout:
    numbers = {int(m[1]): name for name in leaves if (m := re.match(rf"{stack}/layers_(\d{{1,18}})/", name))}
    if numbers:
        num_layers = max(numbers) + 1
        if num_layers * _LEAVES_OF_A_LAYER > len(leaves):
            raise CheckpointError(
                f"leaf {numbers[num_layers - 1]} is of {stack} layer {num_layers - 1}, but there are only "
                f"{len(leaves)} leaves, too few for so many layers; copy the checkpoint again"
            )
        return StackLayout(tuple(f"{stack}/layers_{i}" for i in range(num_layers)), num_layers, scanned=False)
    for inner in (stack, "layers"):
        scale = leaves.get(f"{stack}/{inner}/pre_mlp_layer_norm/scale")
        if scale is not None and len(scale.shape) == 2:
            return StackLayout((f"{stack}/{inner}",), scale.shape[1], scanned=True)
    found = sorted({"/".join(name.split("/")[:2]) for name in leaves})
    raise CheckpointError(
        f"the checkpoint has no {stack} layers ({stack}/layers_0/… or scanned {stack}/{stack}/…), so it is "
        f"not an encoder-decoder T5; found: {listed(found, _HINTS)}"
    )


def infer_config(
    leaves: Leaves,
    stacks: Mapping[str, StackLayout],
    *,
    activation: GatedActivation | None = None,
) -> EncoderDecoderConfig:
    """Return the model that names and shapes describe.

    What they do not say is T5's: max_distance 128 of the positions, epsilon 1e-6 of the norm, ReLU without
    and gated GELU (or ``activation``) with two input kernels.

    Raises:
      UserError: for an ``activation`` of an MLP with one input kernel.
      CheckpointError: if a leaf that is needed for it is missing or has another rank.
    """
    encoder = stacks["encoder"]
    vocab_size, embed_dim = _shape(leaves, "token_embedder/embedding", 2)
    prefix = encoder.prefixes[0]
    gated = any(name.endswith("/mlp/wi_0/kernel") for name in leaves)
    if activation and not gated:
        raise UserError(
            f"activation={activation!r} is of an MLP with two input kernels (wi_0 and wi_1), and this "
            "checkpoint has one (wi), so it is ReLU; leave it out"
        )
    mlp_dim = _shape(leaves, f"{prefix}/mlp/{'wi_0' if gated else 'wi'}/kernel", 2 + encoder.scanned)[-1]
    per_layer = _WHOLE["encoder/relpos_bias/embedding"] not in leaves
    table = f"{prefix}/{_RELPOS}" if per_layer else _WHOLE["encoder/relpos_bias/embedding"]
    heads_and_buckets = _shape(leaves, table, *((2, 3) if per_layer and encoder.scanned else (2,)))
    if len(heads_and_buckets) == 2 and encoder.scanned:
        per_layer = False
    num_heads, num_buckets = heads_and_buckets[0], heads_and_buckets[-1]
    query = _shape(leaves, f"{prefix}/attention/query/kernel", 2 + encoder.scanned, 3 + encoder.scanned)
    whole = len(query) == 3 + encoder.scanned
    return EncoderDecoderConfig(
        vocab_size=vocab_size,
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=query[-1] if whole else max(1, query[-1] // num_heads),
        num_heads=num_heads,
        num_encoder_layers=encoder.num_layers,
        num_decoder_layers=stacks["decoder"].num_layers,
        mlp=GATED[activation or "gated_gelu"] if gated else PlainMLP(activation="relu"),
        tie_embeddings=_WHOLE["logits/kernel"] not in leaves,
        positions=RelativePositions(num_buckets=num_buckets, per_layer=per_layer),
    )


def fits(config: ModelConfig) -> str | None:
    """Return None if T5X has this model, else why not."""
    if config.sides != STACKS:
        return f"the T5X format is for encoder-decoder models, not {config.architecture}"
    if lacking := [name for name in _SIZES if not hasattr(config, name)]:
        return f"no T5 is without {', '.join(lacking)}"
    of_t5 = EncoderDecoderConfig(**{name: getattr(config, name) for name in _SIZES})
    fixed = {
        field.name: (getattr(of_t5, field.name),)
        for field in fields(config)
        if field.name not in (*_OF_TRAINING, *_KINDS)
    }
    differing = differences(config, {**fixed, **_KINDS})
    return f"no T5 has {', '.join(differing)}" if differing else None


def _shape(leaves: Leaves, name: str, *ranks: int) -> Shape:
    if name not in leaves:
        raise CheckpointError(
            f"the checkpoint lacks {name}, without which the model's size is unknown; found: "
            f"{listed(sorted(leaves), _HINTS)}"
        )
    if len(leaves[name].shape) not in ranks:
        raise CheckpointError(
            f"leaf {name} has shape {leaves[name].shape}; it should have {' or '.join(map(str, ranks))} axes"
        )
    return leaves[name].shape


def match(
    leaves: Leaves, stacks: Mapping[str, StackLayout], shapes: Mapping[str, Shape], head_dim: int
) -> dict[str, Source]:
    """Return where each parameter comes from: leaves seen in the parameter's shape.

    Args:
      leaves: the whole ``target``.
      stacks: its layout.
      shapes: of the model's parameters, by path.
      head_dim: of its attention.

    Raises:
      CheckpointError: listing the leaves that are missing, unexpected or misshapen, by name and shape.
    """
    missing, misshapen, taken = [], [], set()
    sources: dict[str, Source] = {}
    for path, shape in shapes.items():
        stack, _, inner = path.partition("/layers/")
        layout = stacks[stack] if inner else None
        views = []
        for name in _names(path, layout, leaves):
            forms = _forms(path, shape[1:] if inner else shape, layout, head_dim)
            taken.add(name)
            if name not in leaves:
                missing.append(f"{name} {_either(forms)}")
                continue
            form = next((form for form in forms if form.shape == leaves[name].shape), None)
            if form is None:
                misshapen.append(f"{name} {leaves[name].shape} instead of {_either(forms)}")
                continue
            views.append(form.view(leaves[name]))
        if views:
            sources[path] = StackedLeaf(views) if layout and not layout.scanned else views[0]
    unexpected = [f"{name} {leaf.shape}" for name, leaf in leaves.items() if name not in taken]
    refuse_misfits(
        "the leaves are not those of a T5", missing=missing, unexpected=unexpected, wrong_shape=misshapen
    )
    return sources


def _names(path: str, layout: StackLayout | None, leaves: Leaves) -> list[str]:
    """Return the leaves that hold a parameter: one a layer, or one."""
    stack, _, inner = path.partition("/layers/")
    if layout is not None:
        return [f"{prefix}/{_LAYER[stack][inner]}" for prefix in layout.prefixes]
    name = _WHOLE[path]
    scanned_name = f"{stack.split('/')[0]}/{name}"  # the one table of a stack whose layers are scanned
    return [
        scanned_name if name.endswith(_RELPOS) and name not in leaves and scanned_name in leaves else name
    ]


@dataclass(frozen=True)
class _Form:
    """A shape that a leaf may have, and what makes a parameter of it.

    Attributes:
      shape: of the leaf.
      joined: the first of two axes, heads and kv, that are one here.
      transposed: whether its last two axes are the other way round.
      scanned: whether axis 1 are the layers.
    """

    shape: Shape
    joined: int | None
    transposed: bool
    scanned: bool

    def view(self, leaf: Leaf) -> Leaf:
        if self.scanned:
            layers = 1
            leaf = PermutedLeaf(leaf, [layers, *(i for i in range(len(leaf.shape)) if i != layers)])
        if self.joined is not None:
            leaf = JoinedLeaf(leaf, self.scanned + self.joined)
        if self.transposed:
            rank = len(leaf.shape)
            leaf = PermutedLeaf(leaf, [*range(rank - 2), rank - 1, rank - 2])
        return leaf


def _forms(path: str, shape: Shape, layout: StackLayout | None, head_dim: int) -> list[_Form]:
    """Return the shapes that a leaf with a parameter of ``shape`` (of one layer) may have."""
    scanned = layout is not None and layout.scanned

    def form(shape: Shape, joined: int | None = None, transposed: bool = False) -> _Form:
        if layout is not None and layout.scanned:
            shape = (shape[0], layout.num_layers, *shape[1:])
        return _Form(shape, joined, transposed, scanned)

    if path.endswith("relpos_bias/embedding"):
        return [form(shape[::-1], transposed=True)]
    if re.search(r"attention/(query|key|value)$", path):
        embed, width = shape
        return [form(shape), form((embed, width // head_dim, head_dim), joined=1)]
    if path.endswith("attention/out"):
        width, embed = shape
        return [form(shape), form((width // head_dim, head_dim, embed), joined=0)]
    return [form(shape)]


def _either(forms: list[_Form]) -> str:
    return " or ".join(str(form.shape) for form in forms)
