"""Masked words of a file: which rank a run gives the right one, or whether it prefers it to other words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from t5lite.checkpointing.reading import Step
from t5lite.core.errors import DataError
from t5lite.core.storage.addresses import absolute_location
from t5lite.data.reading.input_files import RECORD_FORMATS, find_input_files
from t5lite.data.reading.rows import Lose, read_rows
from t5lite.data.reading.tally import Tally, messages
from t5lite.data.vocabulary import Vocabulary
from t5lite.decoding.filling import MASK
from t5lite.evaluation.masked_words import GAP_MEASURES, Gap, Guess, WordInText, gap_model, word_in_text
from t5lite.evaluation.metrics.corpus_metric import mean_sample, score_of
from t5lite.evaluation.metrics.score import Score
from t5lite.models.functional import build
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.runner.averages import Average
from t5lite.runner.checkpoint_choice import chosen_average
from t5lite.runner.evaluation import MASKED_WORDS, Evaluation, about_parameters, parameter_settings
from t5lite.runner.int8_weights import Weights
from t5lite.runner.loading import load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot

_RANKS = (1, 5, 10)
_OTHER_MASKS = ("<mask>", "<extra_id_0>")
_CANDIDATES = "candidates"
_NO_TOKENS = "unknown to the vocabulary, or share a token with their text"


@dataclass(frozen=True)
class _Columns:
    """Makes the text before and behind the mask of a row, its answer, and the words to choose among."""

    columns: tuple[str, ...] = ("text", "answer", _CANDIDATES)
    optional: frozenset[str] = frozenset([_CANDIDATES])
    other_names: str = "rename them"

    def __call__(self, row: Mapping[str, Any], lose: Lose) -> list[Any]:
        del lose
        text, answer, candidates = row["text"], _word(row["answer"], "answer"), row.get(_CANDIDATES) or []
        if not isinstance(text, str):
            raise ValueError(f"text is {text!r}, no text; give a sentence with {MASK} in it")
        before, *others = text.split(MASK)
        if len(others) != 1:
            called = [name for name in _OTHER_MASKS if name in text]
            instead = f" ({called[0]} is another tokenizer's name of it)" if called and not others else ""
            raise ValueError(
                f"text has {len(others) or 'no'} {MASK}{instead}, and one is asked for; write {MASK}, "
                "whatever the tokenizer calls it, in the place of one word"
            )
        if not isinstance(candidates, list):
            raise ValueError(f"{_CANDIDATES} is {candidates!r}, no list; give a list of words, in JSON lines")
        words = [_word(each, _CANDIDATES) for each in candidates]
        if len(set(words)) < len(words):
            raise ValueError(f"{_CANDIDATES} has a word twice: {words}; give each once")
        if words and answer not in words:
            raise ValueError(f"{_CANDIDATES} {words} lacks the answer {answer!r}; put it there")
        if len(words) == 1:
            raise ValueError(f"{_CANDIDATES} is {words}, the answer alone; give other words beside it")
        return [before, answer, others[0], words]


def _word(value: Any, column: str) -> str:
    if not isinstance(value, str) or not value or value != value.strip():
        raise ValueError(f"{column} has {value!r}, no word; give one without white space around it")
    return value


class _Question(NamedTuple):
    """A row, and where its words are in their texts; None where a word is no tokens of its own."""

    before: str
    answer: str
    after: str
    words: Mapping[str, WordInText | None]
    """The answer, and the candidates if there are some."""

    @property
    def has_rank(self) -> bool:
        """Whether the answer is one token."""
        found = self.words[self.answer]
        return found is not None and len(found.word) == 1


class _Answered(NamedTuple):
    """What a model says of a question; None, and nothing, where it has not been asked."""

    guess: Guess | None
    """Of the answer, where it is one token."""
    log_likelihoods: Mapping[str, float | None]
    """Of the candidates."""

    def is_right(self, answer: str) -> bool:
        """Whether the answer is more probable than each other candidate."""
        found = self.log_likelihoods[answer]
        others = [value for word, value in self.log_likelihoods.items() if word != answer]
        return found is not None and all(other is None or found > other for other in others)


def evaluate_masked_words(
    run: str | Path,
    file: str,
    *,
    step: Step = "newest",
    average: Average | None = None,
    weights: Weights | None = None,
    batch_size: int = 32,
    announce: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Return how high a run ranks masked words, and how often it prefers them to other candidates.

    Answers of several tokens, or none of their own, have no rank and are left out of what is about ranks,
    with a note; among candidates any word may be (``evaluation.masked_words``).

    Args:
      run: run directory, of a training or an import.
      file: rows with ``text``, in which one word is ``[MASK]``, its ``answer``, and maybe ``candidates``, a
        list with the answer in it; or a folder or glob of such files.
      step: checkpoint, or "best"; the newest by default.
      average: what to take in place of its parameters; None as of ``evaluate``.
      weights: as of ``load_trained``.
      batch_size: gaps at once.
      announce: is told when everything is checked and the long work begins.

    Raises:
      UserError: if the run or the file cannot be used, or no answer has a rank and none has candidates.
    """
    found, tally = Snapshot(RunDirectory.at(run)), Tally()
    inputs = find_input_files([file], allowed=RECORD_FORMATS)
    rows = [made for _, *made in read_rows(inputs.paths, _Columns(), tally=tally)]
    if not rows:
        raise DataError(f"{file} has no masked word; give rows with text (one {MASK} in it) and answer")
    vocabulary, config = found.vocabulary, found.model.narrowed
    # Before anything is loaded, what fills no gaps is refused.
    asked = gap_model(build(config, found.model.execution), vocabulary, batch_size=batch_size)
    questions = [_question(vocabulary, *row) for row in rows]
    if not any(each.has_rank or len(each.words) > 1 for each in questions):
        raise DataError(
            f"{file}: no answer is one token of this vocabulary (the first is {questions[0].answer!r}), so "
            f"that none has a rank; give {_CANDIDATES}, which may have several tokens"
        )
    gaps = [
        asked.gaps(word) if len(each.words) > 1 or each.has_rank else []
        for each in questions
        for word in each.words.values()
        if word is not None
    ]
    config.check_length(max(len(gap.read) for some in gaps for gap in some))
    taken = chosen_average(found, step, average)
    partitioner = make_partitioner(PartitioningConfig())
    trained = load_trained(found, partitioner, step=step, average=taken, weights=weights)
    announce(f"{len(rows):,} masked words; the first ones compile for a while")
    asked = gap_model(trained.model, vocabulary, batch_size=batch_size)
    guesses = _divided(asked.guesses(trained.params, [gap for some in gaps for gap in some]), gaps)
    answers = _answers(questions, guesses)
    scores = _scores(questions, answers)
    records = [
        _record(number, question, answer, vocabulary)
        for number, (question, answer) in enumerate(zip(questions, answers, strict=True))
    ]
    return Evaluation(
        name=MASKED_WORDS,
        step=trained.step,
        store=absolute_location(file),
        num_examples=len(rows),
        metrics={name: score.value for name, score in scores.items()},
        scores=scores,
        predictions=records,
        notes=(
            *about_parameters(trained, taken),
            GAP_MEASURES[config.architecture],
            *_notes(questions, answers),
            *messages(tally.report(), inputs.skipped),
        ),
        settings={"measures": MASKED_WORDS} | parameter_settings(trained, taken),
    )


