"""Laws of i.i.d. denoising, prefix LM, deshuffling and UL2: inputs and targets rebuild the chunk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError
from t5lite.data.indexed_random import derive_key
from t5lite.data.objectives.deshuffling import Deshuffling
from t5lite.data.objectives.iid_denoising import IidDenoising
from t5lite.data.objectives.prefix_lm import PrefixLM
from t5lite.data.objectives.sentinels import corrupt
from t5lite.data.objectives.span_corruption import SpanCorruption
from t5lite.data.objectives.ul2 import DENOISERS, Denoiser, Ul2, mode_ids, prompt_of_mode
from t5lite.data.vocabulary import ByteVocabulary, SentencePieceVocabulary

KEY = derive_key(0, "noise")
BOTH = pytest.mark.parametrize("architecture", ["encoder_decoder", "decoder_only"])
LENGTHS = st.integers(24, 200)
SEEDS = st.integers(0, 1 << 40)


def made(objective, architecture, vocabulary, *, length, seed=0, rows=4, limit=100):
    """Chunks and the fields that become of them."""
    layout = objective.layout(length, architecture)
    chunks = np.random.default_rng(seed).integers(3, limit, (rows, layout.tokens)).astype(np.uint16)
    fields = objective.fields(
        chunks, key=derive_key(seed, "noise"), indices=np.arange(rows), vocabulary=vocabulary, layout=layout
    )
    return chunks, fields


def both_sides(fields, row):
    """A row's inputs and targets as the model sees them, without padding."""
    if "encoder_input_tokens" in fields:
        inputs, targets = fields["encoder_input_tokens"][row], fields["decoder_target_tokens"][row]
        segments = fields.get("encoder_segment_ids", np.ones((row + 1, len(inputs))))[row]
        targets = targets[fields["decoder_loss_weights"][row] > 0]
        assert fields["decoder_input_tokens"][row][: len(targets)].tolist() == [0, *targets[:-1].tolist()]
        return inputs[segments > 0].tolist(), targets.tolist()
    read, wanted = fields["decoder_input_tokens"][row], fields["decoder_target_tokens"][row]
    weights, given_tokens = fields["decoder_loss_weights"][row], fields["decoder_bidirectional"][row]
    used = int(np.flatnonzero(weights)[-1]) + 1
    np.testing.assert_array_equal(read[1:used], wanted[: used - 1])
    num_inputs = int(given_tokens.sum())
    assert given_tokens[:num_inputs].all()
    np.testing.assert_array_equal(np.flatnonzero(weights), np.arange(num_inputs - 1, used))
    return read[:num_inputs].tolist(), wanted[num_inputs - 1 : used].tolist()


def rebuilt(inputs, targets, lowest_sentinel):
    """The text of inputs and targets whose spans alternate."""
    sides = []
    for side in (inputs, targets):
        runs = [[]]
        for token in side:
            if token >= lowest_sentinel:
                runs.append([])
            else:
                runs[-1].append(token)
        sides.append(runs)
    # Where the chunk begins with a masked span, the inputs begin with a sentinel and the targets do not.
    first, second = sides if inputs[0] < lowest_sentinel else sides[::-1]
    order = [run for pair in zip(first, [*second[1:], []], strict=False) for run in pair]
    return [token for run in order for token in run]


@BOTH
@settings(deadline=None, max_examples=30)
@given(length=LENGTHS, seed=SEEDS, density=st.floats(0.05, 0.9))
def test_iid_denoising_rebuilds_the_chunk(architecture, length, seed, density):
    vocabulary = ByteVocabulary(extra_ids=200)
    objective = IidDenoising(noise_density=density)
    objective.check_vocabulary(vocabulary, length, architecture)
    chunks, fields = made(objective, architecture, vocabulary, length=length, seed=seed)
    for row, chunk in enumerate(chunks.tolist()):
        inputs, targets = both_sides(fields, row)
        assert inputs.pop() == targets.pop() == 1
        assert rebuilt(inputs, targets, vocabulary.sentinel_ids.min()) == chunk
        for side in (inputs, targets):
            sentinels = [token for token in side if token >= vocabulary.sentinel_ids.min()]
            assert sentinels == [vocabulary.sentinel(number) for number in range(len(sentinels))]


