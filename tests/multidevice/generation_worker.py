"""Lets two tiny models write on one device and on eight; prints what they wrote and what a device holds.

One of them also does what the server and the harness ask: token by token, and scores, with int8 kernels.

A process of its own, because the number of CPU devices is fixed when JAX starts:
``XLA_FLAGS=--xla_force_host_platform_device_count=8 python generation_worker.py``.
"""

import json
import sys

import jax
import numpy as np

from t5lite.data.vocabulary.byte_vocabulary import ByteVocabulary
from t5lite.decoding import Row
from t5lite.evaluation.stepwise_generation import StepwiseGenerator, Wanted
from t5lite.evaluation.text_generation import GenerationSizes, TextGenerator
from t5lite.evaluation.text_scoring import GivenTarget, TargetScorer
from t5lite.models.config import AttentionConfig, DecoderOnlyConfig, EncoderDecoderConfig, RotaryPositions
from t5lite.models.functional import build
from t5lite.models.layers.int8_kernel import Int8Kernel
from t5lite.models.quantization import quantized, with_kernels
from t5lite.partitioning import make_partitioner
from t5lite.runner.generation import generation_partitioning
from t5lite.runner.loading import sharded_abstract_params

BATCH_SIZE, ENCODER_LENGTH, WRITTEN = 4, 24, 13
TEXTS = ["a text", "", "another, which is longer", "z", "five", "six of them"]


class Ids(ByteVocabulary):
    """Shows what was written as it is: most bytes are no text."""

    def decode(self, ids):
        """Return the ids."""
        return " ".join(map(str, ids))


FIELDS = {"embed_dim": 32, "mlp_dim": 60, "head_dim": 4, "num_heads": 8}
MODELS = {
    "answers": EncoderDecoderConfig(
        vocab_size=Ids().size, num_encoder_layers=1, num_decoder_layers=2, tie_embeddings=False, **FIELDS
    ),
    "continues": DecoderOnlyConfig(
        vocab_size=Ids().size,
        num_layers=2,
        num_kv_heads=4,
        positions=RotaryPositions(),
        attention=AttentionConfig(windows=(6, None)),
        **FIELDS,
    ),
}


class Kept:
    """A function that keeps what it returns."""

    def __init__(self, function):
        self.function, self.results = function, []

    def __call__(self, *arguments):
        self.results.append(self.function(*arguments))
        return self.results[-1]


def share_of_cache(model, params, partitioner):
    """Return which share of the bytes of a cache a device holds: of keys and values read, and written."""
    wanted = [Wanted(row=Row(np.arange(2, 8, dtype=np.int32), 6), max_tokens=WRITTEN)] * BATCH_SIZE
    writing = StepwiseGenerator(model, Ids(), partitioner=partitioner).write(params, wanted)
    list(writing.step())
    leaves = jax.tree.leaves(writing._cache)
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
    return held / sum(leaf.nbytes for leaf in leaves)


def written(config):
    """Return texts and bytes of parameters, on one device and on all, and of a cache a device's share."""
    model = build(config)
    sizes = GenerationSizes(encoder_length=ENCODER_LENGTH, max_decode_length=WRITTEN, batch_size=BATCH_SIZE)
    rng = np.random.default_rng(0)
    values = jax.tree.map(lambda x: 0.3 * rng.standard_normal(x.shape, np.float32), model.abstract_params)
    partitioner = make_partitioner(generation_partitioning(config, jax.device_count()))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, sharded_abstract_params(model, partitioner))
    results = {}
    for name, params, over in (
        ("alone", jax.device_put(values, jax.devices()[0]), None),
        ("together", jax.device_put(values, shardings), partitioner),
    ):
        generator = TextGenerator(model, Ids(), sizes, partitioner=over)
        generator._decode = kept = Kept(generator._decode)
        texts = [output.text for output in generator(params, TEXTS)]
        held = [leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(params)]
        everywhere = all(leaf.is_fully_replicated for leaf in jax.tree.leaves(kept.results))
        results[name] = {"texts": texts, "bytes": sum(held), "everywhere": everywhere}
    share = share_of_cache(model, params, partitioner)
    return {**results, "mesh": dict(partitioner.mesh.shape), "share_of_cache": share}


def served(config):
    """Return texts, scores and bytes of int8 parameters, on one device and on all."""
    plain = build(config)
    model = quantized(plain)
    rng = np.random.default_rng(0)
    values = jax.tree.map(lambda x: 0.3 * rng.standard_normal(x.shape, np.float32), plain.abstract_params)
    values = with_kernels(plain, values, lambda kernel: Int8Kernel.of(jax.numpy.asarray(kernel)))
    partitioner = make_partitioner(generation_partitioning(config, jax.device_count()))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, sharded_abstract_params(model, partitioner))
    wanted = [
        Wanted(row=Row(np.arange(2, 5 + each, dtype=np.int32), 3 + each), max_tokens=WRITTEN)
        for each in range(3)
    ]
    given = [GivenTarget([2, 3, 4], [5, 6]), GivenTarget([9], [8, 7, 6])]
    results = {}
    for name, params, over in (
        ("alone", jax.device_put(values, jax.devices()[0]), None),
        ("together", jax.device_put(values, shardings), partitioner),
    ):
        writing = StepwiseGenerator(model, Ids(), partitioner=over).write(params, wanted)
        tokens = [[] for _ in wanted]
        while writing.unfinished:
            for piece in writing.step():
                tokens[piece.number].append(piece.token)
        scorer = TargetScorer(model, batch_size=1, partitioner=over)
        scores = [score.log_probs.tolist() for score in scorer.scores(params, given)]
        held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(params))
        results[name] = {"tokens": tokens, "scores": scores, "bytes": held}
    return results


def main():
    results = {name: written(config) for name, config in MODELS.items()}
    json.dump({**results, "served": served(MODELS["continues"])}, sys.stdout)


if __name__ == "__main__":
    main()
