"""UL2's mixture of denoisers (Tay et al. 2022): a chunk is denoised in one of several ways, and told which.

    [R] regular   few short spans are masked       (span corruption at 15 %)
    [S] sequence  the end is asked for              (prefix LM)
    [X] extreme   long spans, or half of the text   (span corruption at 15 and 50 %)

    raw      Thank you for inviting me to your party last week
    inputs   [X] Thank <0> to your <1> week EOS
    targets  <0> you for inviting me <1> party last EOS
    inputs   [S] Thank you for inviting me to your EOS
    targets  party last week EOS

A chunk has the same number of raw tokens whichever denoiser it draws: the most that fits for all of them, so
rows end in padding. The sequence denoiser asks for a fixed share without a sentinel, as the released
``ul2_objective`` (whose prefixes are of random length). A decoder-only model has inputs and targets in one
row, without EOS between them where the inputs are a prefix. For the mode tokens see ``mode_ids``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from t5lite.core.architectures import has_one_row
from t5lite.core.errors import ConfigError
from t5lite.core.types import PAD_ID
from t5lite.data.indexed_random import derive_subkey, random_bits
from t5lite.data.objectives.base import BaseObjective
from t5lite.data.objectives.layout import ChunkLayout, Sides, laid_out_fields, largest_that_fits, lay_out
from t5lite.data.objectives.sentinels import check_sentinels
from t5lite.data.objectives.span_corruption import SpanCorruption
from t5lite.data.prompt import Prompt
from t5lite.data.vocabulary import Vocabulary

Mode = Literal["R", "S", "X"]
_MODE_NAMES: dict[Mode, str] = {"R": "[NLU]", "S": "[S2S]", "X": "[NLG]"}
"""What the tokens are called in UL2's released vocabulary."""


@dataclass(frozen=True, kw_only=True)
class Denoiser:
    """One way of denoising: spans of the chunk, or its end."""

    mode: Mode | None = "R"
    """The mode token in front of the inputs; None puts none."""
    noise_density: float = 0.15
    """Share of the raw tokens that is asked for."""
    mean_span_length: float | None = 3.0
    """Average number of tokens in a masked span; None asks for the end of the chunk, as a prefix LM."""
    weight: float = 1.0
    """How often it is drawn, relative to the others."""

    def __post_init__(self):
        self._spans()
        if not self.weight > 0:
            raise ConfigError(f"weight={self.weight} of a denoiser must be positive; leave it out instead")

    @property
    def is_prefix(self) -> bool:
        """Whether the inputs are a prefix that the targets continue."""
        return self.mean_span_length is None

    def _spans(self) -> SpanCorruption:
        span = 1.0 if self.mean_span_length is None else self.mean_span_length
        return SpanCorruption(noise_density=self.noise_density, mean_span_length=span)

    def num_sentinels(self, raw_tokens: int) -> int:
        """Return how many sentinels a chunk uses."""
        return 0 if self.is_prefix else self._spans().num_sentinels(raw_tokens)

    def lengths(self, raw_tokens: int) -> tuple[int, int]:
        """Return (inputs, targets) lengths, mode token and EOS included."""
        spans, num_modes = self._spans(), int(self.mode is not None)
        inputs, targets = spans.lengths(raw_tokens)
        if self.is_prefix:
            num_noise = spans.counts(raw_tokens)[0]
            inputs, targets = raw_tokens - num_noise + 1, num_noise + 1
        return inputs + num_modes, targets

    def row_length(self, raw_tokens: int) -> int:
        """Return the length of a decoder-only model's row."""
        return sum(self.lengths(raw_tokens)) - (2 if self.is_prefix else 1)

    def check(self, raw_tokens: int, inputs_length: int) -> None:
        """Check that a chunk of ``raw_tokens`` can be denoised in this way.

        Raises:
          ConfigError: if it is too short.
        """
        self._spans().check_spans(raw_tokens, inputs_length)

    def sides(
        self, tokens_BN: np.ndarray, *, key: np.ndarray, indices: np.ndarray, vocabulary: Vocabulary
    ) -> Sides:
        """Return inputs and targets without the mode token; all rows are full."""
        spans = self._spans()
        if not self.is_prefix:
            return spans.sides(tokens_BN, key=key, indices=indices, vocabulary=vocabulary)
        eos_id = vocabulary.special_id("eos", needed_for="UL2")
        eos_B1 = np.full((len(tokens_BN), 1), eos_id, np.int32)
        parts = np.split(tokens_BN.astype(np.int32), [-spans.counts(tokens_BN.shape[1])[0]], axis=1)
        return Sides(*(np.concatenate([part, eos_B1], axis=1) for part in parts))