def test_iid_tokens_are_masked_independently():
    mask = IidDenoising(noise_density=0.3).noise_mask(200, key=KEY, indices=np.arange(4000))
    np.testing.assert_allclose(mask.mean(axis=0), 0.3, atol=0.04)
    np.testing.assert_allclose((mask[:, 1:] & mask[:, :-1]).mean(), 0.09, atol=0.002)
    # The spread of a binomial: limits at five standard deviations cut next to nothing.
    assert mask.sum(axis=1).var() == pytest.approx(200 * 0.3 * 0.7, rel=0.1)


def test_iid_limits_are_kept(vocabulary):
    objective = IidDenoising()
    assert objective.limits(511)[1] + 1 <= 100  # T5's sentinels suffice for T5's length
    objective.check_vocabulary(SentencePieceVocabulary(vocabulary.path), 512, "encoder_decoder")

    class Unlucky(IidDenoising):
        def limits(self, raw_tokens):
            return 9, 4

    mask = Unlucky(noise_density=0.5).noise_mask(60, key=KEY, indices=np.arange(50))
    assert (mask.sum(axis=1) <= 9).all()
    assert (np.diff(mask.astype(int), axis=1, prepend=0) == 1).sum(axis=1).max() == 4


@BOTH
@settings(deadline=None, max_examples=30)
@given(length=LENGTHS, seed=SEEDS, density=st.floats(0.05, 0.5))
def test_prefix_lm_rebuilds_the_chunk(architecture, length, seed, density, vocabulary):
    objective = PrefixLM(noise_density=density)
    chunks, fields = made(objective, architecture, vocabulary, length=length, seed=seed)
    for row, chunk in enumerate(chunks.tolist()):
        inputs, targets = both_sides(fields, row)
        if architecture == "encoder_decoder":
            assert inputs.pop() == targets.pop() == 1
        assert inputs + targets == chunk
        assert objective.shortest_prefix(len(chunk)) <= len(inputs) < len(chunk)


def test_prefixes_are_uniform_and_ask_for_the_density():
    for density in (0.5, 0.25):
        lengths = PrefixLM(noise_density=density).prefix_lengths(101, key=KEY, indices=np.arange(20_000))
        counts = np.bincount(lengths, minlength=101)
        possible = np.flatnonzero(counts)
        assert (possible[0], possible[-1]) == (max(1, round(100 * (1 - 2 * density))), 100)
        expected = 20_000 / len(possible)
        assert ((counts[possible] - expected) ** 2 / expected).sum() < len(possible) + 5 * np.sqrt(
            2 * len(possible)
        )
        assert 1 - lengths.mean() / 101 == pytest.approx(density, abs=0.01)


@BOTH
@settings(deadline=None, max_examples=20)
@given(length=LENGTHS, seed=SEEDS)
def test_deshuffling_gives_the_same_tokens_in_another_order(architecture, length, seed, vocabulary):
    chunks, fields = made(Deshuffling(), architecture, vocabulary, length=length, seed=seed)
    for row, chunk in enumerate(chunks.tolist()):
        inputs, targets = both_sides(fields, row)
        assert inputs.pop() == targets.pop() == 1
        assert targets == chunk
        assert sorted(inputs) == sorted(chunk)
    assert length < 60 or inputs != targets


def test_every_token_may_go_anywhere():
    layout = Deshuffling().layout(9, "encoder_decoder")
    chunks = np.tile(np.arange(3, 11), (8000, 1))
    fields = Deshuffling().fields(
        chunks, key=KEY, indices=np.arange(8000), vocabulary=ByteVocabulary(), layout=layout
    )
    places = fields["encoder_input_tokens"][:, :-1]
    share = np.stack([(places == token).mean(axis=0) for token in range(3, 11)])
    np.testing.assert_allclose(share, 1 / 8, atol=0.02)


@settings(deadline=None, max_examples=30)
@given(length=st.integers(24, 300), seed=SEEDS)
def test_span_corruption_in_one_row_rebuilds_the_chunk(length, seed, vocabulary):
    chunks, fields = made(SpanCorruption(), "decoder_only", vocabulary, length=length, seed=seed)
    padding = fields.get("decoder_segment_ids", np.ones((4, length)))
    assert length - 2 <= padding.sum(axis=1).min()
    for row, chunk in enumerate(chunks.tolist()):
        inputs, targets = both_sides(fields, row)
        assert inputs.pop() == targets.pop() == 1
        assert inputs[0] == chunk[0]
        assert targets[-1] == chunk[-1]
        assert rebuilt(inputs, targets, vocabulary.sentinel_ids.min()) == chunk


