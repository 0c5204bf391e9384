"""Masked LM in packed rows, and by a share that changes as training goes on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.indexed_random import derive_key
from t5lite.data.left_out import LeftOut
from t5lite.data.objectives.masked_lm import MaskedLM
from t5lite.data.pipeline import MixtureDataConfig, MixtureSource, open_pipeline
from t5lite.data.stores.document_stream import DocumentStream
from t5lite.data.stores.token_store import TokenStore, TokenStoreWriter
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.models.functional import build
from t5lite.runner.data_messages import unreached_settings
from t5lite.training.losses import token_losses
from tests.families import FAMILIES

PHASES = MaskedLM(
    mask_probability=0.3, later_mask_probabilities=((37, 0.15), (80, 0.05)), heldout_mask_probability=0.2
)


def segments_of(batch, name="target_tokens"):
    """The sequences of the rows in order."""
    return [
        batch[f"encoder_{name}"][row][batch["encoder_segment_ids"][row] == segment]
        for row in range(len(batch["encoder_segment_ids"]))
        for segment in range(1, batch["encoder_segment_ids"][row].max() + 1)
    ]


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=8, max_size=40),
    inputs_length=st.integers(5, 24),
    whole_words=st.booleans(),
    seed=st.integers(0, 1 << 20),
)
def test_a_segment_is_a_framed_piece_of_one_document_and_no_token_is_lost(
    tmp_path_factory, vocabulary, lengths, inputs_length, whole_words, seed
):
    # Each document has a token of its own, which says where its pieces are from.
    documents = [np.full(length, 3 + number) for number, length in enumerate(lengths)]
    path = tmp_path_factory.mktemp("documents") / "store"
    with TokenStoreWriter(path, vocabulary=vocabulary) as writer:
        writer.add_batch(documents)
    special = special_tokens(vocabulary)
    config = PretrainingDataConfig(
        store=str(path), inputs_length=inputs_length, objective=MaskedLM(pack=True, whole_words=whole_words)
    )
    pipeline = open_pipeline(config, seed=seed, shuffle=False)
    batch = pipeline.batch(0, batch_size=pipeline.num_examples)
    assert set(batch) == pipeline.spec.fields
    segment_ids = batch["encoder_segment_ids"]
    assert ((segment_ids == 0).sum(axis=1) <= 4).all()
    # Ascending by at most one and from 1 on, then the rest.
    steps = np.diff(segment_ids, axis=1)
    assert (segment_ids[:, 0] == 1).all()
    assert ((steps == 0) | (steps == 1) | (segment_ids[:, 1:] == 0)).all()
    assert (np.diff(segment_ids == 0, axis=1) >= 0).all()
    pieces = []
    for tokens in segments_of(batch):
        assert (tokens[0], tokens[-1]) == (special.cls, special.sep)
        assert len(set(tokens[1:-1].tolist())) == 1
        pieces.append(tokens[1:-1])
    found, stream = np.concatenate(pieces), np.concatenate(documents)
    np.testing.assert_array_equal(found, stream[: len(found)])
    left = pipeline.report["tokens_left_over"]
    assert len(stream) - len(found) <= left < inputs_length - 2
    # Only tokens of documents are asked for; what is not asked for is read as it is.
    asked = batch["encoder_loss_weights"] > 0
    assert asked.any(axis=1).all()
    inputs, targets = batch["encoder_input_tokens"], batch["encoder_target_tokens"]
    assert (targets[asked] >= 3).all()
    assert not np.isin(targets[asked], [special.cls, special.sep, special.mask]).any()
    assert not asked[segment_ids == 0].any()
    assert not inputs[segment_ids == 0].any()
    np.testing.assert_array_equal(inputs[~asked], targets[~asked])
    # Any row alone is the same.
    row = pipeline.num_examples // 2
    alone = pipeline.batch(row, batch_size=1)
    for name, field in batch.items():
        np.testing.assert_array_equal(alone[name][0], field[row])


@settings(deadline=None, max_examples=40)
@given(start=st.integers(0, 10**6), length=st.integers(3, 200), count=st.integers(1, 3))
def test_any_chunk_of_a_stream_with_several_separators(text_store, start, length, count):
    store, separators = TokenStore.open(text_store), (1, 140, 141)[:count]
    documents = [np.append(store.document(i), separators) for i in range(store.num_documents)]
    whole, stream = np.concatenate(documents), DocumentStream(store, separators)
    assert stream.num_tokens == len(whole)
    start %= len(whole) - length
    np.testing.assert_array_equal(stream.chunks(np.array([start]), length)[0], whole[start : start + length])
    ends = np.cumsum([len(document) for document in documents])
    assert stream.documents_at(np.array([start]))[0] == np.searchsorted(ends, start, side="right")


def test_the_share_that_is_asked_for_follows_the_number_of_the_example(text_store):
    config = PretrainingDataConfig(store=str(text_store), inputs_length=62, objective=PHASES)
    pipeline = open_pipeline(config, seed=1)
    weights = pipeline.batch(0, batch_size=120)["encoder_loss_weights"]
    separators = pipeline.batch(0, batch_size=120)["encoder_target_tokens"] == 1
    candidates = 60 - separators[:, 1:-1].sum(axis=1)
    shares = np.repeat([0.3, 0.15, 0.05], [37, 43, 40])
    np.testing.assert_array_equal(weights.sum(axis=1), np.round(candidates * shares))
    # Going on anywhere, with batches of another size and on another host, is the same.
    for start, size in ((30, 15), (36, 2), (79, 3)):
        again = pipeline.batch(start, batch_size=size, rows=slice(1, size))["encoder_loss_weights"]
        np.testing.assert_array_equal(again, weights[start + 1 : start + size])
    for heldout, share in ((PHASES, 0.2), (MaskedLM(later_mask_probabilities=((9, 0.4),)), 0.4)):
        measured = PretrainingDataConfig(store="x", inputs_length=62, objective=heldout).held_out(
            str(text_store)
        )
        (batch,) = open_pipeline(measured).eval_batches(pipeline.num_examples)
        candidates = 60 - (batch["encoder_target_tokens"] == 1)[:, 1:-1].sum(axis=1)
        np.testing.assert_array_equal(batch["encoder_loss_weights"].sum(axis=1), np.round(candidates * share))
    assert MaskedLM(mask_probability=0.3).held_out() == MaskedLM(mask_probability=0.3)


def test_the_share_of_all_tokens_is_binomial_by_phase(vocabulary):
    rows = np.arange(0, 120, 3)
    tokens = np.random.default_rng(0).integers(3, 100, (len(rows), 61))
    fields = PHASES.fields(
        tokens,
        key=derive_key(0, "noise"),
        indices=rows,
        vocabulary=vocabulary,
        layout=PHASES.layout(63, "encoder_only"),
    )
    asked = fields["encoder_loss_weights"][:, 1:-1] == 1
    for first, stop, share in ((0, 37, 0.3), (37, 80, 0.15), (80, 120, 0.05)):
        inside = asked[(rows >= first) & (rows < stop)]
        deviation = np.sqrt(share * (1 - share) / inside.size)
        assert abs(inside.mean() - share) < 4 * deviation


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"pack": True, "next_sentence": True},
            "pack=True .* next_sentence=True .*; set one of them to False",
        ),
        ({"later_mask_probabilities": ((0, 0.1),)}, "must begin after 0 examples"),
        ({"later_mask_probabilities": ((9, 0.1), (9, 0.2))}, "each after the one before"),
        ({"later_mask_probabilities": ((1e6, 0.1),)}, r"=\(\(1000000.0, 0.1\),\) must .* in whole numbers"),
        (
            {"later_mask_probabilities": ((9, 1.0),)},
            r"later_mask_probabilities=\(\(9, 1.0\),\): the share=1.0 must",
        ),
        ({"heldout_mask_probability": 0.0}, "heldout_mask_probability=0.0 must lie strictly between"),
    ],
)
def test_settings_that_contradict_each_other(settings, message):
    with pytest.raises(ConfigError, match=message):
        MaskedLM(**settings)


def test_packed_rows_need_room_and_two_different_ids(vocabulary, monkeypatch):
    with pytest.raises(ConfigError, match="inputs_length=4 must be at least 5"):
        MaskedLM(pack=True).layout(4, "encoder_only")
    with pytest.raises(ConfigError, match=r"or set data\.objective\.next_sentence=True and pack=False$"):
        MaskedLM(pack=True).check_head("pretraining")
    monkeypatch.setattr(type(vocabulary), "cls_id", 1)
    with pytest.raises(ConfigError, match=r"one id, 1, for \[CLS\] and \[SEP\].*pack=False"):
        MaskedLM(pack=True).check_vocabulary(vocabulary, 32, "encoder_only")


def test_a_packed_row_is_computed_and_counted_as_its_sequences_are_alone(text_store):
    config = PretrainingDataConfig(
        store=str(text_store), inputs_length=60, objective=MaskedLM(pack=True, mask_probability=0.4)
    )
    packed = open_pipeline(config, seed=2).batch(0, batch_size=3)
    vocab_size = TokenStore.open(text_store).vocabulary().size
    model = build(dataclasses.replace(FAMILIES["modernbert"], vocab_size=vocab_size, num_layers=2))
    names = [name for name in packed if name != "encoder_segment_ids"]
    sequences = [segments_of(packed, name.removeprefix("encoder_")) for name in names]
    count = len(sequences[0])
    assert count > 2 * len(packed["encoder_segment_ids"])
    alone = {name: np.zeros((count, 60), packed[name].dtype) for name in packed}
    for name, pieces in zip(names, sequences, strict=True):
        for row, piece in enumerate(pieces):
            alone[name][row, : len(piece)] = piece
            alone["encoder_segment_ids"][row, : len(piece)] = 1

    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.5 * rng.standard_normal(leaf.shape), leaf.dtype), model.abstract_params
    )

    @jax.jit
    def computed(batch):
        logits = model.bind(params)(batch)["tokens"]
        return logits, [
            token_losses(
                logits[rows], batch["encoder_target_tokens"][rows], batch["encoder_loss_weights"][rows]
            )
            for rows in (slice(3), slice(3, None))
        ]

    both = {name: np.concatenate([packed[name], alone[name]]) for name in packed}
    logits, (together, apart) = computed(both)
    assert np.std(logits) > 0.1
    inside = both["encoder_segment_ids"] > 0
    np.testing.assert_allclose(logits[:3][inside[:3]], logits[3:][inside[3:]], rtol=0, atol=2e-5)
    assert together.objective.weight == apart.objective.weight > 20
    np.testing.assert_allclose(together.objective.total, apart.objective.total, rtol=1e-5)


def test_shares_are_said_and_so_are_those_that_are_never_reached(text_store):
    config = PretrainingDataConfig(store=str(text_store), inputs_length=62, objective=PHASES)
    assert config.remark == (
        "share of the tokens that is asked for: 0.3, from row 37 on 0.15, from row 80 on 0.05; "
        "in evaluations 0.2"
    )
    plain = dataclasses.replace(config, objective=MaskedLM(mask_probability=0.3))
    assert plain.remark is None
    mixture = MixtureDataConfig(
        sources=(
            MixtureSource(name="plain", data=plain, weight=1),
            MixtureSource(name="phases", data=config, weight=1),
        )
    )
    for data, before in ((config, ""), (mixture, "source phases: ")):
        pipeline = open_pipeline(data)
        scale = len(pipeline.sources)
        (message,) = unreached_settings(data, pipeline, examples=60 * scale)
        assert message.startswith(
            f"{before}later_mask_probabilities ((80, 0.05),) are never reached: the run ends "
        )
        (both,) = unreached_settings(data, pipeline, examples=37 * scale)
        assert "((37, 0.15), (80, 0.05))" in both
        assert unreached_settings(data, pipeline, examples=82 * scale) == []
    left = open_pipeline(config)
    left.leave_out(LeftOut(((3, 9),)))
    assert unreached_settings(config, left, examples=75) == []
