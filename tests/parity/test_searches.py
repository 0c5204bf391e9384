"""Searches write what transformers' ``generate`` writes, token for token.

T5X's, and diverse beam search and contrastive search, which transformers has no longer, write what plain
searches do.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
import torch
import transformers

from t5lite.decoding import (
    AnsweringDecoder,
    Beam,
    ContinuingDecoder,
    Contrastive,
    DecodingConfig,
    DiverseBeam,
    Greedy,
    T5XBeam,
    run_search,
)
from t5lite.interop.huggingface import import_folder
from t5lite.models.functional import build
from tests.parity.test_huggingface_logits import VOCAB, make_model

NUM_INPUTS, LENGTH, NEW = 100, 6, 5
EOS = (1, 4, 15)
FEW_INPUTS = 12


class Sides:
    """The same model here and in transformers, with the same ragged inputs."""

    def __init__(self, case: str, folder: Any):
        self.theirs = make_model(case)
        self.theirs.save_pretrained(folder)
        config, self.params = import_folder(folder)
        self.model = build(config)
        rng = np.random.default_rng(3)
        lengths_B = rng.integers(1, LENGTH + 1, NUM_INPUTS)
        self.answers = config.architecture == "encoder_decoder"
        columns_M = np.arange(LENGTH)[None]
        first_B = np.zeros_like(lengths_B) if self.answers else LENGTH - lengths_B
        mask_BM = (columns_M >= first_B[:, None]) & (columns_M < (first_B + lengths_B)[:, None])
        self.mask_BM = mask_BM.astype(np.int32)
        self.tokens_BM = (rng.integers(2, VOCAB, mask_BM.shape) * mask_BM).astype(np.int32)
        self.marks = self.mask_BM if self.answers else first_B.astype(np.int32)

    def decoder(self, params: Any) -> Any:
        kind = AnsweringDecoder if self.answers else ContinuingDecoder
        return kind(self.model.bind(params), NEW)

    def ours(self, decoding: DecodingConfig, num_inputs: int = NUM_INPUTS) -> Any:
        search = decoding.search(max_decode_length=NEW, eos_ids=EOS, known_V=None, vocab_size=VOCAB)

        @jax.jit
        def run(params, tokens_BM, marks):
            return run_search(
                self.decoder(params), tokens_BM, marks, strategy=decoding.strategy, search=search
            )

        return run(self.params, self.tokens_BM[:num_inputs], self.marks[:num_inputs])

    @functools.cached_property
    def logits(self) -> Callable[[np.ndarray], Any]:
        """The logits of a decoder alone, of whole texts."""
        run = jax.jit(lambda params, tokens: self.model.bind(params)({"decoder_input_tokens": tokens}))
        return functools.partial(run, self.params)

    def next_log_probs(self, row: int) -> Callable[[list[int]], np.ndarray]:
        """Return what gives the log probabilities after a prompt and a text, of a decoder alone, uncached."""
        prompt = self.tokens_BM[row, self.marks[row] :].tolist()

        @functools.cache
        def of(text: tuple[int, ...]) -> np.ndarray:
            padded = np.zeros((1, LENGTH + NEW), np.int32)
            padded[0, : len(prompt) + len(text)] = (*prompt, *text)
            out = np.asarray(self.logits(padded), np.float64)[0, len(prompt) + len(text) - 1]
            return out - np.log(np.sum(np.exp(out - out.max()))) - out.max()

        return lambda text: of(tuple(text))

    def expected(self, num_inputs: int = NUM_INPUTS, **options: Any) -> tuple[np.ndarray, Any]:
        """Return transformers' tokens behind prompt or start token, padded with 0, and its scores."""
        if isinstance(self.theirs, transformers.T5ForConditionalGeneration):
            # Its cache of an encoder-decoder has no room for more layers in the decoder than in the encoder.
            options["use_cache"] = False
        if self.answers:
            options["decoder_start_token_id"] = self.model.config.decoder_start_id
        found = self.theirs.generate(
            input_ids=torch.from_numpy(self.tokens_BM[:num_inputs]).long(),
            attention_mask=torch.from_numpy(self.mask_BM[:num_inputs]).long(),
            max_new_tokens=NEW,
            do_sample=False,
            eos_token_id=list(EOS),
            pad_token_id=0,
            return_dict_in_generate=True,
            output_scores=True,
            **{name: list(x) if isinstance(x, tuple) else x for name, x in options.items()},
        )
        tokens = found.sequences[:, 1 if self.answers else LENGTH :].numpy()
        tokens = np.pad(tokens, ((0, 0), (0, NEW - tokens.shape[1])))
        # Its beam search takes a padding of 0 for none, and fills up with EOS.
        ends = np.isin(tokens, EOS)
        tokens = np.where(np.cumsum(ends, axis=1) - ends > 0, 0, tokens)
        scores = getattr(found, "sequences_scores", None)
        return tokens, None if scores is None else scores.numpy()


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    made: dict[str, Sides] = {}

    def of(case: str) -> Sides:
        if case not in made:
            made[case] = Sides(case, tmp_path_factory.mktemp("model"))
        return made[case]

    return of


