"""Templates, and what their fields are made of."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError
from t5lite.evaluation.scoring import named_metrics
from t5lite.tasks import TASKS
from t5lite.tasks.fields import Entities, Label, Roles, RoundedNumber, Tags
from t5lite.tasks.left_out import NoLabelError
from t5lite.tasks.opening import check_task, kept_task, open_task, task_location, to_json
from t5lite.tasks.rows import TaskRows, example_texts
from t5lite.tasks.task import Task
from t5lite.tasks.template import Template
from t5lite.tasks.words import pad_punctuation

TEXTS = st.text(st.sampled_from("a {}.!:0'\"é\n"), max_size=8)


def test_what_stands_between_braces_is_a_name_and_nothing_else():
    text = "{{x}} {a b} {answers.text.0} {x.__class__} {0!r:>9}"
    template = Template.parse(text, name="inputs")
    assert template.fields == ("a b", "answers.text.0", "x.__class__", "0!r:>9")
    assert template.render(dict.fromkeys(template.fields, "{v}")) == "{x} {v} {v} {v} {v}"


@given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=5))
def test_a_template_gives_back_literal_text_and_values_whatever_they_are(parts):
    escaped = {True: "{f}", False: ""}
    text = "".join(part.replace("{", "{{").replace("}", "}}") + escaped[field] for part, field in parts)
    expected = "".join(part + ("{}v{f}" if field else "") for part, field in parts)
    assert Template.parse(text, name="inputs").render({"f": "{}v{f}"}) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": "a {b"}, r"inputs of t has a '{' alone at character 3 of 'a {b'; write {FIELD}, or {{"),
        ({"inputs": "a }"}, "has a '}' alone at character 3"),
        ({"inputs": "{ }"}, "braces without a field's name"),
        ({"inputs": "nothing"}, "names no column"),
        ({"targets": "{x}", "constants": {"x": "1"}}, "targets=.* names no column"),
        ({"fields": {"label": Label(names=("a", "b"))}}, "'label', which no template names"),
        ({"targets": "{label}", "constants": {"label1": "x"}}, "'label1', .*; did you mean 'label'"),
        ({"targets_length": 0}, "targets_length=0 of the task t must be positive"),
        ({"metrics": ()}, "has no metrics"),
        ({"name": " "}, "needs a name"),
    ],
    ids=str,
)
def test_a_task_that_cannot_be_used_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Task(**{"name": "t", **settings})


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_an_example_metrics_and_a_file(name, tmp_path):
    task = TASKS[name]
    for form in ("inputs", "instruction"):
        assert set(task.example) >= {column.split(".")[0] for column in task.columns(form)}
        assert all(text.strip() for text in example_texts(task, form))
    assert set(named_metrics(task.metrics)) == set(task.metrics)
    assert task.about
    assert task.instruction
    path = tmp_path / "task.json"
    path.write_text(json.dumps(to_json(task)))
    assert open_task(str(path)) == task


def test_labels_are_names_or_numbers():
    label = Label(names=("entailment", "not_entailment"))
    assert [label.text([value]) for value in ("not_entailment", 1, "0", 0)] == [
        "not_entailment",
        "not_entailment",
        "entailment",
        "entailment",
    ]
    for value, message in (
        ("entailmnet", "unknown label 'entailmnet'; did you mean 'entailment'"),
        (2, "unknown label '2'; allowed: entailment, not_entailment, or their numbers 0..1"),
        (["entailment"], "is of type list, not a text; name an item"),
        ({"x": 1}, "is of type dict"),
    ):
        with pytest.raises(ValueError, match=message):
            label.text([value])
    assert [label.text([value]) for value in ("1.0", 0.0, True, False)] == [
        *("not_entailment", "entailment", "not_entailment", "entailment"),
    ]
    assert [Label(names=("true", "false")).text([value]) for value in (True, False)] == ["true", "false"]
    for nothing in (-1, -1.0, "-1", "-", " - "):
        with pytest.raises(NoLabelError):
            label.text([nothing])
    for names in (("a",), ("a", "a"), ("a", " ")):
        with pytest.raises(ConfigError, match="two or more names"):
            Label(names=names)


@given(st.lists(st.integers(-1, 4).map(str), min_size=2, max_size=4, unique=True), st.integers(-1, 4))
def test_names_that_are_numbers_are_never_taken_for_places(names, value):
    label = Label(names=tuple(names))
    for given_as in (value, str(value), float(value)):
        if str(value) in names:
            assert label.text([given_as]) == str(value)
        else:
            error, message = (NoLabelError, "^$") if value == -1 else (ValueError, "by name alone")
            with pytest.raises(error, match=message):
                label.text([given_as])


@given(
    st.sampled_from([("a", "b"), ("0", "1", "15"), ("true", "false")]),
    st.integers(-1, 20),
    st.from_regex(r"0{0,3}[1-9][0-9]?", fullmatch=True),
)
def test_a_number_that_is_not_whole_is_no_label(names, whole, decimals):
    written = f"{whole}.{decimals}"
    for value in (written, float(written)):
        with pytest.raises(ValueError, match="unknown label"):
            Label(names=names).text([value])


@pytest.mark.parametrize("field", [Tags, Entities, Roles])
@pytest.mark.parametrize("name", ["NN", "B-", "b-PER", ""])
def test_numbers_stand_for_tags_of_bio_alone(field, name):
    with pytest.raises(ConfigError, match=rf"tag_names\[1\]='{name}' is none of BIO; write O, .* as B-"):
        field(tag_names=("O", name))
    assert Tags(tag_names=("O", "B-NN")).label([[1, 0, "1"]]) == ["B-NN", "O", "B-NN"]


def test_numbers_are_rounded_as_t5_does():
    """The first two are of T5's own tests; halves go to the even step, in float32."""
    texts = [RoundedNumber().text([value]) for value in (2.8, "1.66", 0, 5, 3.1, 2.5, 0.25, 4.75)]
    assert texts == ["2.8", "1.6", "0.0", "5.0", "3.2", "2.4", "0.2", "4.8"]
    for value in ("many", "nan", float("inf")):
        with pytest.raises(ValueError, match="is not a finite number"):
            RoundedNumber().text([value])


