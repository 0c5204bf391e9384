import dataclasses
from collections import Counter

import numpy as np
import pytest

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.pipeline import MixtureDataConfig, MixtureSource, open_pipeline
from t5lite.data.prepare import write_pair_store
from t5lite.data.prompt import Prompt
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.vocabulary import open_vocabulary
from t5lite.decoding.answering import Answering
from tests.families import FAMILIES
from tests.small_tokenizers import write_gemma, write_roberta

ROOMY = {"inputs_length": 120, "targets_length": 80}


def segments(batch, side):
    """Return for each row the tokens of its segments, in order."""
    tokens = batch["encoder_input_tokens" if side == "encoder" else "decoder_target_tokens"]
    ids = batch[f"{side}_segment_ids"]
    return [
        [tuple(row[mask == segment].tolist()) for segment in range(1, mask.max() + 1)]
        for row, mask in zip(tokens, ids, strict=True)
    ]


@pytest.fixture(scope="module")
def pairs(pair_store):
    store = PairStore.open(pair_store)
    return [
        ((*store.inputs.document(i).tolist(), 1), (*store.targets.document(i).tolist(), 1))
        for i in range(store.num_pairs)
    ]


def check_layout(batch, start_id=0):
    for side in ("encoder", "decoder"):
        ids = batch[f"{side}_segment_ids"]
        steps = np.diff(ids, axis=1)
        assert ((steps == 0) | (steps == 1) | (ids[:, 1:] == 0)).all()
    weights = batch["decoder_loss_weights"]
    np.testing.assert_array_equal(weights, (batch["decoder_segment_ids"] > 0).astype(np.float32))
    for inputs, targets, ids in zip(
        batch["decoder_input_tokens"],
        batch["decoder_target_tokens"],
        batch["decoder_segment_ids"],
        strict=True,
    ):
        for segment in range(1, ids.max() + 1):
            where = ids == segment
            assert inputs[where].tolist() == [start_id, *targets[where].tolist()[:-1]]
        assert (inputs[ids == 0] == 0).all()
        assert (targets[ids == 0] == 0).all()


def test_unpacked_rows_are_single_padded_pairs(pair_store, pairs):
    pipeline = open_pipeline(PairsDataConfig(store=str(pair_store), **ROOMY), shuffle=False)
    assert pipeline.num_examples == len(pairs)
    batch = pipeline.batch(0, batch_size=len(pairs))
    check_layout(batch)
    assert segments(batch, "encoder") == [[inputs] for inputs, _ in pairs]
    assert segments(batch, "decoder") == [[targets] for _, targets in pairs]


def test_packed_rows_hold_every_pair_once_with_matching_segments(pair_store, pairs):
    unpacked = open_pipeline(PairsDataConfig(store=str(pair_store), **ROOMY))
    pipeline = open_pipeline(PairsDataConfig(store=str(pair_store), pack=True, **ROOMY), seed=3)
    assert pipeline.num_examples < len(pairs) / 2
    batch = pipeline.batch(0, batch_size=pipeline.num_examples)
    check_layout(batch)
    found = []
    for inputs, targets in zip(segments(batch, "encoder"), segments(batch, "decoder"), strict=True):
        found += zip(inputs, targets, strict=True)
    assert Counter(found) == Counter(pairs)
    assert pipeline.report["inputs_density"] > 1.5 * unpacked.report["inputs_density"]
    np.testing.assert_allclose(pipeline.report["inputs_density"], (batch["encoder_segment_ids"] > 0).mean())
    np.testing.assert_allclose(pipeline.report["targets_density"], (batch["decoder_segment_ids"] > 0).mean())


def test_every_target_starts_with_the_id_that_the_decoder_starts_with(pair_store):
    config = PairsDataConfig(store=str(pair_store), pack=True, **ROOMY)
    zero, seven = (
        open_pipeline(config, start_id=start_id, shuffle=False).batch(0, batch_size=8) for start_id in (0, 7)
    )
    check_layout(seven, start_id=7)
    for name in zero.keys() - {"decoder_input_tokens"}:
        np.testing.assert_array_equal(seven[name], zero[name])
    mixture = MixtureDataConfig(sources=(MixtureSource(name="pairs", data=config),))
    check_layout(open_pipeline(mixture, start_id=7, shuffle=False).batch(0, batch_size=8), start_id=7)


@pytest.mark.parametrize(("write", "before", "after"), [(write_gemma, (2,), ()), (write_roberta, (0,), (2,))])
def test_inputs_stand_in_the_vocabularys_own_frame(write, before, after, prose, tmp_path):
    """As an imported model was trained on them and is asked; targets end with EOS all the same."""
    texts = prose(30, seed=5)
    vocabulary = open_vocabulary(write(tmp_path / "tokenizer", texts))
    write_pair_store([(text, text[:20]) for text in texts], vocabulary, tmp_path / "store")
    config = PairsDataConfig(store=str(tmp_path / "store"), inputs_length=30, targets_length=60, pack=True)
    pipeline = open_pipeline(config, start_id=2, shuffle=False)
    batch = pipeline.batch(0, batch_size=pipeline.num_examples)
    check_layout(batch, start_id=2)
    room, encoded = 30 - len(before) - len(after), [vocabulary.encode(text).tolist() for text in texts]
    expected = [(*before, *ids[:room], *after) for ids in encoded]
    assert sorted(each for row in segments(batch, "encoder") for each in row) == sorted(expected)
    assert all(each[-1] == vocabulary.eos_id for row in segments(batch, "decoder") for each in row)
    assert pipeline.report["truncated"] == sum(len(ids) > room for ids in encoded)
    model = dataclasses.replace(FAMILIES["t5gemma"], vocab_size=vocabulary.size)
    mode = Answering(model, vocabulary, encoder_length=30, max_decode_length=4)
    for given in (texts[0], config.prompt(texts[0], vocabulary)):
        assert tuple(mode.row(given).ids) == expected[0]
    # Of a model that was trained on running text, as its objective has it.
    ids = mode.row(Prompt(vocabulary.encode(texts[0]), ends=True)).ids
    assert ids.tolist() == [*encoded[0][:29], vocabulary.eos_id]