@pytest.mark.parametrize("case", ["t5-1.1", "mistral"])
def test_greedy_and_beam_search_write_what_transformers_writes(case, sides):
    """With three tokens that end a text; test_hundred_texts.py has the other families, on real texts."""
    both = sides(case)
    expected, _ = both.expected()
    np.testing.assert_array_equal(both.ours(DecodingConfig(strategy=Greedy())).tokens_RL, expected)
    expected, scores = both.expected(num_beams=4, num_return_sequences=3)
    found = both.ours(DecodingConfig(strategy=Beam(num_beams=4, num_return_sequences=3)))
    np.testing.assert_array_equal(found.tokens_RL, expected)
    np.testing.assert_allclose(found.scores_R, scores, atol=1e-5)
    ended_R = np.isin(expected, EOS).any(axis=1)
    assert ended_R.any()
    assert len({text.tobytes() for text in expected}) > 25


@pytest.mark.parametrize(
    ("options", "processing"),
    [
        ({"length_penalty": 2.0}, {}),
        ({"length_penalty": -0.5, "early_stopping": True}, {}),
        ({"length_penalty": 0.7, "early_stopping": "never"}, {}),
        ({"num_beams": 1}, {}),
        ({"num_beams": 30}, {}),  # more than there are tokens
        (
            {},
            {
                "repetition_penalty": 1.4,
                "no_repeat_ngram_size": 2,
                "min_new_tokens": 2,
                "forced_eos_token_id": 1,
                # Padding in front of prompts, which it counts as tokens of theirs, is never repeated.
                "suppress_tokens": (0, 7, 11),
            },
        ),
    ],
)
@pytest.mark.slow
def test_options_of_beam_search_are_those_of_transformers(options, processing, sides):
    both = sides("mistral")
    options = {"num_beams": 4} | options
    expected, scores = both.expected(FEW_INPUTS, **options, **processing)
    found = both.ours(DecodingConfig(strategy=Beam(**options), **processing), FEW_INPUTS)
    np.testing.assert_array_equal(found.tokens_RL, expected)
    if scores is not None:
        np.testing.assert_allclose(found.scores_R, scores, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("num_beams", [1, 3])
def test_beam_search_by_the_conventions_of_t5x(num_beams, sides):
    """T5X's is held against a search over all texts' log probabilities that keeps no cache."""
    both = sides("mistral")
    strategy = T5XBeam(num_beams=num_beams, num_return_sequences=num_beams, alpha=0.6)
    decoding = DecodingConfig(strategy=strategy, log_probs=True)
    found = both.ours(decoding, FEW_INPUTS)
    tokens_RL, scores_R = np.asarray(found.tokens_RL), np.asarray(found.scores_R)
    for row in range(FEW_INPUTS):
        next_log_probs = both.next_log_probs(row)
        expected = t5x_search(next_log_probs, num_beams)
        for place, (score, text) in enumerate(expected):
            got = row * num_beams + place
            assert tokens_RL[got].tolist() == text + [0] * (NEW - len(text))
            assert scores_R[got] == pytest.approx(score, abs=1e-4)
            of_tokens = [next_log_probs(text[:i])[token] for i, token in enumerate(text)]
            np.testing.assert_allclose(found.log_probs_RL[got, : len(text)], of_tokens, atol=1e-4)


def t5x_search(next_log_probs: Any, num_beams: int) -> list[tuple[float, list[int]]]:
    """Return scores and texts, the best first, as T5X's decoding.beam_search defines them."""
    live: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    for length in range(1, NEW + 1):
        grown = [
            (score + log_prob, [*text, token])
            for score, text in live
            for token, log_prob in enumerate(next_log_probs(text))
        ]
        best = sorted(grown, reverse=True)[: (1 + len(EOS)) * num_beams]
        ended = [(score / ((5 + length) / 6) ** 0.6, text) for score, text in best if text[-1] in EOS]
        finished = sorted(finished + ended, reverse=True)[:num_beams]
        live = [each for each in best if each[1][-1] not in EOS][:num_beams]
        most = live[0][0] / ((5 + NEW + 1) / 6) ** 0.6
        if len(finished) == num_beams and finished[-1][0] > most:
            break
    return finished or live


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 1.5},
        {"num_beams": 4, "num_beam_groups": 4, "diversity_penalty": 0.3, "length_penalty": 0.0},
    ],
)
def test_diverse_beam_search_is_that_of_its_paper(options, sides):
    both = sides("mistral")
    strategy = DiverseBeam(**options, num_return_sequences=options["num_beams"])
    found = both.ours(DecodingConfig(strategy=strategy), FEW_INPUTS)
    tokens_RL, scores_R = np.asarray(found.tokens_RL), np.asarray(found.scores_R)
    for row in range(FEW_INPUTS):
        expected = diverse_search(both.next_log_probs(row), strategy)
        for place, (score, text) in enumerate(expected):
            got = row * strategy.num_beams + place
            assert tokens_RL[got].tolist() == text + [0] * (NEW - len(text))
            assert scores_R[got] == pytest.approx(score, abs=1e-4)


