"""What comes of one text of a request, piece by piece, as OpenAI's clients are told it."""

from typing import NamedTuple

from t5lite.data.vocabulary import Vocabulary
from t5lite.evaluation.stepwise_generation import FinishReason, Piece
from t5lite.serving.protocol import TokenLogprobs


class _Token(NamedTuple):
    name: str
    log_prob: float
    top: dict[str, float]
    offset: int


class Delta(NamedTuple):
    """What is new of a text; nothing of it is taken back."""

    text: str
    logprobs: TokenLogprobs | None
    """Of the tokens whose text is shown with it; None where none were asked for."""
    finish: FinishReason | None

    @property
    def is_news(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.text or self.finish or (self.logprobs and self.logprobs.tokens))


class Answer:
    """One text as it grows.

    Args:
      vocabulary: names its tokens.
      num_logprobs: of how many tokens besides the one written log-probabilities are told; None: of none.
      prefix: what stands before it, of an echo.
    """

    def __init__(self, vocabulary: Vocabulary, *, num_logprobs: int | None, prefix: str = ""):
        self._vocabulary, self._num_logprobs = vocabulary, num_logprobs
        self.text, self._prefix = "", prefix
        self.num_tokens = 0
        self._waiting: list[_Token] = []

    def add(self, piece: Piece) -> Delta:
        """Return what a piece adds; tokens of a stop string are not told, as its text is not."""
        self.text += piece.text
        if piece.token is not None:
            self.num_tokens += 1
            if self._num_logprobs is not None:
                self._waiting.append(self._told(piece, piece.token))
        shown = [token for token in self._waiting if token.offset < len(self.text)]
        if piece.finish is not None and not piece.stopped:
            shown = self._waiting
        self._waiting = self._waiting[len(shown) :]
        return Delta(piece.text, self._logprobs(shown), piece.finish)

    def _told(self, piece: Piece, token: int) -> _Token:
        assert self._num_logprobs is not None
        best = dict(list(piece.top.items())[: self._num_logprobs])
        name = self._vocabulary.token_text
        top = {name(each): log_prob for each, log_prob in {**best, token: piece.log_prob}.items()}
        return _Token(name(token), piece.log_prob, top, piece.offset)

    def _logprobs(self, tokens: list[_Token]) -> TokenLogprobs | None:
        if self._num_logprobs is None:
            return None
        names, log_probs, tops, offsets = (
            (list(each) for each in zip(*tokens, strict=True)) if tokens else ([],) * 4
        )
        return TokenLogprobs(names, log_probs, tops, [len(self._prefix) + each for each in offsets])
