"""What the made-up architecture of docs/extending.md is, beside what is said of it; printed as JSON.

A process of its own over a copy of the package that has the page's files, with ``recipe.py`` beside it.
"""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from t5lite import run_config
from t5lite.decoding.greedy import greedy_continuation
from t5lite.models.flops import train_flops_per_token
from t5lite.models.functional import build
from t5lite.models.parameter_count import count_parameters
from t5lite.optim import AdamWConfig
from t5lite.planning.compiled.compile import BatchShape
from t5lite.planning.hardware.topology import parse_topology
from t5lite.planning.predicted.cost_model import CostModel
from t5lite.planning.search.candidates import search
from t5lite.planning.search.workload import planned_optimizer

LENGTH, NUM_WRITTEN = 5, 9


def written(model, params):
    """Return what a prompt and a padded one are continued by: with the ring cache, and without."""
    rng = np.random.default_rng(0)
    tokens_BL = rng.integers(2, model.config.vocab_size, (2, LENGTH + NUM_WRITTEN)).astype(np.int32)
    first_B = np.array([0, 2], np.int32)
    cached = greedy_continuation(
        model.bind(params),
        jnp.asarray(tokens_BL[:, :LENGTH]),
        first_B=jnp.asarray(first_B),
        max_decode_length=NUM_WRITTEN,
        eos_id=None,
    )
    segment_ids_BL = (np.arange(tokens_BL.shape[1])[None] >= first_B[:, None]).astype(np.int32)
    forward = jax.jit(
        lambda tokens_BL: model.bind(params)(
            {"decoder_input_tokens": tokens_BL, "decoder_segment_ids": segment_ids_BL}
        )
    )
    for place in range(LENGTH, LENGTH + NUM_WRITTEN):
        tokens_BL[:, place] = np.argmax(forward(tokens_BL)[:, place - 1], axis=-1)
    return np.asarray(cached).tolist(), tokens_BL[:, LENGTH:].tolist()


def main():
    config = run_config.load(Path("recipe.py")).model
    model = build(config)
    optimizer = planned_optimizer(AdamWConfig(), model)
    batch = BatchShape(batch_size=64, encoder_length=0, decoder_length=64)
    found = search(CostModel(model, optimizer, parse_topology("v5e:2x2"), batch))
    cached, uncached = written(model, model.init(jax.random.key(0)))
    wider = dataclasses.replace(config, global_mlp_dim=config.global_mlp_dim + 1)
    farther = dataclasses.replace(config, window=config.window + 1)

    def flops(each):
        return train_flops_per_token(each, decoder_length=64)

    print(
        json.dumps(
            {
                "parameters": [count_parameters(config), model.num_params],
                "flops_of_a_wider_mlp": flops(wider) - flops(config),
                "flops_of_a_wider_window": flops(farther) - flops(config),
                "cached": cached,
                "uncached": uncached,
                "plans": len(found.ranked),
            }
        )
    )


if __name__ == "__main__":
    main()
