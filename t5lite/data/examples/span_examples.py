"""Examples for fine-tuning an encoder to point at answers: a question and a window of its context a row."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from t5lite.core.batch_fields import BatchSpec
from t5lite.core.errors import ConfigError, DataError
from t5lite.data.example_order import evaluation_indices
from t5lite.data.examples.best_span import best_span, best_text
from t5lite.data.examples.context_tokens import ContextTokens, windows
from t5lite.data.examples.encoder_data import EncoderDataConfig
from t5lite.data.examples.framed_inputs import Described
from t5lite.data.examples.protocol import AnsweredExamples
from t5lite.data.opening import Opening
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.data.vocabulary.special_tokens import separators, special_tokens

_LEAST = 5
"""[CLS], a token, [SEP], a token, [SEP]."""


@dataclass(frozen=True, kw_only=True)
class SpansDataConfig(EncoderDataConfig):
    """Questions with the texts that answer them, such as ``t5lite prepare task --task answer-spans`` makes.

    A row is ``[CLS] question [SEP] context [SEP]``, with two [SEP] between them where the tokenizer has that,
    as RoBERTa's. A context that is longer is read in several windows, each a row; one without the answer, or
    a question without, points at [CLS] (Devlin et al. 2019). A question has half of the row, or what its
    context leaves of it.
    """

    inputs_length: int = 384
    """Tokens of a row, [CLS] and both [SEP] included."""
    doc_stride: int | None = None
    """Tokens from the beginning of a window of a context to that of the next, at most what a row has room
    for; None: half of that."""
    max_answer_length: int = 30
    """Tokens of an answer that is predicted, at most."""
    null_threshold: float | None = 0.0
    """No answer is predicted where its score exceeds that of the best span by more; None: there always is
    one, as in SQuAD 1.1."""
    token_types: bool = True
    """Whether question and context have types of their own, as BERT's have and RoBERTa's have not."""

    head: ClassVar[str] = "span_extraction"
    label_fields: ClassVar[frozenset[str]] = frozenset({"span_positions"})

    def __post_init__(self):
        super().__post_init__()
        if self.inputs_length < _LEAST:
            raise ConfigError(
                f"inputs_length={self.inputs_length} must be at least {_LEAST}: [CLS], a token of the "
                "question, [SEP], one of the context, [SEP]"
            )
        for name in ("doc_stride", "max_answer_length"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"{name}={value} must be at least 1")

    def with_token_types(self, token_types: bool) -> Self:
        """Return this configuration with them or without."""
        return dataclasses.replace(self, token_types=token_types)

    def with_answers(self, **said: Any) -> Self:
        """Return this configuration with another ``max_answer_length`` or ``null_threshold``."""
        return dataclasses.replace(self, **said)

    @property
    def kind(self) -> str:
        """Questions and contexts."""
        return "questions with answers in a context"

    def batch_spec(self, architecture: str) -> BatchSpec:
        """Return the fields, with token types where there are any."""
        spec = super().batch_spec(architecture)
        types = frozenset({"encoder_token_types"} if self.token_types else ())
        return BatchSpec(fields=spec.fields | types, encoder_length=spec.encoder_length)

    def limits(self, architecture: str, vocabulary: Vocabulary) -> dict[str, int]:
        """Return none: what is longer than a row is read in windows."""
        del architecture, vocabulary
        return {"inputs": 0, "targets": 0}

    def open_examples(self, opening: Opening) -> "SpanExamples":
        """Return the rows."""
        return SpanExamples(self, opening)


class _Question(NamedTuple):
    """A row of the store."""

    tokens: np.ndarray
    """Of the question, as far as it has room."""
    context: ContextTokens
    text: str
    answers: Sequence[tuple[int, int]]
    """Where they stand in the context, in characters; none: it has no answer there."""
    span: tuple[int, int] | None
    """The first answer, as tokens of the context; None of no answer, and where no token has any of it."""
    is_cut: bool
    windows: Sequence[tuple[int, int]]

    @property
    def texts(self) -> tuple[str, ...]:
        """The answers, each once; an empty one where there is none."""
        return tuple(dict.fromkeys(self.context.text[begin:end] for begin, end in self.answers)) or ("",)


class SpanExamples(AnsweredExamples):
    """Row ``i`` is a window of a context, those of a question one after another.

    Raises:
      DataError: if no question is usable, or the store has no answers that stand in a context.
      ConfigError: if the vocabulary has nothing to frame the texts with.
    """

    def __init__(self, config: SpansDataConfig, opening: Opening):
        self.spec, self._config = config.batch_spec(opening.architecture or "encoder_only"), config
        store = PairStore.open(
            config.store, opening.vocabulary_fingerprint, tolerate_damage=opening.tolerates_damage
        )
        self.vocabulary = store.vocabulary()
        self._special, self._length = special_tokens(self.vocabulary), self.spec.encoder_length
        self._separators = separators(self.vocabulary)
        self._num_framing = len(self._separators) + 2
        every = self._questions(_labels(store))
        self._rows = [
            row for row in every if not (config.drops_overlong and (row.is_cut or len(row.windows) > 1))
        ]
        if not self._rows:
            raise DataError(
                f"none of the {len(every)} questions of {store.path} fits inputs_length={self._length} with "
                "its context; raise it or pass overlong=truncate"
            )
        self._windows = [(number, *each) for number, row in enumerate(self._rows) for each in row.windows]
        self.num_examples, self.max_epochs = len(self._windows), config.max_epochs
        self.report = self._counts(len(every))

    def _questions(self, labels: Iterable[Mapping[str, Any]]) -> list[_Question]:
        whole = self._length - self._num_framing
        contexts: dict[str, ContextTokens] = {}
        found = []
        for label in labels:
            text, tokens = label["context"], self.vocabulary.encode(label["question"])
            if text not in contexts:
                contexts[text] = ContextTokens.of(text, self.vocabulary)
            context, answers = contexts[text], [(begin, end) for begin, end in label["answers"]]
            most = max(whole // 2, whole - max(len(context.ids), 1))
            room = whole - min(len(tokens), most)
            stride = min(self._config.doc_stride or max(room // 2, 1), room)
            found.append(
                _Question(
                    tokens[:most],
                    context,
                    label["question"],
                    answers,
                    context.covering(*answers[0]) if answers else None,
                    len(tokens) > most,
                    list(windows(len(context.ids), room=room, stride=stride)),
                )
            )
        return found

    def _counts(self, num_questions: int) -> dict[str, float]:
        """Return what is said of the questions, and of their windows."""
        answered = [row for row in self._rows if row.answers]
        spans = [row.span for row in answered if row.span]
        widened = [row for row in answered if row.span and row.context.between(*row.span) != row.texts[0]]
        tokens = sum(len(self._rows[row].tokens) + stop - first for row, first, stop in self._windows)
        return {
            "pairs": num_questions,
            "examples": self.num_examples,
            "truncated": sum(row.is_cut for row in self._rows),
            "dropped": num_questions - len(self._rows),
            "density": (tokens + self._num_framing * self.num_examples) / (self.num_examples * self._length),
            "questions": len(self._rows),
            "questions_unanswered": len(self._rows) - len(answered),
            "answers_unseen": sum(
                not any(_within(row.span, each) for each in row.windows) for row in answered
            ),
            "answers_too_long": sum(last - first >= self._config.max_answer_length for first, last in spans),
            "answers_widened": len(widened),
        }

    def evaluated(self, max_examples: int | None) -> np.ndarray:
        """Return the windows of as many questions, evenly spread: each has all of its windows."""
        chosen = evaluation_indices(len(self._rows), max_examples)
        bounds = [0, *accumulate(len(row.windows) for row in self._rows)]
        return np.concatenate([np.arange(bounds[row], bounds[row + 1]) for row in chosen.tolist()])

    def fields(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the batch fields of rows ``indices``; there is no noise to draw."""
        del noise_key, noise_indices
        fields = self.spec.blank(len(indices))
        for place, index in enumerate(indices.tolist()):
            number, first, stop = self._windows[index]
            row = self._rows[number]
            front = [self._special.cls, *row.tokens.tolist(), *self._separators]
            ids = [*front, *row.context.ids[first:stop].tolist(), self._special.sep]
            fields["encoder_input_tokens"][place, : len(ids)] = ids
            fields["encoder_segment_ids"][place, : len(ids)] = 1
            if "encoder_token_types" in fields:
                fields["encoder_token_types"][place, len(front) : len(ids)] = 1
            fields["span_positions"][place] = 0
            if row.span is not None and _within(row.span, (first, stop)):
                fields["span_positions"][place] = np.add(row.span, len(front) - first)
        return fields

    def described(self, index: int) -> Described:
        """Return question, context and answers of question ``index``."""
        row = self._rows[index]
        text, (reference, *others) = f"{row.text}\n{row.context.text}", row.texts
        return Described(text, reference, row.is_cut, tuple(others))

    def predictions(self, found: Iterable[tuple[int, Mapping[str, np.ndarray]]]) -> Iterator[tuple[int, str]]:
        """Yield the answer to each question, empty for none: of its windows, the best span."""
        for number, of_question in groupby(found, key=lambda each: self._windows[each[0]][0]):
            spans, nulls = [], []
            for index, outputs in of_question:
                nulls.append(float(outputs["span"][:, 0].sum()))
                spans += self._found(index, outputs["span"])
            yield number, best_text(spans, nulls, threshold=self._config.null_threshold)

    def _found(self, index: int, scores_2M: np.ndarray) -> list[tuple[float, str]]:
        """Return score and text of the best span of a window; nothing of one without tokens."""
        number, first, stop = self._windows[index]
        row = self._rows[number]
        begin = 1 + len(row.tokens) + len(self._separators)  # behind [CLS] question [SEP]
        starts_N, ends_N = scores_2M[:, begin : begin + stop - first]
        best = best_span(starts_N, ends_N, max_length=self._config.max_answer_length)
        return [(best.score, row.context.between(first + best.first, first + best.last))] if best else []


def _within(span: tuple[int, int] | None, window: tuple[int, int]) -> bool:
    return span is not None and window[0] <= span[0] and span[1] < window[1]


def _labels(store: PairStore) -> list[dict[str, Any]]:
    """Return question, context and answers of each row.

    Raises:
      DataError: if the store does not keep them.
    """
    rows = store.labels(wanted=("question", "context", "answers"))
    if rows is None:
        raise DataError(
            f"{store.path} keeps no places of answers; prepare questions and contexts for a task that does: "
            "t5lite prepare task --task answer-spans"
        )
    return rows
