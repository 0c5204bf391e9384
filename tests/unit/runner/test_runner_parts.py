"""What a run is put together from, on made-up pairs and without training."""

import dataclasses
import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from t5lite.adapters import Adaptation, Base, PromptTuning
from t5lite.core.errors import CheckpointError, ConfigError, DataError
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.examples.span_examples import SpansDataConfig
from t5lite.data.objectives import Deshuffling, PrefixLM
from t5lite.data.pipeline import PairsDataConfig, PretrainingDataConfig, evaluation_indices, open_pipeline
from t5lite.data.position import DataPosition
from t5lite.data.prepare import write_pair_store
from t5lite.data.stores.pair_store import PairStore, PairStoreWriter
from t5lite.data.vocabulary import SentencePieceVocabulary, Vocabulary, train_vocabulary
from t5lite.decoding import GREEDY, Beam, DecodingConfig
from t5lite.evaluation.text_generation import GenerationSizes, Output
from t5lite.models.config import EncoderDecoderConfig, EncoderOnlyConfig, Execution
from t5lite.models.functional import build
from t5lite.optim import AdafactorConfig, Constant
from t5lite.run_config import EvaluationConfig, InitializeFrom, RunConfig
from t5lite.runner import data_messages, evaluation, initialization, task_scoring
from t5lite.runner.earlier_run import earlier_run
from t5lite.runner.evaluation import EvaluationChanges
from t5lite.runner.heldout import example_settings, open_heldout
from t5lite.runner.model_file import ModelFile, VocabularyFile
from t5lite.runner.probing import evaluate_probes
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.task_scoring import TaskScorer
from t5lite.runner.training_data import check_epochs
from t5lite.training.config import TrainingConfig

NUM_PAIRS = 12
EXTRA_IDS = 7
UNK = 2


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory) -> Vocabulary:
    path = tmp_path_factory.mktemp("vocabulary") / "spiece.model"
    words = ["".join(letters) for letters in itertools.product("abcde", repeat=3)]
    train_vocabulary([" ".join(words[i::7]) for i in range(7)], path, size=20)
    return SentencePieceVocabulary(path, extra_ids=EXTRA_IDS)


@pytest.fixture(scope="module")
def store(vocabulary: Vocabulary, tmp_path_factory) -> Path:
    """Pairs of a few tokens, the last one far longer than a row, with ids that no text encodes to."""
    path = tmp_path_factory.mktemp("pairs") / "heldout"
    with PairStoreWriter(path, vocabulary=vocabulary) as writer:
        for i in range(NUM_PAIRS):
            inputs = np.array([5, UNK, 6, 6, 6] + [7] * (100 if i == NUM_PAIRS - 1 else 0), np.int32)
            writer.add_batch([(inputs, np.array([UNK, 5 + i % 3], np.int32))])
    return path


@pytest.fixture
def config(store: Path, vocabulary: Vocabulary, tmp_path: Path) -> RunConfig:
    return RunConfig(
        run_dir=str(tmp_path / "run"),
        model=EncoderDecoderConfig(
            vocab_size=vocabulary.size,
            embed_dim=8,
            mlp_dim=16,
            head_dim=4,
            num_heads=2,
            num_encoder_layers=1,
            num_decoder_layers=1,
        ),
        data=PairsDataConfig(
            store=str(store), inputs_length=24, targets_length=12, pack=True, overlong="drop", max_epochs=1
        ),
        optimizer=AdafactorConfig(),
        schedule=Constant(),
        training=TrainingConfig(total_steps=2, batch_size=2),
        evaluations={"heldout": EvaluationConfig(store=str(store), batch_size=4, task="translation")},
    )


def changed_evaluation(config: RunConfig, **changes) -> RunConfig:
    evaluations = {name: dataclasses.replace(each, **changes) for name, each in config.evaluations.items()}
    return dataclasses.replace(config, evaluations=evaluations)


def test_heldout_pairs_are_neither_packed_nor_dropped(config: RunConfig, vocabulary: Vocabulary):
    pipeline = open_heldout(config, vocabulary)["heldout"].pipeline
    assert pipeline.num_examples == NUM_PAIRS
    batches = list(pipeline.eval_batches(4))
    assert len(batches) == NUM_PAIRS // 4
    assert max(batch["encoder_segment_ids"].max() for batch in batches) == 1


