"""Which arrays of the training state a style leaves whole, on eight devices that need not exist."""

import math
from dataclasses import replace

import jax
import pytest

from t5lite.models.functional import build
from t5lite.models.presets import preset
from t5lite.optim import AdafactorConfig, AdamWConfig, Constant
from t5lite.partitioning import PartitioningConfig, abstract_partitioner
from t5lite.partitioning.rules import STYLES
from t5lite.training.state import abstract_state

LARGE = 64 * 2**20
MESHES = {
    "data_parallel": {"fsdp": 8},
    "fsdp": {"fsdp": 8},
    "tensor_parallel": {"fsdp": 4, "tensor": 2},
    "sequence_parallel": {"fsdp": 2, "sequence": 2, "tensor": 2},
}
MODELS = {
    "t5-1.1-xxl": {},
    "ul2-20b": {},
    "bert-large": {},
    "gpt3-175b": {},  # 50,257 ids, which divide over no mesh
    "palm-540b": {},
    "llama2-70b": {},
}
POSITIONS = "params/decoder/positions/embedding"
ONE_HEAD = {f"params/decoder/layers/self_attention/{name}" for name in ("key", "value")}
KNOWN = {
    # Shared over fsdp, and not by the devices of one tensor group: the table of positions, and the one head
    # of multi-query attention.
    ("gpt3-175b", "tensor_parallel"): {POSITIONS},
    ("gpt3-175b", "sequence_parallel"): {POSITIONS},
    ("palm-540b", "tensor_parallel"): ONE_HEAD,
    ("palm-540b", "sequence_parallel"): ONE_HEAD,
}


@pytest.mark.parametrize(
    "optimizer_config", [AdamWConfig(), AdafactorConfig()], ids=lambda c: type(c).__name__
)
@pytest.mark.parametrize("name", MODELS)
def test_large_arrays_are_shared_by_all_devices(name, optimizer_config):
    model = build(replace(preset(name), **MODELS[name]))
    optimizer = optimizer_config.build(Constant(value=1e-3).build(10), model.logical_axes)
    for style in STYLES:
        partitioner = abstract_partitioner(PartitioningConfig(style=style, **MESHES[style]), 8)
        state = abstract_state(model, optimizer, partitioner)
        leaves = jax.tree_util.tree_leaves_with_path(state)
        large = [(path, leaf) for path, leaf in leaves if leaf.size * leaf.dtype.itemsize > LARGE]
        whole = {
            jax.tree_util.keystr(path, simple=True, separator="/")
            for path, leaf in large
            if 8 * math.prod(leaf.sharding.shard_shape(leaf.shape)) > leaf.size
        }
        if style == "data_parallel":
            assert len(whole) == len(large) > 0
            continue
        of_parameters = {leaf for leaf in whole if leaf.startswith("params/")}
        assert of_parameters == KNOWN.get((name, style), set()), style
        # Optimizer state follows its parameters: nothing else stays whole.
        followers = {leaf.removeprefix("params/") for leaf in of_parameters}
        assert all(any(leaf.endswith(end) for end in followers) for leaf in whole), style