def test_a_row_of_nothing_but_a_frame_is_refused(prose, tmp_path):
    vocabulary = open_vocabulary(write_roberta(tmp_path / "tokenizer", prose(30, seed=5)))
    write_pair_store([("a b", "c")], vocabulary, tmp_path / "store")
    with pytest.raises(ConfigError, match=r"inputs_length=2 has no room for a token beside the 2 .* use 3 "):
        open_pipeline(PairsDataConfig(store=str(tmp_path / "store"), inputs_length=2, targets_length=9))


@pytest.mark.parametrize("pack", [False, True])
def test_overlong_pairs_are_cut_before_eos_or_dropped(pair_store, pairs, pack):
    limits = {"inputs_length": 24, "targets_length": 16, "pack": pack}
    overlong = [pair for pair in pairs if len(pair[0]) > 24 or len(pair[1]) > 16]
    assert 0 < len(overlong) < len(pairs)
    cut = open_pipeline(PairsDataConfig(store=str(pair_store), **limits))
    assert (cut.report["truncated"], cut.report["dropped"]) == (len(overlong), 0)
    batch = cut.batch(0, batch_size=cut.num_examples)
    check_layout(batch)
    rows = [segment for row in segments(batch, "encoder") for segment in row]
    assert Counter(rows) == Counter((*inputs[:-1][:23], 1) for inputs, _ in pairs)
    dropping = open_pipeline(PairsDataConfig(store=str(pair_store), overlong="drop", **limits))
    assert (dropping.report["truncated"], dropping.report["dropped"]) == (0, len(overlong))
    batch = dropping.batch(0, batch_size=dropping.num_examples)
    rows = [segment for row in segments(batch, "decoder") for segment in row]
    assert Counter(rows) == Counter(
        targets for inputs, targets in pairs if len(inputs) <= 24 and len(targets) <= 16
    )


@pytest.mark.parametrize("pack", [False, True])
def test_eval_filling_keeps_segments_and_has_no_weight(pair_store, pack):
    pipeline = open_pipeline(PairsDataConfig(store=str(pair_store), pack=pack, **ROOMY))
    size = pipeline.num_examples - 1
    *_, last = pipeline.eval_batches(size)
    assert (last["decoder_loss_weights"][1:] == 0).all()
    assert last["decoder_loss_weights"][0].any()
    assert (last["encoder_segment_ids"].max(axis=1) > 0).all()


@pytest.mark.slow
def test_packed_batches_are_the_same_from_workers(pair_store):
    pipeline = open_pipeline(PairsDataConfig(store=str(pair_store), pack=True, **ROOMY), seed=1)
    received = list(pipeline.batches(batch_size=4, num_steps=2, num_workers=2))
    for step, batch in enumerate(received):
        for name, field in pipeline.batch(4 * step, batch_size=4).items():
            np.testing.assert_array_equal(batch[name], field)


def test_nothing_usable_and_wrong_lengths(pair_store):
    with pytest.raises(DataError, match=r"none of the 60 pairs .*overlong=truncate"):
        open_pipeline(
            PairsDataConfig(store=str(pair_store), inputs_length=2, targets_length=2, overlong="drop")
        )
    with pytest.raises(ConfigError, match="targets_length=1 must be at least 2"):
        PairsDataConfig(store=str(pair_store), targets_length=1)


@pytest.mark.parametrize("pack", [False, True])
def test_a_decoder_only_row_is_inputs_then_targets_with_loss_on_the_targets(pair_store, pairs, pack):
    config = PairsDataConfig(store=str(pair_store), pack=pack, **ROOMY)
    pipeline = open_pipeline(config, architecture="decoder_only")
    assert (pipeline.encoder_length, pipeline.decoder_length) == (0, 120 + 80 - 1)
    batch = pipeline.batch(0, batch_size=pipeline.num_examples)
    found = []
    names = ("input_tokens", "target_tokens", "loss_weights", "segment_ids", "bidirectional")
    rows = zip(*(batch[f"decoder_{name}"] for name in names), strict=True)
    for inputs, targets, weights, ids, given in rows:
        for segment in range(1, ids.max() + 1):
            where = ids == segment
            row = [*inputs[where].tolist(), int(targets[where][-1])]
            assert targets[where].tolist() == row[1:]
            asked = weights[where] == 1
            assert asked[np.flatnonzero(asked)[0] :].all()
            num_inputs = len(row) - int(asked.sum())
            np.testing.assert_array_equal(given[where] == 1, np.arange(len(asked)) < num_inputs)
            found.append((tuple(row[:num_inputs]), tuple(row[num_inputs:])))
        assert not weights[ids == 0].any()
        assert not given[ids == 0].any()
    assert Counter(found) == Counter(pairs)
    np.testing.assert_allclose(pipeline.report["density"], (batch["decoder_segment_ids"] > 0).mean())