def test_what_an_evaluation_answers_may_be_changed(config: RunConfig):
    """An infinite threshold always answers; other data has no answers that are pointed at."""
    changes = EvaluationChanges(max_answer_length=7, null_threshold=math.inf)
    sizes = {"vocab_size": 20, "embed_dim": 8, "mlp_dim": 16, "head_dim": 4, "num_heads": 2, "num_layers": 1}
    spans = dataclasses.replace(
        config,
        model=EncoderOnlyConfig(**sizes, head="span_extraction"),
        data=SpansDataConfig(store=config.data.store),
        evaluations={},
    )
    data = changes.answering(spans).data
    assert data == dataclasses.replace(spans.data, max_answer_length=7, null_threshold=None)
    assert EvaluationChanges().answering(config) is config
    with pytest.raises(
        ConfigError, match="only questions with answers in a context have null_threshold, and the"
    ):
        EvaluationChanges(null_threshold=0.5).answering(config)


def test_a_task_is_scored_on_the_stored_ids_against_the_decoded_targets(config, vocabulary, monkeypatch):
    given, order = [], evaluation_indices(NUM_PAIRS, None).tolist()

    def generator(model, vocabulary, sizes, **_):
        assert sizes == GenerationSizes(encoder_length=24, max_decode_length=12, batch_size=4)

        def generate(_, inputs):
            given.extend(prompt.ids for prompt in inputs)
            return [Output(vocabulary.decode([UNK, 5 + i % 3]), input_cut=False) for i in order]

        return generate

    monkeypatch.setattr(task_scoring, "TextGenerator", generator)
    made = TaskScorer(build(config.model), vocabulary, config, "heldout")({})
    assert made.scores["chrf"] == pytest.approx(100)
    pairs = PairStore.open(config.evaluations["heldout"].store)
    for ids, i in zip(given, order, strict=True):
        np.testing.assert_array_equal(ids, pairs.inputs.document(i))
    reencoded = vocabulary.encode(vocabulary.decode(given[0]), parse_sentinels=True)
    assert reencoded.tolist() != given[0].tolist()  # else the test says nothing
    assert [each["example"] for each in made.examples] == order
    assert made.examples[0]["input"] == vocabulary.decode(given[0])
    assert "⁇" in made.examples[0]["reference"]
    assert made.examples[0]["scores"]["chrf"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("batch_size", "total_steps", "advice"),
    [
        (20, 3, r"12 examples is less than one batch of 20; set max_epochs to 5, or None, or .* at most 12$"),
        (5, 3, r"12 examples is 2 batches of 5, .*; use at most 2 steps, or set max_epochs to 2, or None$"),
    ],
)
def test_the_advice_for_too_little_data_can_be_followed(config, batch_size, total_steps, advice):
    def check(*, max_epochs, batch_size=batch_size, total_steps=total_steps):
        training = dataclasses.replace(config.training, batch_size=batch_size, total_steps=total_steps)
        data = dataclasses.replace(config.data, pack=False, overlong="truncate", max_epochs=max_epochs)
        changed = dataclasses.replace(config, training=training, data=data)
        check_epochs(open_pipeline(changed.data), changed)

    with pytest.raises(ConfigError, match=advice) as refusal:
        check(max_epochs=1)
    (epochs,), (limit,) = (
        map(int, re.findall(rf"{words} (\d+)", str(refusal.value))) for words in ("max_epochs to", "at most")
    )
    check(max_epochs=epochs)
    check(max_epochs=None)
    check(max_epochs=1, total_steps=min(limit, 1), batch_size=min(limit, batch_size))


@pytest.mark.parametrize(
    ("batch_size", "total_steps", "max_epochs", "message"),
    [
        (
            5,
            2,
            1,
            "the last 2 of 12 rows (max_epochs=1 of 12 examples) are never seen: less than a batch of 5",
        ),
        (
            *(5, 2, 2),
            "the last 14 of 24 rows (max_epochs=2 of 12 examples) are never seen: beyond the last step",
        ),
        (4, 2, None, "4 of 12 examples are never seen: 2 steps of 4 are less than an epoch"),
        (4, 3, 1, None),
        (5, 3, None, None),
    ],
)
def test_rows_that_are_never_seen_are_counted(config, batch_size, total_steps, max_epochs, message):
    data = dataclasses.replace(config.data, pack=False, overlong="truncate", max_epochs=max_epochs)
    pipeline = open_pipeline(data)
    found = data_messages.unseen_rows(
        pipeline, num_steps=total_steps, batch_size=batch_size, position=DataPosition()
    )
    assert found == message


