"""Tasks of lm-evaluation-harness and of seqio: what maps is read, and what does not is refused by name."""

import pytest

from t5lite.core.errors import ConfigError
from t5lite.decoding import Beam, DecodingConfig
from t5lite.tasks import TASKS
from t5lite.tasks.decoding import task_decoding
from t5lite.tasks.fields import Label
from t5lite.tasks.opening import open_task
from t5lite.tasks.rows import TaskRows
from t5lite.tasks.task import Splits

HARNESS = """
task: my_boolq
tag: [mine]
dataset_path: super_glue
training_split: train
validation_split: validation
output_type: multiple_choice
doc_to_text: "{{passage}}\\nQuestion: {{ question }}? {1}\\nAnswer:"
doc_to_target: label
doc_to_choice: ["no", "yes"]
target_delimiter: " "
fewshot_delimiter: "\\n---\\n"
num_fewshot: 2
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: mcc}
should_decontaminate: true
doc_to_decontamination_query: passage
metadata: {version: 2.0}
"""
GENERATION = """
task: gen
doc_to_text: "Q: {{question}}"
doc_to_target: "{{answers.text.0}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 20, do_sample: false, temperature: 0.0}
"""
T5_PROMPT = """
group: [super-glue-t5-prompt]
task: super_glue-boolq-t5-prompt
dataset_path: super_glue
output_type: greedy_until
doc_to_text: "boolq passage: {{passage}} question: {{question}}"
doc_to_target: label
doc_to_choice: ['False', 'True']
metric_list:
  - {metric: exact_match, aggregation: mean, ignore_case: true, ignore_punctuation: true}
"""
SEQIO = """
name: wmt
source: {tfds_name: wmt}
preprocessors:
  - translate: {source_language: en, target_language: de}
  - tokenize
  - append_eos
output_features: {inputs: {max_length: 99}, targets: {max_length: 33}}
metric_fns: [bleu]
"""


def read(tmp_path, text: str):
    path = tmp_path / "task.yaml"
    path.write_text(text)
    return open_task(str(path))


def texts(task, row):
    return TaskRows(task=task)(row, lambda loss: None)[:2]


def test_a_choice_of_the_harness_is_a_label(tmp_path):
    task = read(tmp_path, HARNESS)
    assert texts(task, {"passage": "p", "question": "q", "label": 1}) == [
        "p\nQuestion: q? {1}\nAnswer:",
        "yes",
    ]
    assert task.fields == {"label": Label(names=("no", "yes"))}
    assert task.metrics == ("accuracy", "matthews")
    assert (task.shots, task.shot_delimiter, task.answer_delimiter) == (2, "\n---\n", " ")
    assert task.splits == Splits(train=("train",), heldout=("validation",))
    assert task.has_classes


def test_what_the_harness_generates_is_a_template_of_a_column(tmp_path):
    task = read(tmp_path, GENERATION)
    assert (task.inputs, task.targets, task.targets_length) == ("Q: {question}", "{answers.text.0}", 20)
    assert task.metrics == ("accuracy",)


def test_f1_of_the_harness_is_of_the_second_of_two_choices(tmp_path):
    assert read(tmp_path, HARNESS.replace("mcc", "f1")).metrics == ("accuracy", "f1:yes")


def test_columns_by_their_names_and_items_by_their_numbers(tmp_path):
    """As of openbookqa, mmlu and nq_open: several answers are right."""
    text = GENERATION.replace('"Q: {{question}}"', "question_stem").replace("answers.text.0", "answer")
    text += "filter_list: [{name: a, filter: [{function: remove_whitespace}, {function: take_first}]}]\n"
    task = read(tmp_path, text)
    made = TaskRows(task=task)({"question_stem": "q", "answer": ["a", "b"]}, lambda loss: None)
    assert made[:3] == ["q", "a", ("b",)]
    task = read(tmp_path, HARNESS.replace("{{passage}}", "A. {{choices[1]}}"))
    assert task.inputs.startswith("A. {choices.1}")


def test_t5_s_prompt_in_the_harness_is_t5_s(tmp_path):
    task = read(tmp_path, T5_PROMPT)
    row = {"passage": "p", "question": "q", "label": 0}
    assert texts(task, row) == ["boolq passage: p question: q", "False"]
    assert task.metrics == ("exact_match",)


def test_seqio_s_preprocessors_are_templates(tmp_path):
    task = read(tmp_path, SEQIO)
    assert texts(task, {"en": "That is good.", "de": "Das ist gut."}) == [
        "translate English to German: That is good.",
        "Das ist gut.",
    ]
    assert (task.inputs_length, task.targets_length, task.metrics) == (99, 33, ("bleu",))
    squad = read(tmp_path, "name: s\npreprocessors: [squad]\nmetric_fns: [squad]\n")
    ours = TASKS["extractive-qa"]
    assert (squad.inputs, squad.targets, squad.fields) == (ours.inputs, ours.targets, ours.fields)