@BOTH
@settings(deadline=None, max_examples=30)
@given(length=st.integers(24, 300), seed=SEEDS)
def test_a_rotated_mask_rebuilds_the_chunk(architecture, length, seed, vocabulary):
    objective = SpanCorruption(random_roll=True)
    chunks, fields = made(objective, architecture, vocabulary, length=length, seed=seed)
    num_spans = objective.num_sentinels(chunks.shape[1])
    for row, chunk in enumerate(chunks.tolist()):
        inputs, targets = both_sides(fields, row)
        assert inputs.pop() == targets.pop() == 1
        assert rebuilt(inputs, targets, vocabulary.sentinel_ids.min()) == chunk
        for side in (inputs, targets):
            sentinels = sum(token >= vocabulary.sentinel_ids.min() for token in side)
            assert num_spans - 1 <= sentinels <= num_spans


def test_a_rotated_mask_hides_every_place_equally_often():
    mask = SpanCorruption(random_roll=True).noise_mask(64, key=KEY, indices=np.arange(8000))
    assert (mask.sum(axis=1) == 10).all()
    np.testing.assert_allclose(mask.mean(axis=0), 10 / 64, atol=0.02)


@settings(deadline=None, max_examples=40)
@given(length=LENGTHS, seed=SEEDS)
def test_what_fields_are_made_of_is_the_noise_mask(length, seed, vocabulary):
    objective, indices, key = SpanCorruption(), np.arange(4), derive_key(seed, "noise")
    chunks, fields = made(objective, "encoder_decoder", vocabulary, length=length, seed=seed)
    mask = objective.noise_mask(chunks.shape[1], key=key, indices=indices)
    sides = corrupt(chunks, mask, sentinel_ids=vocabulary.sentinel_ids)
    targets_length = fields["decoder_target_tokens"].shape[1]
    np.testing.assert_array_equal(fields["encoder_input_tokens"], sides.inputs_BM[:, :length])
    np.testing.assert_array_equal(fields["decoder_target_tokens"], sides.targets_BL[:, :targets_length])
    assert (sides.inputs_lengths_B == length).all()
    assert (sides.targets_lengths_B == targets_length).all()


@BOTH
@settings(deadline=None, max_examples=30)
@given(length=st.integers(40, 300), seed=SEEDS)
def test_ul2_rebuilds_the_chunk_and_says_the_mode(architecture, length, seed, vocabulary):
    objective, rows = Ul2(), 12
    chunks, fields = made(objective, architecture, vocabulary, length=length, seed=seed, rows=rows)
    drawn = objective.draw(key=derive_key(seed, "noise"), indices=np.arange(rows))
    modes = mode_ids(vocabulary)
    for row, chunk in enumerate(chunks.tolist()):
        denoiser = objective.denoisers[drawn[row]]
        inputs, targets = both_sides(fields, row)
        assert inputs.pop(0) == modes[denoiser.mode]
        assert targets.pop() == 1
        num_noise = SpanCorruption(noise_density=denoiser.noise_density).counts(len(chunk))[0]
        sentinels = [token for token in targets if token >= vocabulary.sentinel_ids.min()]
        assert len(sentinels) == denoiser.num_sentinels(len(chunk))
        assert len(targets) - len(sentinels) == num_noise
        if denoiser.is_prefix:
            assert architecture == "decoder_only" or inputs.pop() == 1
            assert inputs + targets == chunk
        else:
            assert inputs.pop() == 1
            assert inputs[0] == chunk[0]
            assert rebuilt(inputs, targets, vocabulary.sentinel_ids.min()) == chunk