def test_losses_of_one_kind_are_told_from_those_of_another_where_their_settings_are_the_same(config):
    text = [PretrainingDataConfig(store="text", objective=each) for each in (PrefixLM(), Deshuffling())]
    evaluations = {"heldout": EvaluationConfig(store="text")}
    runs = [dataclasses.replace(config, data=data, evaluations=evaluations) for data in (config.data, *text)]
    made = [example_settings(run, "heldout") for run in runs]
    assert [(each["kind"], each["head"]) for each in made] == [
        *(("pairs", "language_model"), ("PrefixLM", "language_model"), ("Deshuffling", "language_model")),
    ]


def test_task_scores_need_a_task(config: RunConfig, vocabulary: Vocabulary):
    without = changed_evaluation(config, task=None)
    with pytest.raises(ConfigError, match=r"evaluations\.heldout\.task=None; task scores need"):
        TaskScorer(build(config.model), vocabulary, without, "heldout")


def test_a_task_s_decoding_writes_what_is_scored_and_is_in_its_record(config, vocabulary, monkeypatch):
    """Evaluations without one are recorded as before."""
    asked = []

    def generator(*_, decoding, **__):
        asked.append(decoding)
        return lambda _, inputs: [Output("a", input_cut=False) for _ in inputs]

    monkeypatch.setattr(task_scoring, "TextGenerator", generator)
    beams = {"strategy": "beam", "num_beams": 2}
    told = changed_evaluation(config, task=json.dumps({"name": "mine", "decoding": beams}))
    for each, notes in ((config, ()), (told, (f"texts are written with {json.dumps(beams)}",))):
        assert TaskScorer(build(config.model), vocabulary, each, "heldout")({}).notes == notes
        settings = evaluation._settings(each, open_heldout(each, vocabulary)["heldout"])
        assert settings.get("decoding") == (beams if notes else None)
    assert asked == [GREEDY, DecodingConfig(strategy=Beam(num_beams=2))]


@pytest.mark.parametrize(
    ("decoding", "message"),
    [
        ({"min_new_tokens": 13}, "min_new_tokens=13 is more than max_decode_length=12"),
        ({"prefill_chunk_size": 4}, "prefill_chunk_size=4 is for models of a decoder alone"),
        ({"suppress_tokens": [10_000]}, "suppress_tokens has 10000; the model has tokens 0 to"),
        ({"top_k": 3}, "decoding of the task mine: --top-k is no option of strategy greedy"),
    ],
    ids=str,
)
def test_a_decoding_that_the_model_cannot_follow_is_refused_when_its_data_is_opened(
    decoding, message, config, vocabulary
):
    told = changed_evaluation(config, task=json.dumps({"name": "mine", "decoding": decoding}))
    with pytest.raises(ConfigError, match=message):
        open_heldout(told, vocabulary)


def test_classes_that_cannot_be_told_apart_are_not_scored(config: RunConfig, vocabulary, tmp_path):
    write_pair_store([("abc", "да"), ("abc", "нет")], vocabulary, tmp_path / "heldout")
    told = changed_evaluation(config, store=str(tmp_path / "heldout"), task="classification")
    with pytest.raises(DataError, match="cannot tell these targets apart: 'да' = 'нет'"):
        TaskScorer(build(config.model), vocabulary, told, "heldout")


def test_metrics_of_one_reference_refuse_several_before_anything_is_written(config, vocabulary, tmp_path):
    path = tmp_path / "several"
    with PairStoreWriter(path, vocabulary=vocabulary) as writer:
        writer.add_batch([(np.array([5, 6], np.int32), np.array([7, 5], np.int32))])
        writer.other_targets[0] = ["abc"]
    task = '{"name": "qa", "metrics": ["accuracy", "macro_f1", "f1:abc"]}'
    asked = changed_evaluation(config, store=str(path), task=task)
    message = r"\(macro_f1, f1:abc\) cannot score .* have several; .* take several \(accuracy, .*Text"
    with pytest.raises(ConfigError, match=message):
        TaskScorer(build(config.model), vocabulary, asked, "heldout")


def test_the_advice_for_another_vocabulary_names_its_sentinels(config, vocabulary, tmp_path):
    source = RunDirectory.at(tmp_path / "source")
    source.write_model(config.model, vocabulary, execution=Execution())
    found = initialization.find_source(InitializeFrom(run=str(source.path)), gives_parameters=False)
    other = SentencePieceVocabulary(vocabulary.path, extra_ids=EXTRA_IDS + 1)
    advice = rf"prepare it again with --vocabulary {source.path}/spiece.model --extra-ids {EXTRA_IDS}"
    with pytest.raises(ConfigError, match=advice):
        initialization.check_source(found, config.model, other)


