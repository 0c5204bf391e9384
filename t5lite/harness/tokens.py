"""Texts as the tokenizer of an export cuts them, which the harness would load."""

from dataclasses import dataclass

from t5lite.data.vocabulary import Frame, Vocabulary
from t5lite.decoding import decoding_mode
from t5lite.interop.huggingface.tokenizer_files.framing import framing
from t5lite.models.config import ModelConfig, RelativePositions
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.trained_on import trained_on

UNBOUNDED_LENGTH = 2048
"""What the harness takes where config.json holds no length, as of T5, whose positions do not end."""


@dataclass(frozen=True)
class HarnessTokens:
    """What the harness asks a tokenizer, as that of the run's export answers it."""

    vocabulary: Vocabulary
    frame: Frame
    """What surrounds a text."""

    def encode(self, text: str, *, framed: bool = True) -> list[int]:
        """Return the ids of a text; one that spells what a text begins with has had it put there."""
        ids = self.vocabulary.encode(text, parse_sentinels=True).tolist()
        begun = self.vocabulary.token_text(self.prefix_id)  # nothing of SentencePiece, which finds no </s>
        if not framed or (begun and text.startswith(begun)):
            return ids
        return [*self.frame.before, *ids, *self.frame.after]

    @property
    def prefix_id(self) -> int:
        """What stands before a text that nothing precedes: BOS, or EOS where there is none.

        Raises:
          ConfigError: if there is neither.
        """
        if self.vocabulary.bos_id is not None:
            return self.vocabulary.bos_id
        return self.eos_id

    @property
    def eos_id(self) -> int:
        """What ends a text.

        Raises:
          ConfigError: if nothing does.
        """
        return self.vocabulary.special_id("eos", needed_for="the harness")


def harness_tokens(found: Snapshot) -> HarnessTokens:
    """Return how the export of a run would cut texts.

    Raises:
      UserError: if its vocabulary cannot be opened, or lacks what its architecture needs.
    """
    config, vocabulary = found.model.narrowed, found.vocabulary
    trained = trained_on(found)
    frame = None if trained is None else decoding_mode(config).frame(vocabulary, trained)
    around = framing(vocabulary, config.architecture, token_types=False, frame=frame)
    return HarnessTokens(vocabulary, Frame(around.before, around.after))


def harness_length(config: ModelConfig) -> int:
    """Return the most tokens that the harness gives an export, by what is in its config.json."""
    return UNBOUNDED_LENGTH if isinstance(config.positions, RelativePositions) else config.max_length
