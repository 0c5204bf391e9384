"""From a user's files to the stores of a task: what goes in, what is left out, what is said."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t5lite.cli.main import main
from t5lite.core.errors import ConfigError, DataError
from t5lite.data.reading.rows import read_rows
from t5lite.data.reading.text_files import read_pairs
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.vocabulary.byte_vocabulary import ByteVocabulary
from t5lite.runner.task_scoring import spelt
from t5lite.tasks.few_shot import Shots
from t5lite.tasks.opening import open_task
from t5lite.tasks.preparing import PrepareTaskConfig, prepare_task
from t5lite.tasks.rows import TaskRows
from t5lite.tasks.task import Task

NLI = {
    "name": "nli",
    "inputs": "nli premise: {premise} hypothesis: {hypothesis}",
    "targets": "{label}",
    "fields": {"label": {"type": "Label", "names": ["entailment", "neutral", "contradiction"]}},
}
ROWS = [
    {"premise": f'A "cat", {number}\tsits {{premise}}.', "hypothesis": "It\nsits.", "label": number % 3}
    for number in range(20)
]


@pytest.fixture
def nli(tmp_path: Path) -> str:
    path = tmp_path / "nli.json"
    path.write_text(json.dumps(NLI))
    return str(path)


def lines(path: Path, rows: list, *, begin: str = "") -> Path:
    path.write_text(begin + "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path
    separator = {".csv": ",", ".tsv": "\t"}[path.suffix]
    cells = [list(rows[0]), *(list(map(str, row.values())) for row in rows)]
    quoted = [separator.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in cells]
    path.write_text("\ufeff" + "\r\n".join(quoted) + "\r\n", encoding="utf-8")
    return path


def prepare(tmp_path: Path, task: str, *inputs: Path, **options) -> dict:
    options = {"heldout_fraction": 0.0, "vocabulary": "bytes", **options}
    config = PrepareTaskConfig(
        task=task, inputs=tuple(map(str, inputs)), output=str(tmp_path / "out"), overwrite=True, **options
    )
    return prepare_task(config)


def pairs(tmp_path: Path, name: str = "train") -> list[tuple[str, str]]:
    store = PairStore.open(tmp_path / "out" / name)
    decode = store.vocabulary().decode
    sides = (store.inputs, store.targets)
    return [tuple(decode(side.document(i)) for side in sides) for i in range(store.num_pairs)]


@pytest.mark.parametrize("kind", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_every_kind_of_file_gives_the_same_pairs(kind, tmp_path, nli):
    path = tmp_path / f"rows{kind}"
    report = prepare(
        tmp_path, nli, lines(path, ROWS, begin="\ufeff") if kind == ".jsonl" else table(path, ROWS)
    )
    names = NLI["fields"]["label"]["names"]
    assert pairs(tmp_path) == [
        (f"nli premise: {row['premise']} hypothesis: {row['hypothesis']}", names[row["label"]])
        for row in ROWS
    ]
    assert not report["inputs"]["lost"]
    assert not report["warnings"]
    assert open_task(str(tmp_path / "out" / "task.json")) == open_task(nli)


def test_what_is_left_out_or_odd_is_counted_and_said(tmp_path, nli, capsys):
    odd = [
        {"premise": "", "hypothesis": "h", "label": 0},
        {"premise": None, "hypothesis": "h", "label": 0},
        {"premise": "p", "label": 0},
        {"premise": 1.5, "hypothesis": True, "label": 0},
        ROWS[0],
        {**ROWS[1], "label": 2},
    ]
    path = lines(tmp_path / "rows.jsonl", [*ROWS, *odd])
    words = ["--inputs", str(path), "--output", str(tmp_path / "out"), "--vocabulary", "bytes"]
    assert main(["prepare", "task", "--task", nli, *words, "--heldout-fraction", "0"]) == 0
    said = capsys.readouterr().out
    assert "train: 23 pairs" in said
    for line in (
        f"records dropped because their text is null: 1 (first: {path}:22)",
        f"records dropped because they lack the field: 1 (first: {path}:23)",
        f"records dropped because a column that is used is empty: 1 (first: {path}:21)",
        f"texts that are numbers or booleans, taken as they are written: 2 (first: {path}:24)",
        "warning: 1 of 23 rows repeat another, inputs and targets",
        "warning: 1 of 23 rows have the inputs of another, and other targets",
    ):
        assert line in said
    assert ("nli premise: 1.5 hypothesis: True", "entailment") in pairs(tmp_path)


def test_an_anchor_may_have_several_positives(tmp_path):
    rows = [{"anchor": "a", "positive": text, "negative": "c"} for text in "bbd"]
    warnings = prepare(tmp_path, "triplets", lines(tmp_path / "rows.jsonl", rows))["warnings"]
    assert warnings == [
        "warning: 1 of 3 rows repeat another, inputs and targets; each is trained on or scored"
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"premise": "a", "hypothesis1": "b", "label": 0}],
            r"'hypothesis'; it has .* did you mean 'hypothesis1'.*--columns OURS THEIRS",
        ),
        (
            [{"premise": "a", "hypothesis": "b", "label": 3}],
            r"rows.jsonl:1: column 'label': unknown label '3'; allowed",
        ),
        (
            [{"premise": ["a"], "hypothesis": "b", "label": 0}],
            "column 'premise': is of type list, not a text",
        ),
        ([{"premise": "a", "hypothesis": "b", "label": -1}], "test split"),
        ([ROWS[0], ["a", "b"]], "is a JSON list; each line must be one JSON object"),
        ([{"premise": "\ud800", "hypothesis": "b", "label": 0}], "lone surrogate"),
        (
            [{"premise": "a", "hypothesis": " ", "label": 0}],
            r"no text .*column that is used is empty: 1",
        ),
    ],
    ids=str,
)
def test_a_file_that_will_not_do_is_refused_and_nothing_is_left(rows, message, tmp_path, nli):
    with pytest.raises(DataError, match=message):
        prepare(tmp_path, nli, lines(tmp_path / "rows.jsonl", rows))
    assert not (tmp_path / "out").exists()


def test_a_table_without_the_column_says_what_is_near(tmp_path, nli):
    path = table(tmp_path / "rows.csv", [{"premis": "a", "hypothesis": "b", "label": 0}])
    with pytest.raises(
        DataError, match=r"no column 'premise' .*did you mean 'premis'\? say what .*--columns"
    ):
        prepare(tmp_path, nli, path)
    prepare(tmp_path, nli, path, columns=(("premise", "premis"),))
    assert pairs(tmp_path) == [("nli premise: a hypothesis: b", "entailment")]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shots": -1}, "shots=-1 of the task nli must be at least 0"),
        ({"columns": (("premise", "a"), ("premise", "b"))}, "names 'premise' twice"),
        ({"columns": (("label ", "a"),)}, "'label ', which is no column"),
        ({"constants": (("premiss", "a"),)}, "'premiss', which no template names.*did you mean 'premise'"),
        ({"task": "nil"}, "unknown task 'nil'"),
    ],
    ids=str,
)
def test_options_that_will_not_do(settings, message, tmp_path, nli):
    given = {"task": nli, **settings}
    with pytest.raises(ConfigError, match=message):
        prepare(tmp_path, given.pop("task"), lines(tmp_path / "rows.jsonl", ROWS), **given)


def test_nested_columns_of_squad(tmp_path):
    path = tmp_path / "squad.json"
    path.write_text(
        json.dumps({"name": "qa", "inputs": "{question} {context}", "targets": "{answers.text.0}"})
    )
    row = {"question": "q", "context": "c", "answers": {"text": ["one", "two"], "answer_start": [0, 3]}}
    unanswered = {**row, "answers": {"text": [], "answer_start": []}}
    rows = [row, row, unanswered]
    for file in (lines(tmp_path / "rows.jsonl", rows), table(tmp_path / "rows.parquet", rows)):
        report = prepare(tmp_path, str(path), file)
        assert pairs(tmp_path) == [("q c", "one")] * 2
        assert report["inputs"]["lost"]["missing"]["records"] == 1
        found = read_pairs([file], inputs_field="question", targets_field="answers.text.0")
        assert list(found) == [("q", "one")] * 2


def test_a_table_without_a_header_has_columns_by_number(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("a text\tEmma\nanother one\tPersuasion\n")
    prepare(tmp_path, "classification", path, columns=(("text", "0"), ("label", "1")))
    assert pairs(tmp_path) == [("classify: a text", "Emma"), ("classify: another one", "Persuasion")]


def test_optional_columns(tmp_path):
    path = tmp_path / "chat.json"
    fields = {"system": {"type": "OptionalText"}}
    path.write_text(
        json.dumps({"name": "chat", "inputs": "{system}|{said}", "targets": "{reply}", "fields": fields})
    )
    rows = [
        {"said": "a", "reply": "b"},
        {"said": "a", "reply": "b", "system": None},
        {"said": "a", "reply": "b", "system": ""},
    ]
    prepare(tmp_path, str(path), lines(tmp_path / "rows.jsonl", rows))
    assert pairs(tmp_path) == [("|a", "b")] * 3
    prepare(tmp_path, str(path), table(tmp_path / "rows.csv", [{"said": "a", "reply": "b"}]))
    assert pairs(tmp_path) == [("|a", "b")]


def test_files_that_are_held_out(tmp_path, nli):
    folder = tmp_path / "data"
    folder.mkdir()
    train, dev, test = (
        lines(folder / f"{name}.jsonl", ROWS[:9] if name != "dev" else ROWS[8:12])
        for name in ("train", "dev", "test")
    )
    report = prepare(tmp_path, nli, folder)
    assert (len(pairs(tmp_path)), len(pairs(tmp_path, "heldout"))) == (9, 4)
    assert f"{train} are for training and {dev} held out; left out: {test}" in report["warnings"][0]
    assert "1 of 13 rows have inputs that are on the other side of the split" in report["warnings"][1]
    prepare(tmp_path, nli, train, heldout_inputs=(str(dev),))
    assert len(pairs(tmp_path, "heldout")) == 4
    with pytest.raises(ConfigError, match="is one of --inputs and of --heldout-inputs"):
        prepare(tmp_path, nli, train, dev, heldout_inputs=(str(dev),))


def test_shots_are_of_the_training_rows_and_never_the_row_itself(tmp_path, nli):
    report = prepare(
        tmp_path, nli, lines(tmp_path / "rows.jsonl", ROWS), shots=2, heldout_fraction=0.4, seed=3
    )
    train, heldout = pairs(tmp_path), pairs(tmp_path, "heldout")
    assert len(train) + len(heldout) == 20
    asked = {text.split("\n\n")[-1] for text, _ in train}
    for text, target in (*train, *heldout):
        *shots, question = text.split("\n\n")
        assert len(shots) == len({*shots}) == 2
        assert f"{question} {target}" not in shots
        assert all(shot.rpartition(" ")[0] in asked for shot in shots)
    assert len({text.split("\n\n")[0] for text, _ in heldout}) == 1
    assert report["config"]["shots"] == 2


def test_shots_do_not_depend_on_the_order_of_rows_but_on_the_seed():
    task, rows = Task(name="t", shots=4), [(f"q{number}", f"a{number}") for number in range(50)]
    drawn = Shots.draw(task, rows, seed=0)
    assert drawn == Shots.draw(task, [*rows[::-1], *rows], seed=0)
    assert drawn != Shots.draw(task, rows, seed=1)
    with pytest.raises(DataError, match=r"--shots 4 needs 5 .*whose inputs differ, and there are 4"):
        Shots.draw(task, rows[:4] * 3, seed=0)


class Characters:
    """Counts characters as tokens."""

    own_frame = None

    def encode_batch(self, texts, num_threads):
        return list(texts)


INPUTS = st.text(st.sampled_from("ab"), max_size=6)


@given(st.lists(st.tuples(INPUTS, st.sampled_from("xy")), min_size=1, max_size=20), st.integers(1, 3), INPUTS)
def test_an_input_is_never_its_own_example_and_keeps_its_end_before_its_examples(rows, count, asked):
    task = Task(name="t", shots=count, inputs_length=24)
    if len({inputs for inputs, _ in rows}) <= count:
        return
    shots = Shots.draw(task, rows, seed=0)
    ((text, _),) = shots.complete([(asked, "x")], Characters())
    *solved, question = text.split("\n\n")
    assert question == asked
    assert all(shot.split(" ")[0] != asked for shot in solved)
    assert len(text) <= 24 - 2
    # As many as fit: of all the examples that another input of one character has, the last ones.
    everything = [f"{inputs} {targets}" for inputs, targets in shots.pairs if inputs != asked][:count]
    assert solved == everything[len(everything) - len(solved) :]
    if len(solved) < count:
        assert len("\n\n".join([everything[-len(solved) - 1], *solved, asked])) > 24 - 2


def test_examples_that_do_not_fit_are_left_out_first_and_that_is_said(tmp_path, nli):
    rows = [{**row, "premise": row["premise"] + " more" * (place % 3)} for place, row in enumerate(ROWS)]
    rows[4]["premise"] *= 10
    short = tmp_path / "short.json"
    short.write_text(json.dumps({**NLI, "inputs_length": 170}))
    report = prepare(tmp_path, str(short), lines(tmp_path / "rows.jsonl", rows), shots=3)
    assert any("of 20 inputs with 3 examples before them are longer" in line for line in report["warnings"])
    assert any(
        line.startswith("warning: 1 of 20 inputs are longer than inputs_length=170")
        for line in report["warnings"]
    )
    for (text, _), row in zip(pairs(tmp_path), rows, strict=True):
        assert text.endswith(f"nli premise: {row['premise']} hypothesis: {row['hypothesis']}")
        assert len(text) <= 168 or row is rows[4]


TASKS_OF_ONE_FILE = (
    {"task": "translation", "columns": (("source", "a"), ("target", "b"))},
    {"task": "translation", "columns": (("source", "b"), ("target", "a"))},
    {"task": "classification", "columns": (("text", "a"), ("label", "b"))},
    {"task": "classification", "columns": (("text", "a"), ("label", "b")), "form": "instruction"},
    {"task": "dialogue", "columns": (("context", "id"), ("response", "a")), "shots": 1},
)
SIDES = ("train", "heldout")
CELLS = st.text(st.sampled_from("a ,\n'é1"), min_size=1, max_size=4).filter(str.strip)


@pytest.mark.parametrize("kind", [".jsonl", ".csv", ".parquet"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.fixed_dictionaries({"id": CELLS, "a": CELLS, "b": CELLS}), min_size=1, max_size=4))
def test_what_says_whether_a_row_is_held_out_is_the_same_for_every_task_of_a_file(kind, rows, tmp_path):
    path = tmp_path / f"rows{kind}"
    lines(path, rows) if kind == ".jsonl" else table(path, rows)
    makes = (
        TaskRows(task=open_task(each["task"]), form=each.get("form", "inputs"), renamed=each["columns"])
        for each in TASKS_OF_ONE_FILE
    )
    assert len({tuple(whole for whole, *_ in read_rows([path], make, whole=True)) for make in makes}) == 1


def test_every_task_of_a_file_holds_out_the_same_rows(tmp_path):
    rows = [{"id": f"{number}", "a": f"a {number}", "b": f"b {number}"} for number in range(40)]
    path = lines(tmp_path / "rows.jsonl", rows)
    sides = set()
    for each in TASKS_OF_ONE_FILE:
        options = {name: value for name, value in each.items() if name != "task"}
        prepare(tmp_path, each["task"], path, heldout_fraction=0.3, **options)
        numbers = [frozenset(text.split()[-1] for text, _ in pairs(tmp_path, name)) for name in SIDES]
        assert len(numbers[0]) + len(numbers[1]) == 40
        sides.add(tuple(numbers))
    assert len(sides) == 1


def test_a_held_out_row_whose_inputs_are_trained_on_is_left_out_and_that_is_said(tmp_path, nli):
    rows = [{**ROWS[number % 10], "id": number} for number in range(40)]
    rows += [{**ROWS[number], "id": number} for number in range(10, 20)]
    report = prepare(tmp_path, nli, lines(tmp_path / "rows.jsonl", rows), heldout_fraction=0.3)
    train, heldout = pairs(tmp_path), pairs(tmp_path, "heldout")
    assert not {*train} & {*heldout}
    (said,) = (line for line in report["warnings"] if "held-out rows left out" in line)
    assert said.endswith(f"a training row has their inputs: {50 - len(train) - len(heldout)}")
    with pytest.raises(DataError, match="inputs that would be held out stands in a training row"):
        prepare(tmp_path, nli, lines(tmp_path / "rows.jsonl", rows[:40]), heldout_fraction=0.3)


def test_every_answer_that_is_right_is_kept(tmp_path):
    answers = [["The  Broncos", "Broncos", "Broncos"], ["one"], [], ["(a)", "b"]]
    rows = [
        {"question": f"q{number}?", "context": "c", "answers": {"text": each, "answer_start": [0]}}
        for number, each in enumerate(answers)
    ]
    for file in (lines(tmp_path / "rows.jsonl", rows), table(tmp_path / "rows.parquet", rows)):
        report = prepare(tmp_path, "extractive-qa", file)
        assert [target for _, target in pairs(tmp_path)] == ["The Broncos", "one", "( a )"]
        store = PairStore.open(tmp_path / "out" / "train")
        assert store.other_targets() == {0: ("Broncos",), 2: ("b",)}
        assert report["inputs"]["lost"]["empty"]["records"] == 1
    table(tmp_path / "one.csv", [{"question": "q", "context": "c", "answer": "b"}])
    prepare(tmp_path, "extractive-qa", tmp_path / "one.csv", columns=(("answers.text", "answer"),))
    assert pairs(tmp_path) == [("question: q context: c", "b")]
    prepare(tmp_path, "extractive-qa", tmp_path / "rows.jsonl")
    (tmp_path / "out" / "train" / "other_targets.json").write_text("{}")
    with pytest.raises(DataError, match=r"other_targets\.json is damaged .*CRC"):
        PairStore.open(tmp_path / "out" / "train").other_targets()


def test_references_are_spelt_by_the_vocabulary_each_once():
    vocabulary = ByteVocabulary()
    target = vocabulary.encode("The Broncos")
    assert spelt(vocabulary, target, ["Broncos", "The Broncos"]) == ("The Broncos", "Broncos")