def test_ul2_draws_by_weight_and_apart_from_the_spans():
    weights = (3.0, 1.0)
    objective = Ul2(denoisers=tuple(Denoiser(weight=weight) for weight in weights))
    drawn = objective.draw(key=KEY, indices=np.arange(20_000))
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, [0.75, 0.25], atol=0.015)
    # Spans of the rows that drew one denoiser are distributed as of any rows.
    masks = SpanCorruption().noise_mask(40, key=KEY, indices=np.arange(20_000))
    np.testing.assert_allclose(masks[drawn == 1].mean(axis=0), masks.mean(axis=0), atol=0.03)
    even = np.bincount(Ul2().draw(key=KEY, indices=np.arange(20_000)), minlength=7) / 20_000
    np.testing.assert_allclose(even, 1 / 7, atol=0.012)


def test_ul2_lengths_fit_every_denoiser_and_the_longest_fills(vocabulary):
    for length in (64, 512):
        for architecture in ("encoder_decoder", "decoder_only"):
            layout = Ul2().layout(length, architecture)
            one_row = architecture == "decoder_only"
            used = [
                each.row_length(layout.tokens) if one_row else each.lengths(layout.tokens)[0]
                for each in DENOISERS
            ]
            assert length - 2 <= max(used) <= length
    assert Ul2().layout(512, "encoder_decoder") == (567, 567, 512, 380, 0)
    Ul2().check_vocabulary(SentencePieceVocabulary(vocabulary.path), 512, "encoder_decoder")
    assert Ul2().layout(512, "decoder_only") == (382, 382, 0, 512, 0)


def test_modes_are_the_vocabularys_own_tokens_or_its_last_sentinels(vocabulary):
    assert mode_ids(vocabulary) == {mode: vocabulary.sentinel(99 - i) for i, mode in enumerate("RSX")}

    class WithModes(ByteVocabulary):
        def encode(self, text, *, parse_sentinels=False):
            names = {"[NLU]": 200, "[S2S]": 201, "[NLG]": 202}
            return np.array([names[text]]) if text in names else super().encode(text)

    assert mode_ids(WithModes()) == {"R": 200, "S": 201, "X": 202}
    for written in ("[S] bake", "[S2S] bake"):
        mode, ids = prompt_of_mode(written, vocabulary)
        assert mode == "S"
        assert ids.tolist() == [vocabulary.sentinel(98), *vocabulary.encode("bake").tolist()]
    mode, ids = prompt_of_mode("bake", vocabulary)
    assert mode is None
    assert ids.tolist() == vocabulary.encode("bake").tolist()


def test_a_denoiser_without_mode_puts_no_token(vocabulary):
    objective = Ul2(denoisers=(Denoiser(mode=None),))
    layout = objective.layout(64, "encoder_decoder")
    assert layout.tokens == SpanCorruption().chunk_length(64)[0]
    chunks, fields = made(objective, "encoder_decoder", vocabulary, length=64)
    assert (fields["encoder_input_tokens"][:, 0] == chunks[:, 0]).all()
    poor = SentencePieceVocabulary(vocabulary.path, extra_ids=3)
    objective.check_vocabulary(poor, 64, "encoder_decoder")
    with pytest.raises(ConfigError, match=r"uses 6 sentinels.*extra_ids=3"):
        Ul2(denoisers=(Denoiser(),)).check_vocabulary(poor, 64, "encoder_decoder")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IidDenoising(noise_density=1.0), "noise_density=1.0"),
        (lambda: PrefixLM(noise_density=0.6), "noise_density=0.6"),
        (lambda: Ul2(denoisers=()), "denoisers is empty"),
        (lambda: Denoiser(weight=0.0), "weight=0.0"),
        (lambda: Denoiser(noise_density=0.0), "noise_density=0.0"),
        (lambda: Denoiser(mean_span_length=0.5), "mean_span_length=0.5"),
        (lambda: IidDenoising().layout(1, "encoder_decoder"), "inputs_length=1 "),
        (lambda: IidDenoising().layout(3, "decoder_only"), "inputs_length=3 "),
        (lambda: PrefixLM().layout(1, "decoder_only"), "inputs_length=1 "),
        (lambda: Deshuffling().layout(4, "decoder_only"), "inputs_length=4 "),
        (lambda: SpanCorruption().layout(3, "decoder_only"), "inputs_length=3 "),
        (lambda: Ul2().layout(3, "encoder_decoder"), "inputs_length=3 "),
    ],
)
def test_settings_that_cannot_be(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