def _question(
    vocabulary: Vocabulary, before: str, answer: str, after: str, candidates: Sequence[str]
) -> _Question:
    words = {}
    for word in candidates or [answer]:
        found = word_in_text(vocabulary, before, word, after)
        unknown = found is not None and vocabulary.unk_id is not None and vocabulary.unk_id in found.word
        words[word] = None if unknown else found
    return _Question(before, answer, after, words)


def _divided(guesses: Sequence[Guess], gaps: Sequence[Sequence[Gap]]) -> list[list[Guess]]:
    """Return the guesses of the gaps of each word."""
    rest = iter(guesses)
    return [[next(rest) for _ in some] for some in gaps]


def _answers(questions: Sequence[_Question], guesses: Sequence[Sequence[Guess]]) -> list[_Answered]:
    rest, found = iter(guesses), []
    for question in questions:
        said = {word: None if located is None else next(rest) for word, located in question.words.items()}
        of_answer = said[question.answer]
        guess = of_answer[0] if of_answer and question.has_rank else None
        likelihoods = {
            word: None if each is None else float(sum(one.log_prob for one in each))
            for word, each in said.items()
        }
        found.append(_Answered(guess, likelihoods if len(likelihoods) > 1 else {}))
    return found


def _scores(questions: Sequence[_Question], answers: Sequence[_Answered]) -> dict[str, Score]:
    """Return accuracy among the best and mean reciprocal rank, and accuracy among candidates."""
    found: dict[str, Score] = {}
    ranks_N = np.array([each.guess.rank for each in answers if each.guess is not None])
    if len(ranks_N):
        found |= {f"accuracy_at_{most}": score_of(mean_sample(ranks_N <= most)) for most in _RANKS}
        found["mean_reciprocal_rank"] = score_of(mean_sample(1 / ranks_N))
    hits_N = [
        answer.is_right(question.answer)
        for question, answer in zip(questions, answers, strict=True)
        if answer.log_likelihoods
    ]
    if hits_N:
        found["candidate_accuracy"] = score_of(mean_sample(np.array(hits_N)))
        chance_N = [1 / len(each.log_likelihoods) for each in answers if each.log_likelihoods]
        found["chance"] = Score(value=float(np.mean(chance_N)))
    return found


