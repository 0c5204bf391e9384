"""Writes checkpoints as T5X does, from parameters here: msgpack with arrays and zarr, and Orbax.

The mapping is written out once more here, the other way round and without the code under test.
"""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from flax import serialization, traverse_util

from t5lite.models.functional import build


def random_params(config: Any, seed: int = 0, dtype: Any = "float32") -> Any:
    """Values without a structure, of the size that initial ones have."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: (0.3 * rng.standard_normal(leaf.shape)).astype(jnp.dtype(dtype)),
        build(config).abstract_params,
    )


def target_of(params: Any, *, scanned: bool = False, apart: int | None = None) -> dict[str, np.ndarray]:
    """Return the leaves of T5X's ``target`` by name (t5x/examples/{t5,scalable_t5}/network.py).

    Args:
      params: of the model.
      scanned: whether the layers of a stack are one leaf.
      apart: size of a head, where heads and kv are two axes.
    """
    target = {"token_embedder/embedding": params["token_embedder"]["embedding"]}
    if "logits" in params:
        target["decoder/logits_dense/kernel"] = params["logits"]["kernel"]
    for stack in ("encoder", "decoder"):
        tree = params[stack]
        target[f"{stack}/{stack}_norm/scale"] = tree["final_norm"]["scale"]
        if "relpos_bias" in tree:
            target[f"{stack}/relpos_bias/rel_embedding"] = tree["relpos_bias"]["embedding"].T
        depth = len(tree["layers"]["mlp"]["wo"])
        layers = [
            _layer(jax.tree.map(lambda x, i=i: x[i], tree["layers"]), stack, apart) for i in range(depth)
        ]
        for name in layers[0]:
            if scanned:
                target[f"{stack}/{stack}/{name}"] = np.stack([layer[name] for layer in layers], axis=1)
            else:
                target |= {f"{stack}/layers_{i}/{name}": layer[name] for i, layer in enumerate(layers)}
    return {name: np.ascontiguousarray(value) for name, value in target.items()}


def _layer(layer: Any, stack: str, apart: int | None) -> dict[str, np.ndarray]:
    names = {"self_attention": "attention" if stack == "encoder" else "self_attention"}
    norms = {
        "mlp_norm": "pre_mlp_layer_norm",
        "self_attention_norm": f"pre_{names['self_attention']}_layer_norm",
    }
    if stack == "decoder":
        names["cross_attention"] = "encoder_decoder_attention"
        norms["cross_attention_norm"] = "pre_cross_attention_layer_norm"
    leaves = {f"{theirs}/scale": layer[ours]["scale"] for ours, theirs in norms.items()}
    leaves |= {f"mlp/{name}/kernel": kernel for name, kernel in layer["mlp"].items()}
    if "relpos_bias" in layer:
        leaves["relpos_bias/rel_embedding"] = layer["relpos_bias"]["embedding"].T
    for ours, theirs in names.items():
        for name, kernel in layer[ours].items():
            if apart is not None:
                embed = kernel.shape[-1 if name == "out" else 0]
                kernel = kernel.reshape((-1, apart, embed) if name == "out" else (embed, -1, apart))
            leaves[f"{theirs}/{name}/kernel"] = kernel
    return leaves


def optimizer_state(target: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what Adafactor keeps: a vector for every leaf, and the step."""
    slots = {name: {"v": np.zeros(value.shape[-1:], np.float32)} for name, value in target.items()}
    return {"step": np.int32(1000), "param_states": traverse_util.unflatten_dict(slots, sep="/")}


def write_msgpack_checkpoint(
    directory: Path,
    target: dict[str, np.ndarray],
    *,
    stored: str | None = None,
    version: int = 3,
    spec: dict[str, Any] | None = None,
    compressor: str | None = "gzip",
) -> Path:
    """Write ``checkpoint_<step>`` of T5X's own layout.

    Args:
      directory: to write.
      target: leaves by name.
      stored: part of the name of every leaf that gets a zarr array of its own; None has all inline.
      version: in version 2 bfloat16 in zarr is uint16.
      spec: changes to the kvstore part of TensorStore specs.
      compressor: of zarr arrays.
    """
    directory.mkdir(parents=True)
    leaves: dict[str, Any] = {}
    for name, value in target.items():
        leaves[name] = value
        if stored is not None and stored in name:
            if version == 2 and value.dtype == jnp.bfloat16:
                value = value.view(np.uint16)
            path = f"target.{name.replace('/', '.')}"
            leaves[name] = _write_zarr(directory, path, value, compressor)
            leaves[name]["kvstore"] |= spec or {}
    state = {"state": optimizer_state(target), "target": traverse_util.unflatten_dict(leaves, sep="/")}
    content = serialization.msgpack_serialize({"version": version, "optimizer": state})
    (directory / "checkpoint").write_bytes(content)
    return directory


def _write_zarr(directory: Path, path: str, value: np.ndarray, compressor: str | None) -> dict[str, Any]:
    """Write an array and return the spec that T5X would leave in its place."""
    spec = {
        "driver": "zarr",
        "dtype": value.dtype.name,
        "kvstore": {"driver": "file", "path": path},
        "metadata": {
            "shape": list(value.shape),
            "chunks": [max(1, size // 2) for size in value.shape],
            "compressor": compressor and {"id": compressor},
        },
    }
    relative = tensorstore.Spec(spec).to_json()
    spec["kvstore"]["path"] = str(directory / path)
    store = tensorstore.open(spec, create=True, open=True).result()
    store.write(value).result()
    return json.loads(json.dumps(relative))


def write_orbax_checkpoint(
    directory: Path, target: dict[str, np.ndarray], *, ocdbt: bool = True, zarr3: bool = False
) -> Path:
    """Write ``checkpoint_<step>/state`` as T5X does through Orbax."""
    tree = {"target": target, "state": optimizer_state(target)}
    tree = {"target": traverse_util.unflatten_dict(target, sep="/"), "state": tree["state"]}
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=ocdbt, use_zarr3=zarr3)
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(directory.resolve() / "state", jax.tree.map(jnp.asarray, tree))
    return directory
