"""How probable labels are: by their definition, each input read once, and of all labels that a task has."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.core.errors import DataError
from t5lite.data.examples.label_classes import named_classes
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.decoding import Row
from t5lite.decoding.decoder import AnsweringDecoder, ContinuingDecoder
from t5lite.evaluation.text_scoring import GivenTarget, TargetScorer
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, NormalInitializer
from t5lite.models.functional import build
from t5lite.runner.label_probabilities import LabelProbabilities, calibrated_labels
from t5lite.tasks.fields import Label
from t5lite.tasks.opening import open_task
from t5lite.tasks.task import Task

VOCABULARY = ByteVocabulary(extra_ids=5)
SIZES = {"vocab_size": VOCABULARY.size, "embed_dim": 16, "mlp_dim": 16, "head_dim": 8, "num_heads": 2}
SIZES |= {"initializer": NormalInitializer(std=0.5)}
MODELS = {
    AnsweringDecoder: EncoderDecoderConfig(num_encoder_layers=1, num_decoder_layers=1, **SIZES),
    ContinuingDecoder: DecoderOnlyConfig(num_layers=1, **SIZES),
}
LABELS = ("no", "yes, so", "sí", "a label that is cut")


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_they_are_shares_of_the_likelihoods_and_an_input_is_read_once(kind, monkeypatch):
    model, rows_read = build(MODELS[kind]), []
    params = jax.jit(model.init)(jax.random.key(0))
    start = kind.start

    def counted(decoder, tokens_BM, marks):
        rows_read.append(tokens_BM.shape[0])
        return start(decoder, tokens_BM, marks)

    monkeypatch.setattr(kind, "start", counted)
    rows = [
        Row(VOCABULARY.encode(text), 0) for text in ("a question?", "another", "a third one, longer still")
    ]
    probabilities = LabelProbabilities(
        *(model, named_classes(LABELS, VOCABULARY), VOCABULARY),
        encoder_length=32,
        answer_length=10,
        batch_size=8,
    )
    found_NC = probabilities(params, rows)
    eos = VOCABULARY.eos_id
    targets = [(*VOCABULARY.encode(label)[:9].tolist(), eos) for label in LABELS]
    given = [GivenTarget(row.ids, target) for row in rows for target in targets]
    scored = TargetScorer(model, batch_size=12).scores(params, given)
    wanted_NC = jax.nn.softmax(np.reshape([each.log_likelihood for each in scored], (3, 4)), axis=1)
    np.testing.assert_allclose(found_NC, wanted_NC, rtol=2e-4)
    assert set(rows_read) == {2}  # of eight labels at once


class _Pairs:
    """A store with these targets."""

    path, collapsed_targets = "store", ()

    def __init__(self, targets):
        self.num_pairs, self.targets = len(targets), _Targets(list(map(VOCABULARY.encode, targets)))

    def target_names(self):
        return ()

    def vocabulary(self):
        return VOCABULARY


class _Targets:
    def __init__(self, ids):
        self.num_documents, self._all = len(ids), np.concatenate(ids)
        self._ends = np.cumsum([len(each) for each in ids])

    def document_ends(self, first, last):
        return self._ends[first:last]

    def tokens(self, start, end):
        return self._all[start:end]


MNLI = ("entailment", "neutral", "contradiction")


@given(st.lists(st.sampled_from(MNLI), min_size=1, max_size=5))
def test_a_task_that_names_its_labels_has_them_whatever_is_held_out(targets):
    labels, numbers_N = calibrated_labels(open_task("mnli"), _Pairs(targets), VOCABULARY)
    assert labels.texts == MNLI
    assert [MNLI[number] for number in numbers_N] == targets


def test_a_task_of_any_labels_has_those_that_are_held_out_and_others_are_said():
    labels, numbers_N = calibrated_labels(open_task("classification"), _Pairs(["b", "a", "b"]), VOCABULARY)
    assert (labels.texts, numbers_N.tolist()) == (("a", "b"), [1, 0, 1])
    assert calibrated_labels(open_task("classification"), _Pairs(["b"]), VOCABULARY) is None
    assert calibrated_labels(open_task("translation"), _Pairs(["b", "a"]), VOCABULARY) is None
    with pytest.raises(DataError, match=r"no calibration: not every target of store .*'entailment', 'n"):
        calibrated_labels(open_task("mnli"), _Pairs(["neutral", "not sure"]), VOCABULARY)


def test_the_answers_of_a_task_are_its_template_with_each_choice_of_its_classes():
    fields = {"mood": Label(names=("good", "bad")), "size": Label(names=("big", "small"))}
    task = Task(name="t", targets="{mood}/{size} {mark}", fields=fields, constants={"mark": "!"})
    assert task.answers == ("good/big !", "good/small !", "bad/big !", "bad/small !")
    assert open_task("sst2").answers == ("negative", "positive")
    assert open_task("stsb").answers is open_task("classification").answers is None