def _notes(questions: Sequence[_Question], answers: Sequence[_Answered]) -> list[str]:
    notes, count = [], len(questions)
    located = [each.words[each.answer] for each in questions]
    ranked = sum(each.guess is not None for each in answers)
    several = sum(each is not None and len(each.word) > 1 for each in located)
    nothing = sum(each is None for each in located)
    if ranked < count:
        why = [f"{several:,} answers are several tokens"] * (several > 0)
        why += [f"{nothing:,} are unknown to the vocabulary, or share a token with their text"] * (
            nothing > 0
        )
        notes.append(f"{' and '.join(why)}: ranks are of the {ranked:,} of {count:,} that are one token")
    if chosen := [each for each in zip(questions, answers, strict=True) if each[1].log_likelihoods]:
        words = [word for question, _ in chosen for word in question.words.values()]
        longer = sum(word is not None and len(word.word) > 1 for word in words)
        unknown = sum(word is None for word in words)
        notes.append(
            f"candidates: {len(words):,} in {len(chosen):,} of {count:,} examples; a word's score is its "
            f"log-likelihood, of the {longer:,} of several tokens from left to right"
        )
        if unknown:
            notes.append(f"{unknown:,} candidates are {_NO_TOKENS}: none is chosen")
        if tied := sum(_is_tied(answer.log_likelihoods, question.answer) for question, answer in chosen):
            notes.append(f"{tied:,} of {len(chosen):,} answers tie with the best other candidate: misses")
    values = [value for each in answers for value in each.log_likelihoods.values() if value is not None]
    values += [each.guess.log_prob for each in answers if each.guess is not None]
    if no_numbers := int(np.isnan(values).sum()):
        notes.append(f"{no_numbers:,} of {len(values):,} log-probabilities are no numbers (NaN): misses")
    return notes


def _is_tied(log_likelihoods: Mapping[str, float | None], answer: str) -> bool:
    others = [value for word, value in log_likelihoods.items() if word != answer and value is not None]
    return bool(others) and log_likelihoods[answer] == max(others)


def _record(number: int, question: _Question, answer: _Answered, vocabulary: Vocabulary) -> dict[str, Any]:
    """Return what is kept of a question: a prediction is the best candidate, or else the best token."""
    guess, candidates = answer.guess, answer.log_likelihoods
    best = [] if guess is None else [vocabulary.token_text(token).strip() for token in guess.best]
    known = {word: value for word, value in candidates.items() if value is not None}
    prediction = max(known, key=lambda word: known[word]) if known else next(iter(best), "")
    record = {
        "example": number,
        "input": f"{question.before}{MASK}{question.after}",
        "reference": question.answer,
        "prediction": prediction,
        "rank": None if guess is None else guess.rank,
    }
    if guess is not None:
        record |= {"log_prob": guess.log_prob, "best": list(zip(best, guess.best_log_probs, strict=True))}
    return record | ({_CANDIDATES: dict(candidates)} if candidates else {})