def diverse_search(next_log_probs: Any, strategy: DiverseBeam) -> list[tuple[float, list[int]]]:
    """Return scores and texts of all groups, the best first, as Vijayakumar et al. (2018) search."""
    size, power = strategy.num_beams // strategy.num_beam_groups, strategy.length_penalty
    groups = [([(0.0, [])], []) for _ in range(strategy.num_beam_groups)]
    done = [False] * len(groups)
    for length in range(1, NEW + 1):
        taken = np.zeros(VOCAB)
        for number, (live, finished) in enumerate(groups):
            grown = [
                (score + log_prob, [*text, token])
                for score, text in live
                for token, log_prob in enumerate(next_log_probs(text) - strategy.diversity_penalty * taken)
            ]
            best = sorted(grown, reverse=True)[: (1 + len(EOS)) * size]
            for score, text in best[:size]:
                if not done[number] and (text[-1] in EOS or length == NEW):
                    finished.append((score / length**power, text))
            finished[:] = sorted(finished, reverse=True)[:size]
            live[:] = [each for each in best if each[1][-1] not in EOS][:size]
            if not done[number]:
                for _, text in live:
                    taken[text[-1]] += 1
            done[number] |= len(finished) == size and finished[-1][0] >= live[0][0] / length**power
        if all(done):
            break
    return sorted((each for _, finished in groups for each in finished), reverse=True)


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("mistral", {"top_k": 4, "penalty_alpha": 0.6}),
        pytest.param("mistral", {"top_k": VOCAB + 3, "penalty_alpha": 1.0}, marks=pytest.mark.slow),
        pytest.param("t5-1.1", {"top_k": 5, "penalty_alpha": 0.5}, marks=pytest.mark.slow),
        pytest.param("gpt2", {"top_k": 3, "penalty_alpha": 0.9}, marks=pytest.mark.slow),
    ],
)
def test_contrastive_search_is_that_of_its_paper(case, options, sides):
    """Of transformers' hidden states and logits, without a cache."""
    both = sides(case)
    decoding = DecodingConfig(strategy=Contrastive(**options), log_probs=True)
    found = jax.device_get(both.ours(decoding, FEW_INPUTS))
    ranks = []
    for row in range(FEW_INPUTS):
        text, log_probs = contrastive_search(both, row, ranks, **options)
        assert found.tokens_RL[row].tolist() == text + [0] * (NEW - len(text))
        np.testing.assert_allclose(found.log_probs_RL[row, : len(text)], log_probs, atol=1e-4)
    assert len(set(ranks)) > 2


def contrastive_search(
    both: Sides, row: int, ranks: list[int], *, top_k: int, penalty_alpha: float
) -> tuple[list[int], list[float]]:
    """Return a text and its tokens' log probabilities, as Su et al. (2022) search; and their ranks."""
    tokens = both.tokens_BM[row, both.mask_BM[row] == 1].tolist()
    front, given = tokens, {}
    if both.answers:
        front, given = [both.model.config.decoder_start_id], {"input_ids": torch.tensor([tokens])}

    def read(texts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Return log probabilities of the next token of each text, and all hidden states, of length 1."""
        name = "decoder_input_ids" if both.answers else "input_ids"
        repeated = {field: value.repeat(len(texts), 1) for field, value in given.items()}
        read = torch.tensor([front + text for text in texts])
        with torch.no_grad():
            out = both.theirs(**repeated, **{name: read}, output_hidden_states=True)
        states = out.decoder_hidden_states if both.answers else out.hidden_states
        hidden = states[-1].double()
        log_probs = torch.log_softmax(out.logits[:, -1].double(), dim=-1)
        return log_probs.numpy(), (hidden / hidden.norm(dim=-1, keepdim=True)).numpy()

    text: list[int] = []
    chosen: list[float] = []
    log_probs = read([[]])[0][0]
    while len(text) < NEW and not (text and text[-1] in EOS):
        candidates = np.argsort(-log_probs, kind="stable")[:top_k]
        following, hidden = read([[*text, token] for token in candidates.tolist()])
        penalties = [np.max(each[:-1] @ each[-1]) for each in hidden]
        scores = (1 - penalty_alpha) * np.exp(log_probs[candidates]) - penalty_alpha * np.array(penalties)
        ranks.append(int(np.argmax(scores)))
        text.append(int(candidates[ranks[-1]]))
        chosen.append(log_probs[text[-1]])
        log_probs = following[ranks[-1]]
    return text, chosen
