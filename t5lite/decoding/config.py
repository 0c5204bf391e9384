"""How texts are written, as one value: the strategy, and what may be written."""

from dataclasses import dataclass, field

import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.decoding.processors import (
    ForcedToken,
    MinNewTokens,
    NoRepeatNGram,
    Processor,
    RepetitionPenalty,
    SuppressTokens,
)
from t5lite.decoding.strategies import STRATEGIES, Greedy, Search, StrategyConfig


@dataclass(frozen=True, kw_only=True)
class WritingRules:
    """What holds of writing, whatever the strategy; the names are transformers' where it has them.

    Raises:
      ConfigError: for a value out of range.
    """

    repetition_penalty: float = 1.0
    """Above 1, tokens that the prompt or the text has are less probable (Keskar et al., 2019)."""
    no_repeat_ngram_size: int = 0
    """No sequence of so many tokens is there twice; 0: any may be."""
    min_new_tokens: int = 0
    """A text does not end before it has so many tokens, EOS aside."""
    forced_bos_token_id: int | None = None
    """The first token of every text."""
    forced_eos_token_id: int | None = None
    """The last token of a text that has the greatest length."""
    suppress_tokens: tuple[int, ...] = ()
    """Ids that are never written."""
    stop_strings: tuple[str, ...] = ()
    """A text ends before the first of these that it has."""
    log_probs: bool = False
    """Outputs have the model's log probability of their tokens, which files of JSON lines take."""
    prefill_chunk_size: int | None = None
    """A model of a decoder alone reads so many tokens of a prompt at once, which bounds the memory that long
    prompts take; None: all."""

    def __post_init__(self):
        if not 0 < self.repetition_penalty < float("inf"):
            raise ConfigError(
                f"repetition_penalty={self.repetition_penalty} must be above 0; 1 is no penalty"
            )
        for name in ("no_repeat_ngram_size", "min_new_tokens"):
            if (value := getattr(self, name)) < 0:
                raise ConfigError(f"{name}={value} must be 0 or more")
        if self.prefill_chunk_size is not None and self.prefill_chunk_size < 1:
            raise ConfigError(
                f"prefill_chunk_size={self.prefill_chunk_size} must be 1 or more; leave it out to read "
                "prompts whole"
            )
        if "" in self.stop_strings:
            raise ConfigError("stop_strings has an empty one, which every text begins with; leave it out")


@dataclass(frozen=True, kw_only=True)
class DecodingConfig(WritingRules):
    """How a model with a decoder writes.

    Raises:
      ConfigError: for a value out of range.
    """

    strategy: StrategyConfig = field(default_factory=Greedy)
    """How tokens are chosen."""

    def __post_init__(self):
        super().__post_init__()
        if self.stop_strings and not self.strategy.ends_rows:
            raise ConfigError(
                f"stop_strings={self.stop_strings} with strategy {self.strategy.name}: it compares whole "
                "texts, none of which ends at a string; leave them out, or take strategy "
                + " or ".join(name for name, kind in STRATEGIES.items() if kind.ends_rows)
            )

    def search(
        self, *, max_decode_length: int, eos_ids: tuple[int, ...], known_V: np.ndarray | None, vocab_size: int
    ) -> Search:
        """Return what a search is told.

        Args:
          max_decode_length: most tokens of a text, EOS included.
          eos_ids: what ends a text.
          known_V: bool, the rows of the model's table that stand for a token; None: all do.
          vocab_size: rows of the table.

        Raises:
          ConfigError: if there is no such token, or none is left that may be written.
        """
        if self.min_new_tokens > max_decode_length:
            raise ConfigError(
                f"min_new_tokens={self.min_new_tokens} is more than max_decode_length={max_decode_length}, "
                "the most tokens of a text"
            )
        known = np.ones(vocab_size, bool) if known_V is None else known_V
        self._check_tokens(known, eos_ids)
        return Search(
            max_decode_length=max_decode_length,
            eos_id=eos_ids,
            known_V=known_V,
            processors=self._processors(max_decode_length, eos_ids),
            log_probs=self.log_probs,
        )

    def _check_tokens(self, known_V: np.ndarray, eos_ids: tuple[int, ...]) -> None:
        forced = {
            name: token
            for name in ("forced_bos_token_id", "forced_eos_token_id")
            if (token := getattr(self, name)) is not None
        }
        named = {**forced, **{f"suppress_tokens: {token}": token for token in self.suppress_tokens}}
        for name, token in named.items():
            if not 0 <= token < len(known_V):
                raise ConfigError(
                    f"{name.partition(':')[0]} has {token}; the model has tokens 0 to {len(known_V) - 1:,}"
                )
        for name, token in forced.items():
            if not known_V[token]:
                raise ConfigError(f"{name}={token} is no token of the vocabulary")
            if token in self.suppress_tokens:
                raise ConfigError(f"{name}={token} is among suppress_tokens; take it out of one of them")
        left_V = known_V.copy()
        left_V[list(self.suppress_tokens)] = False
        if not left_V.any():
            raise ConfigError("suppress_tokens has every token of the vocabulary; leave some to write")
        left_V[list(eos_ids)] = False
        if self.min_new_tokens and not left_V.any():
            raise ConfigError(
                f"suppress_tokens leaves only what ends a text, which min_new_tokens={self.min_new_tokens} "
                "forbids to begin with; leave other tokens to write"
            )

    def _processors(self, max_decode_length: int, eos_ids: tuple[int, ...]) -> tuple[Processor, ...]:
        """Return what changes scores, in the order of transformers."""
        processors: list[Processor] = []
        if self.repetition_penalty != 1:
            processors.append(RepetitionPenalty(penalty=self.repetition_penalty))
        if self.no_repeat_ngram_size:
            processors.append(NoRepeatNGram(size=self.no_repeat_ngram_size))
        if self.min_new_tokens and eos_ids:
            processors.append(MinNewTokens(num_tokens=self.min_new_tokens, eos_ids=eos_ids))
        if self.forced_bos_token_id is not None:
            processors.append(ForcedToken(token=self.forced_bos_token_id, index=0))
        if self.forced_eos_token_id is not None:
            processors.append(ForcedToken(token=self.forced_eos_token_id, index=max_decode_length - 1))
        if self.suppress_tokens:
            processors.append(SuppressTokens(tokens=self.suppress_tokens))
        return tuple(processors)


GREEDY = DecodingConfig()
"""The most probable token at every step, of all that there are."""