def test_a_task_s_own_fields_may_be_yaml(tmp_path):
    task = read(tmp_path, 'name: x\ninputs: "{a} of {{b}}"\ntargets: "{c}"\n')
    assert texts(task, {"a": "1", "c": "2"}) == ["1 of {b}", "2"]


def test_beam_search_of_the_harness_is_the_task_s_decoding(tmp_path):
    """Of one beam nothing is left to say: it is greedy search."""
    beams = "num_beams: 2, length_penalty: 0.6, early_stopping: true, no_repeat_ngram_size: 3, do_sample"
    task = read(tmp_path, GENERATION.replace("do_sample", beams))
    assert task_decoding(task) == DecodingConfig(
        strategy=Beam(num_beams=2, length_penalty=0.6, early_stopping=True), no_repeat_ngram_size=3
    )
    assert task.targets_length == 20
    assert read(tmp_path, GENERATION.replace("do_sample", "num_beams: 1, do_sample")).decoding == {}
    task = read(tmp_path, GENERATION.replace("do_sample", "repetition_penalty: 1.5, do_sample"))
    assert task_decoding(task) == DecodingConfig(repetition_penalty=1.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HARNESS + "process_docs: x\n", "process_docs of the lm-evaluation-harness does not map"),
        (HARNESS.replace("multiple_choice", "loglikelihood"), "output_type .* 'loglikelihood'"),
        (HARNESS.replace("{{passage}}", "{{passage|trim}}"), r"doc_to_text .*Jinja beyond \{\{column\}\}"),
        (HARNESS.replace("{{passage}}", "{% if x %}"), "doc_to_text .*Jinja beyond"),
        (HARNESS.replace("doc_to_choice", "doc_to_choices"), "doc_to_choices"),
        (GENERATION + "metric_list: [{metric: f1}]\n", "metric_list .*'?f1'? is no metric of both"),
        (
            GENERATION + "metric_list: [{metric: exact_match, regexes_to_ignore: [x]}]\n",
            r"metric_list\.regexes_to_ignore .*\['x'\]",
        ),
        (
            GENERATION + "filter_list: [{name: a, filter: [{function: regex}]}]\n",
            "filter_list .*'regex' is neither remove_whitespace nor take_first",
        ),
        (HARNESS.replace('["no", "yes"]', '"{{choices.text}}"'), "doc_to_choice .*no list of texts"),
        (HARNESS.replace('["no", "yes"]', "[1, 2]"), "doc_to_choice .*no list of texts"),
        (
            HARNESS.replace("metric: acc", "metric: acc_norm"),
            "metric_list .*'?acc_norm'? is no metric",
        ),
        (GENERATION.replace("do_sample: false", "do_sample: true"), r"generation_kwargs\.do_sample"),
        (GENERATION.replace("until", "num_beams"), r"generation_kwargs\.num_beams"),
        (GENERATION.replace("until", "top_k"), r"generation_kwargs\.top_k .*greedy or beam search, of num_"),
        (
            GENERATION.replace("do_sample", "length_penalty: 2, do_sample"),
            r"generation_kwargs\.length_penalty .*2; it is of several num_beams",
        ),
        (GENERATION + "doc_to_image: x\n", "doc_to_image"),
        (GENERATION.replace("20", "many"), r"max_gen_toks .*'many' is no whole number"),
        (GENERATION.replace('"Q: {{question}}"', "!function utils.text"), "no YAML of plain values"),
        ("a: !!python/object/apply:os.system ['true']", "no YAML of plain values"),
        ("- a\n- b\n", "no mapping"),
        ("{1: 2}", "no mapping"),
        (SEQIO.replace("tokenize", "tokenise"), "'tokenise' of seqio .*did you mean 'tokenize'"),
        (SEQIO.replace("en,", "xx,"), "translate lacks 'xx'"),
        (SEQIO.replace("target_language", "target"), "translate lacks 'target_language'"),
        (SEQIO.replace("[bleu]", "[bleurt]"), "'bleurt' of seqio .*did you mean 'bleu'"),
        (SEQIO.replace("max_length: 33", "vocabulary: v"), "output_features.targets"),
        (SEQIO + "postprocess_fn: x\n", "'postprocess_fn' of seqio"),
        ("preprocessors: [tokenize]\n", "none of preprocessors makes inputs"),
        ("preprocessors: tokenize\n", "must be a list"),
        ("name: x\nshots: -1\n", "shots=-1"),
        ("name: x\ninptus: y\n", "unknown field 'inptus'"),
    ],
    ids=lambda value: value[-30:],
)
def test_what_does_not_map_is_refused_by_name(text, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)