def test_a_source_has_the_tags_that_are_spelt_alike_and_the_classes_that_are_the_same_tokens():
    """Tags are texts, which the vocabulary may spell as the same unknown tokens; rows are told by tokens."""
    tokens = ((UNK,), (5,))
    before, others = LabelClasses(("B-Å", "O"), tokens), LabelClasses(("B-Ø", "O"), tokens)
    shape = {"vocab_size": 20, "embed_dim": 8, "mlp_dim": 16, "head_dim": 4, "num_heads": 2, "num_layers": 1}
    for head, is_other in (("token_classification", True), ("sequence_classification", False)):
        model = EncoderOnlyConfig(**shape, head=head, num_labels=2)
        described = ModelFile("encoder_only", model, VocabularyFile(0, "0" * 64))
        source = initialization.Source(
            run="source", asked="newest", step=1, model=described, vocabulary_path="", classes=before
        )
        assert source.classes_for(model, before) == before
        assert (source.classes_for(model, others) is None) == is_other
        assert initialization.why_anew(source, model, before) is None
        reason = "the source has the classes 'B-Å', 'O', this run 'B-Ø', 'O'" if is_other else None
        assert initialization.why_anew(source, model, others) == reason
        more = dataclasses.replace(model, num_labels=3)
        assert initialization.why_anew(source, more, before) == "the source has another number of outputs"
        regressor = dataclasses.replace(model, head="sequence_regression")
        assert initialization.why_anew(source, regressor, None) == "the source has another head"


def test_probes_refuse_a_prompt_before_anything_is_read(config: RunConfig, vocabulary: Vocabulary):
    adaptation = Adaptation(adapter=PromptTuning(), base=Base(run="/base", step=1, digest=""))
    directory = RunDirectory.at(config.run_dir)
    directory.write_model(config.model, vocabulary, execution=Execution(), adaptation=adaptation)
    with pytest.raises(ConfigError, match=r"holds PromptTuning\(.* layers are what is probed; probe /base"):
        evaluate_probes(config.run_dir, "nowhere")


@pytest.mark.parametrize(
    ("num_texts", "num_labels", "said"),
    [(3000, 1001, "1,001 labels, of which 0 occur once"), (20, 19, "19 labels, of which 18 occur once")],
)
def test_probes_refuse_labels_that_are_no_classes(config, vocabulary, tmp_path, num_texts, num_labels, said):
    RunDirectory.at(config.run_dir).write_model(config.model, vocabulary, execution=Execution())
    rows = [f"abc {number}\t{number % num_labels}" for number in range(num_texts)]
    (tmp_path / "rows.tsv").write_text("\n".join(["text\tlabel", *rows]))
    with pytest.raises(DataError, match=f"{said}; .* put numbers into ranges, or leave rare labels out"):
        evaluate_probes(config.run_dir, str(tmp_path / "rows.tsv"))


def test_only_checkpoints_keep_another_model_out_of_a_run_directory(config, vocabulary):
    directory = RunDirectory.at(config.run_dir)
    directory.write_model(config.model, vocabulary, execution=Execution())
    wider = dataclasses.replace(config.model, mlp_dim=32)
    earlier_run(Snapshot(directory)).check(directory, wider, vocabulary)
    directory.write_model(wider, vocabulary, execution=Execution())
    assert directory.read_model()[0] == wider
    (directory.checkpoints / "3").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"mlp_dim: 32 → 16"):
        earlier_run(Snapshot(directory)).check(directory, config.model, vocabulary)


def test_resolved_paths_are_absolute(config: RunConfig, tmp_path: Path, monkeypatch):
    relative = dataclasses.replace(
        config,
        run_dir="a/../run",
        data=dataclasses.replace(config.data, store="train"),
        evaluations={name: EvaluationConfig(store=name) for name in ("heldout", "other")},
        initialize_from=InitializeFrom(run="source", step=3),
    )
    monkeypatch.chdir(tmp_path)
    resolved = relative.resolved()
    assert resolved.initialize_from == InitializeFrom(run=str(tmp_path / "source"), step=3)
    heldout = [each.store for each in resolved.evaluations.values()]
    paths = [resolved.run_dir, resolved.data.store, *heldout]
    assert paths == [str(tmp_path / name) for name in ("run", "train", "heldout", "other")]
    monkeypatch.chdir("/")
    assert resolved.resolved() == resolved