def test_punctuation_is_padded_as_t5_does():
    assert pad_punctuation('"This  is a string with "punctuation (1845-1986) ".') == (
        '" This is a string with " punctuation ( 1845 - 1986 ) " .'
    )


def test_columns_are_renamed_and_constants_are_none():
    task = TASKS["translation"]
    assert task.columns() == ("source", "target")
    rows = TaskRows(task=task, renamed=(("source", "en"),))
    assert rows.columns == ("en", "target")
    texts = rows({"en": "That is good.", "target": "Das ist gut."}, lambda loss: None)
    assert texts == [
        "translate English to German: That is good.",
        "Das ist gut.",
        (),
        "That is good.",
        "Das ist gut.",
    ]
    with pytest.raises(ConfigError, match=r"'source1', which is no column .*; did you mean 'source'"):
        TaskRows(task=task, renamed=(("source1", "en"),))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"name": "x", "inptus": "{a}"}', "unknown field 'inptus'; did you mean 'inputs'"),
        ('{"name": "x", "fields": {"targets": {"type": "Label1"}}}', "unknown type 'Label1'; did you mean"),
        ("name: x", "is not JSON"),
    ],
)
def test_a_task_s_file_is_read_without_a_guess(content, message, tmp_path):
    path = tmp_path / "task.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        open_task(str(path))


def test_a_task_that_is_not_there():
    with pytest.raises(ConfigError, match=r"unknown task 'translate'; did you mean 'translation'.*\.json"):
        open_task("translate")
    with pytest.raises(ConfigError, match=r"the task nowhere\.json is no file"):
        open_task("nowhere.json")


@pytest.mark.parametrize("name", TASKS)
def test_a_run_keeps_all_of_a_task_whose_file_goes(name, tmp_path):
    assert kept_task(name) == name
    file = tmp_path / "mine.json"
    mine = dataclasses.replace(TASKS[name], name="m\N{LATIN SMALL LETTER U WITH DIAERESIS}ne.json")
    file.write_text(json.dumps(to_json(mine)), encoding="utf-8")
    kept = kept_task(str(file))
    file.unlink()
    check_task(kept)
    assert open_task(kept) == mine
    assert kept_task(kept) == task_location(kept, lambda path: "absolute") == kept


def test_a_damaged_definition_is_refused():
    with pytest.raises(ConfigError, match=r"the definition of the task: .*metrik"):
        open_task('{"name": "mine", "metrik": ["bleu"]}')
