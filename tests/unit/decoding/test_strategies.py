"""Laws of strategies that no other implementation is needed for."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.core.errors import ConfigError
from t5lite.decoding import (
    STRATEGIES,
    AnsweringDecoder,
    Beam,
    Contrastive,
    DecodingConfig,
    DiverseBeam,
    Greedy,
    Read,
    Sampling,
    run_search,
    score_targets,
)
from t5lite.decoding.decoder import Start
from t5lite.decoding.options import DecodingOptions
from t5lite.decoding.search import begin, resume
from t5lite.models.functional import build
from tests.families import FAMILIES, VOCAB_SIZE

pytestmark = pytest.mark.slow

LENGTH, NEW, EOS = 6, 5, 1


@pytest.fixture(scope="module")
def writes():
    """A function that writes for rows, of one model."""
    model = build(FAMILIES["t5-1.1"])
    params = jax.jit(model.init)(jax.random.key(0))
    # A table of larger values makes probabilities that differ.
    params = jax.tree.map(lambda x: 3 * x, params)

    def write(decoding, tokens_BM, indices_B=None, eos_ids=(EOS,), known_V=None):
        search = decoding.search(
            max_decode_length=NEW, eos_ids=eos_ids, known_V=known_V, vocab_size=VOCAB_SIZE
        )

        @jax.jit
        def run(params, tokens_BM, indices_B):
            return run_search(
                AnsweringDecoder(model.bind(params), NEW),
                tokens_BM,
                (tokens_BM > 0).astype(jnp.int32),
                strategy=decoding.strategy,
                search=search,
                indices_B=indices_B,
            )

        return jax.device_get(run(params, tokens_BM, indices_B))

    write.model, write.params = model, params
    return write


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    tokens_BM = rng.integers(2, VOCAB_SIZE, (6, LENGTH)).astype(np.int32)
    return np.where(np.arange(LENGTH)[None] < rng.integers(1, LENGTH + 1, (6, 1)), tokens_BM, 0)


def test_what_is_drawn_depends_on_seed_input_and_step_alone(writes, rows):
    strategy = Sampling(temperature=2.0, num_return_sequences=3, seed=7)
    decoding = DecodingConfig(strategy=strategy, log_probs=True)
    together = writes(decoding, rows)
    texts_BNL = together.tokens_RL.reshape(6, 3, NEW)
    assert len({text.tobytes() for text in texts_BNL.reshape(-1, NEW)}) > 12
    order = np.array([4, 1])
    padded = np.pad(rows[order], ((0, 0), (0, 3)))
    found = writes(decoding, padded, order.astype(np.int32))
    np.testing.assert_array_equal(found.tokens_RL.reshape(2, 3, NEW), texts_BNL[order])
    np.testing.assert_allclose(
        found.log_probs_RL.reshape(2, 3, NEW), together.log_probs_RL.reshape(6, 3, NEW)[order], atol=1e-4
    )
    other = writes(DecodingConfig(strategy=dataclasses.replace(strategy, seed=8)), rows)
    assert (other.tokens_RL != together.tokens_RL).any()


def test_draws_have_the_probabilities_of_the_logits():
    """Chi-square over 20,000 draws of one step, of a fixed seed: 99.9 % of all seeds stay below the bound."""
    logits_V = np.array([1.0, 0.0, -1.0, 2.0, -np.inf, 0.5], np.float32)
    num_draws = 20_000
    keys_R = Sampling(seed=3).keys(jnp.arange(num_draws), num_draws)
    draw = jax.jit(jax.vmap(lambda key: jax.random.categorical(jax.random.fold_in(key, 2), logits_V)))
    state = _DrawingState(keys_R, jnp.int32(2))
    drawn_R = jax.jit(lambda logits: Sampling(seed=3).pick(logits, state))(jnp.tile(logits_V, (num_draws, 1)))
    np.testing.assert_array_equal(drawn_R, draw(keys_R))
    counts_V = np.bincount(drawn_R, minlength=6)
    expected_V = num_draws * np.exp(logits_V) / np.exp(logits_V).sum()
    assert counts_V[4] == 0
    seen = expected_V > 0
    assert np.sum((counts_V[seen] - expected_V[seen]) ** 2 / expected_V[seen]) < 18.47  # 4 degrees


@dataclasses.dataclass
class _DrawingState:
    keys_R: jax.Array
    num_decoded: jax.Array


def test_one_beam_is_greedy_search_and_sequences_come_in_order(writes, rows):
    greedy = writes(DecodingConfig(strategy=Greedy(), log_probs=True), rows)
    beam = writes(DecodingConfig(strategy=Beam(num_beams=1, length_penalty=0.0), log_probs=True), rows)
    np.testing.assert_array_equal(beam.tokens_RL, greedy.tokens_RL)
    np.testing.assert_allclose(beam.log_probs_RL, greedy.log_probs_RL, atol=1e-5)
    np.testing.assert_allclose(beam.scores_R, greedy.log_probs_RL.sum(axis=1), atol=1e-5)
    several = writes(
        DecodingConfig(
            strategy=Beam(num_beams=5, num_return_sequences=5, length_penalty=0.0), log_probs=True
        ),
        rows,
    )
    scores_BN = several.scores_R.reshape(6, 5)
    assert (np.diff(scores_BN, axis=1) <= 0).all()
    np.testing.assert_allclose(several.scores_R, several.log_probs_RL.sum(axis=1), atol=1e-4)
    for texts in several.tokens_RL.reshape(6, 5, NEW):
        assert len({text.tobytes() for text in texts}) == 5
    alone = writes(DecodingConfig(strategy=Beam(num_beams=5, num_return_sequences=5)), rows[2:3])
    company = writes(DecodingConfig(strategy=Beam(num_beams=5, num_return_sequences=5)), rows)
    np.testing.assert_array_equal(alone.tokens_RL, company.tokens_RL[10:15])


def test_contrastive_search_of_one_candidate_or_without_penalty_is_greedy_search(writes, rows):
    ends = (13, 32)
    greedy = writes(DecodingConfig(strategy=Greedy(), log_probs=True), rows, eos_ids=ends)
    assert (greedy.tokens_RL[:, :-1] == 0).any()
    for strategy in (Contrastive(top_k=1, penalty_alpha=1.0), Contrastive(top_k=4, penalty_alpha=0.0)):
        found = writes(DecodingConfig(strategy=strategy, log_probs=True), rows, eos_ids=ends)
        np.testing.assert_array_equal(found.tokens_RL, greedy.tokens_RL)
        np.testing.assert_allclose(found.log_probs_RL, greedy.log_probs_RL, atol=5e-5)


def test_contrastive_search_that_is_looked_at_writes_the_same(writes, rows):
    """It stops after any number of tokens, its first among them, and rows may be ended there."""
    decoding = DecodingConfig(strategy=Contrastive(top_k=3))
    strategy = decoding.strategy
    search = decoding.search(max_decode_length=NEW, eos_ids=(EOS,), known_V=None, vocab_size=VOCAB_SIZE)

    @jax.jit
    def looked_at(params, tokens_BM):
        decoder = AnsweringDecoder(writes.model.bind(params), NEW)
        state = begin(
            decoder, tokens_BM, (tokens_BM > 0).astype(jnp.int32), None, strategy=strategy, search=search
        )
        for most in (1, 3):
            state = resume(decoder, state, strategy=strategy, search=search, most=most)
        counted = state.num_decoded
        state = strategy.ended(state, jnp.arange(len(tokens_BM)) == 1)
        state = resume(decoder, state, strategy=strategy, search=search)
        return counted, strategy.written(state, search).tokens_RL

    counted, tokens_RL = looked_at(writes.params, rows)
    assert counted == 3
    expected_RL = np.array(writes(decoding, rows).tokens_RL)
    expected_RL[1, 3:] = 0
    np.testing.assert_array_equal(tokens_RL, expected_RL)


def test_a_group_of_beams_that_is_done_takes_no_token_from_later_ones():
    """The first group of the second input is done; the penalty is worth more than a better token."""
    strategy = DiverseBeam(num_beams=2, num_beam_groups=2, diversity_penalty=5.0)
    search = DecodingConfig(strategy=strategy).search(
        max_decode_length=NEW, eos_ids=(EOS,), known_V=None, vocab_size=6
    )
    cache: Any = None
    decoder: Any = SimpleNamespace(reorder=lambda cache, parents_BL: cache)
    start = Start(cache, jnp.zeros((4, 1), jnp.int32), jnp.zeros((4,), jnp.int32), None, jnp.zeros((2, 1, 1)))
    state = strategy.begin(start, None, search)
    first, second = state.groups
    state = state._replace(groups=(first._replace(open_B=jnp.array([True, False])), second))
    read = Read(jnp.tile(jnp.arange(6.0), (4, 1)), jnp.zeros((4, 1)))
    found = strategy.choose(decoder, state, read, search)
    assert found.previous_R.tolist() == [5, 4, 5, 5]


def test_given_targets_have_the_log_probabilities_with_which_they_are_written(writes, rows):
    """Rows of the table that are no token have no probability, in both."""
    known_V = np.arange(VOCAB_SIZE) < VOCAB_SIZE - 9
    found = writes(DecodingConfig(strategy=Sampling(temperature=2.0), log_probs=True), rows, known_V=known_V)
    lengths_B = (np.cumsum(found.tokens_RL == EOS, axis=1) - (found.tokens_RL == EOS) == 0).sum(axis=1)
    decoder = AnsweringDecoder(writes.model.bind(writes.params), NEW)
    scored = jax.jit(lambda *arrays: score_targets(decoder, *arrays, known_V=known_V))(
        rows, (rows > 0).astype(np.int32), found.tokens_RL, lengths_B
    )
    np.testing.assert_allclose(scored, found.log_probs_RL, atol=1e-4)
    assert (found.log_probs_RL < 0).any(axis=1).all()


def test_where_nothing_may_be_written_a_text_ends(writes, rows):
    """Three tokens are known, none may be there twice, and the text may not end before its fifth."""
    known_V = np.isin(np.arange(VOCAB_SIZE), [EOS, 5, 9])
    unlikely = Contrastive(top_k=8, penalty_alpha=1.0)
    for strategy in (Greedy(), Beam(num_beams=8, num_return_sequences=8), unlikely):
        decoding = DecodingConfig(strategy=strategy, no_repeat_ngram_size=1, min_new_tokens=4)
        found = writes(decoding, rows[:2], known_V=known_V)
        if found.scores_R is not None:  # there are two such texts, fewer than were asked for
            assert (np.isfinite(found.scores_R).reshape(2, 8).sum(axis=1) == 2).all()
            found = found._replace(tokens_RL=found.tokens_RL[np.isfinite(found.scores_R)])
        assert {tuple(text) for text in found.tokens_RL.tolist()} <= {(5, 9, 1, 0, 0), (9, 5, 1, 0, 0)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Beam(num_beams=0), "num_beams=0 must be 1 or more"),
        (
            lambda: Beam(num_beams=2, num_return_sequences=3),
            "num_return_sequences=3 must be from 1 to num_beams=2",
        ),
        (
            lambda: DiverseBeam(num_beams=6),
            r"num_beam_groups=4 must divide num_beams=6; give one of \[1, 2, 3, 6\]",
        ),
        (lambda: DiverseBeam(diversity_penalty=-1.0), "diversity_penalty=-1.0 must be 0 or more"),
        (
            lambda: Sampling(temperature=0.0),
            "temperature=0.0 must be a finite number of at least 1.1754944e-38; strategy greedy",
        ),
        (lambda: Sampling(temperature=1e-40), "temperature=1e-40 must be a finite number of at least 1.17"),
        (lambda: Sampling(top_k=0), "top_k=0 must be 1 or more"),
        (lambda: Contrastive(top_k=0), "top_k=0 must be 1 or more"),
        (lambda: Contrastive(penalty_alpha=1.5), "penalty_alpha=1.5 must be from 0, .* to 1"),
        (
            lambda: DecodingOptions(strategy="contrastive", num_return_sequences=2).config(),
            "--num-return-sequences is no option of strategy contrastive; leave it out, or give",
        ),
        (lambda: Sampling(top_p=1.5), "top_p=1.5 must be above 0 and at most 1"),
        (lambda: Sampling(min_p=-0.1), "min_p=-0.1 must be from 0"),
        (lambda: Sampling(seed=-1), "seed=-1 must be from 0"),
        (lambda: DecodingConfig(repetition_penalty=0.0), "repetition_penalty=0.0 must be above 0"),
        (lambda: DecodingConfig(stop_strings=("a", "")), "stop_strings has an empty one"),
        (
            lambda: DecodingConfig(strategy=Beam(), stop_strings=("a",)),
            "with strategy beam: it compares whole texts, .* take strategy contrastive or greedy or sampling",
        ),
        (lambda: _search(min_new_tokens=6), "min_new_tokens=6 is more than max_decode_length=5"),
        (lambda: _search(suppress_tokens=tuple(range(8))), "suppress_tokens has every token"),
        (
            lambda: _search(suppress_tokens=(0, *range(2, 8)), min_new_tokens=1),
            "leaves only what ends a text, which min_new_tokens=1 forbids",
        ),
        (lambda: _search(suppress_tokens=(9,)), "suppress_tokens has 9; the model has tokens 0 to 8"),
        (lambda: _search(forced_bos_token_id=8), "forced_bos_token_id=8 is no token of the vocabulary"),
        (
            lambda: _search(forced_eos_token_id=1, suppress_tokens=(1,)),
            "forced_eos_token_id=1 is among suppress_tokens",
        ),
        (
            lambda: DecodingOptions(strategy="beam", top_k=3).config(),
            "--top-k is no option of strategy beam; leave it out, or give --strategy contrastive or sampling",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def _search(**options):
    """Of a table of nine rows, the last of which is no token."""
    return DecodingConfig(**options).search(
        max_decode_length=5, eos_ids=(EOS,), known_V=np.arange(9) < 8, vocab_size=9
    )


def test_every_option_of_every_strategy_is_one_of_the_command():
    ours = {field.name for field in dataclasses.fields(DecodingOptions)}
    for name, kind in STRATEGIES.items():
        assert {field.name for field in dataclasses.fields(kind)} <= ours
        assert DecodingOptions(strategy=name).config() == DecodingConfig(strategy=kind())
    options = DecodingOptions(strategy="beam", num_beams=2, early_stopping="true", suppress_tokens=(5,))
    expected = DecodingConfig(strategy=Beam(num_beams=2, early_stopping=True), suppress_tokens=(5,))
    assert options.config() == expected