DENOISERS = (
    Denoiser(mode="R", noise_density=0.15, mean_span_length=3.0),
    Denoiser(mode="R", noise_density=0.15, mean_span_length=8.0),
    Denoiser(mode="S", noise_density=0.25, mean_span_length=None),
    Denoiser(mode="X", noise_density=0.5, mean_span_length=3.0),
    Denoiser(mode="X", noise_density=0.5, mean_span_length=8.0),
    Denoiser(mode="X", noise_density=0.15, mean_span_length=64.0),
    Denoiser(mode="X", noise_density=0.5, mean_span_length=64.0),
)
"""The seven of the paper's table 1, drawn equally often."""


@dataclass(frozen=True, kw_only=True)
class Ul2(BaseObjective):
    """Draws a denoiser for each chunk; the paper's seven by default."""

    denoisers: tuple[Denoiser, ...] = DENOISERS
    """Ways of denoising, each with its weight."""

    def __post_init__(self):
        if not self.denoisers:
            raise ConfigError("denoisers is empty; give at least one")

    def layout(self, inputs_length: int, architecture: str) -> ChunkLayout:
        """Return the layout: the longest chunk that fits ``inputs_length`` whichever denoiser it draws.

        Raises:
          ConfigError: if that is too short for one of them.
        """
        one_row = has_one_row(architecture)
        lengths: list[Callable[[int], int]] = [
            denoiser.row_length if one_row else _inputs_length_of(denoiser) for denoiser in self.denoisers
        ]
        raw_tokens = min(largest_that_fits(length, inputs_length) for length in lengths)
        for denoiser in self.denoisers:
            denoiser.check(raw_tokens, inputs_length)
        if one_row:
            return ChunkLayout(raw_tokens, raw_tokens, 0, inputs_length)
        targets_length = max(denoiser.lengths(raw_tokens)[1] for denoiser in self.denoisers)
        return ChunkLayout(raw_tokens, raw_tokens, inputs_length, targets_length)

    def check_vocabulary(self, vocabulary: Vocabulary, inputs_length: int, architecture: str) -> None:
        """Check that there are sentinels for the spans and for the modes, and EOS.

        Raises:
          ConfigError: if there are too few.
        """
        vocabulary.special_id("eos", needed_for="UL2")
        raw_tokens = self.layout(inputs_length, architecture).tokens
        num_sentinels = max(denoiser.num_sentinels(raw_tokens) for denoiser in self.denoisers)
        if any(denoiser.mode for denoiser in self.denoisers) and _named_mode_ids(vocabulary) is None:
            num_sentinels += len(_MODE_NAMES)
        check_sentinels(num_sentinels, vocabulary, inputs_length)

    def field_names(self, layout: ChunkLayout) -> tuple[str, ...]:
        """Return the fields; denoisers differ in length."""
        return laid_out_fields(layout, full=False)

    def fields(
        self,
        tokens_BN: np.ndarray,
        *,
        key: np.ndarray,
        indices: np.ndarray,
        vocabulary: Vocabulary,
        layout: ChunkLayout,
    ) -> dict[str, np.ndarray]:
        """Return the fields of one side or both, with segment ids: denoisers differ in length."""
        rows, raw_tokens = tokens_BN.shape
        modes = mode_ids(vocabulary)
        lengths = [denoiser.lengths(raw_tokens) for denoiser in self.denoisers]
        inputs_BM = np.full((rows, max(length for length, _ in lengths)), PAD_ID, np.int32)
        targets_BL = np.full((rows, max(length for _, length in lengths)), PAD_ID, np.int32)
        inputs_lengths_B, targets_lengths_B = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        drawn_B = self.draw(key=key, indices=indices)
        for number in np.unique(drawn_B).tolist():
            denoiser, chosen = self.denoisers[number], np.flatnonzero(drawn_B == number)
            sides = denoiser.sides(tokens_BN[chosen], key=key, indices=indices[chosen], vocabulary=vocabulary)
            inputs, targets = lengths[number]
            if denoiser.mode is not None:
                inputs_BM[chosen, 0] = modes[denoiser.mode]
            inputs_BM[chosen, inputs - sides.inputs_BM.shape[1] : inputs] = sides.inputs_BM
            targets_BL[chosen, :targets] = sides.targets_BL
            drops_eos = denoiser.is_prefix and not layout.encoder_length
            inputs_lengths_B[chosen], targets_lengths_B[chosen] = inputs - drops_eos, targets
        return lay_out(Sides(inputs_BM, targets_BL, inputs_lengths_B, targets_lengths_B), layout)

    def prompt(self, text: str, vocabulary: Vocabulary, *, prefix: Sequence[int] = ()) -> Prompt:
        """Return the inputs of a text, which may begin with its mode; those to fill in end with EOS."""
        del prefix
        mode, ids = prompt_of_mode(text, vocabulary)
        if mode in (None, "S"):
            return Prompt(ids, num_leading=int(mode is not None))
        return Prompt(ids, ends=True)

    def draw(self, *, key: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return int64 [len(indices)], which denoiser each row has."""
        weights = np.array([denoiser.weight for denoiser in self.denoisers])
        # Words of a key of its own: those of ``key`` decide the spans.
        words = random_bits(derive_subkey(key, 0), indices, 1)[:, 0]
        shares = np.cumsum(weights / weights.sum())[:-1]
        return np.searchsorted(shares, words / 2.0**64, side="right")


def mode_ids(vocabulary: Vocabulary) -> dict[Mode, int]:
    """Return the ids that stand for the modes.

    They are the vocabulary's own [NLU], [S2S] and [NLG] where each is a token, as in UL2's; otherwise its
    last three sentinels: ``<extra_id_99>`` for [R], ``<extra_id_98>`` for [S], ``<extra_id_97>`` for [X].
    """
    named = _named_mode_ids(vocabulary)
    if named is not None:
        return named
    last = vocabulary.extra_ids - 1
    return {mode: vocabulary.sentinel(last - number) for number, mode in enumerate(_MODE_NAMES)}


def prompt_of_mode(text: str, vocabulary: Vocabulary) -> tuple[Mode | None, np.ndarray]:
    """Return the mode that a text begins with (``[R]``, ``[S]``, ``[X]`` or UL2's name for it) and its ids.

    The mode becomes its id, the rest is encoded with sentinels.
    """
    for mode, name in _MODE_NAMES.items():
        for written in (f"[{mode}]", name):
            if text.startswith(written):
                rest = vocabulary.encode(text.removeprefix(written).lstrip(), parse_sentinels=True)
                return mode, np.concatenate([[mode_ids(vocabulary)[mode]], rest]).astype(np.int32)
    return None, vocabulary.encode(text, parse_sentinels=True)


def _named_mode_ids(vocabulary: Vocabulary) -> dict[Mode, int] | None:
    ids: dict[Mode, int] = {}
    for mode, name in _MODE_NAMES.items():
        encoded = vocabulary.encode(name, parse_sentinels=True)
        if len(encoded) == 1:
            ids[mode] = int(encoded[0])
    complete = len(set(ids.values())) == len(_MODE_NAMES) and vocabulary.unk_id not in ids.values()
    return ids if complete else None


def _inputs_length_of(denoiser: Denoiser) -> Callable[[int], int]:
    return lambda raw_tokens: denoiser.lengths(raw_tokens)[0]
