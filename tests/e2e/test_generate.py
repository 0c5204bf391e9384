"""What generate reads and writes: lengths of the run, JSON lines, what was cut, and files that grow."""

import json
from pathlib import Path

import pytest

from t5lite.cli import generate_command
from t5lite.cli.main import main
from t5lite.core.files import growing_file
from t5lite.decoding import GenerationLengths
from t5lite.evaluation.text_generation import Output
from t5lite.runner.generation import Generation, start_generation
from tests.e2e.conftest import Refused, write

BROKEN = "two\nlines\r and \\n \u2028"


@pytest.fixture
def outputs(monkeypatch):
    """Generation that yields what a test puts into the list; an exception is raised."""
    made: list[Output | BaseException] = []

    def generation(run, inputs, **_):
        def each():
            for output in made:
                if isinstance(output, BaseException):
                    raise output
                yield output

        lengths = GenerationLengths(8, 4, input_limit=10, output_limit=4)
        return Generation(lengths, tuple(map(len, inputs)), False, each(), step=40)

    monkeypatch.setattr(generate_command, "start_generation", generation)
    return made


def test_lengths_are_those_of_the_run_and_what_they_cut_is_said(pretrained: Path, capsys):
    texts = ["Emma " * 40, "It is"]
    generate = ["generate", "--run", str(pretrained), "--text", *texts, "--max-decode-length", "1"]
    assert main(generate) == 0
    errors = capsys.readouterr().err
    assert "1 of 2 inputs have more than 32 tokens and lose their end (the longest has " in errors
    remedy = errors.partition("; --encoder-length ")[2].split()[0]
    assert "2 of 2 outputs stop at 1 tokens without an end; --max-decode-length gives" in errors
    assert main([*generate, "--encoder-length", remedy]) == 0
    assert "lose their" not in capsys.readouterr().err


def test_json_lines_in_and_out_keep_texts_as_they_are(outputs, tmp_path: Path, capsys):
    outputs += [Output(BROKEN, input_cut=False), Output("a", input_cut=True, output_cut=True)]
    records = [{"id": 1, "question": "x\ny"}, {"id": 2, "question": "long long long"}]
    source = write(tmp_path / "in.jsonl", "\n\n".join(map(json.dumps, records)) + "\n")
    files = ["--input-file", str(source), "--field", "question", "--output-file", str(tmp_path / "o.jsonl")]
    assert main(["generate", "--run", "run", *files]) == 0
    lines = (tmp_path / "o.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == [
        {"input": "x\ny", "output": BROKEN, "input_cut": False, "output_cut": False},
        {"input": "long long long", "output": "a", "input_cut": True, "output_cut": True},
    ]
    errors = capsys.readouterr().err
    assert "1 of 2 inputs have more than 8 tokens" in errors
    assert "the model has positions for 10: --encoder-length 10 takes more" in errors
    assert "stop at 4 tokens without an end; the model has no more positions" in errors
    assert "line breaks" not in errors


def test_several_outputs_are_lines_one_after_another_or_objects_with_their_figures(outputs, tmp_path, capsys):
    other = Output("b", input_cut=False, output_cut=True, log_prob=-3.0, score=-1.5)
    outputs += [Output("a", input_cut=False, log_prob=-2.0, score=-1.0, others=(other,))]
    generate = ["generate", "--run", "run", "--text", "x"]
    assert main(generate) == 0
    assert capsys.readouterr().out == "a\nb\n"
    assert main([*generate, "--log-probs", "--output-file", str(tmp_path / "o.jsonl")]) == 0
    assert json.loads((tmp_path / "o.jsonl").read_text()) == {
        "input": "x",
        "output": "a",
        "input_cut": False,
        "output_cut": False,
        "log_prob": -2.0,
        "score": -1.0,
        "others": [{"output": "b", "output_cut": True, "log_prob": -3.0, "score": -1.5}],
    }
    for options, message in (
        (["--log-probs"], "--log-probs are written to JSON lines; give --output-file NAME.jsonl"),
        (
            ["--num-beams", "2"],
            "--num-beams is no option of strategy greedy; leave it out, or give --strategy b",
        ),
    ):
        assert main([*generate, *options]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(("name", "read"), [("a.ndjson", "a"), ("a.json.txt", '{"text": "a"}')])
def test_the_last_ending_says_whether_lines_are_json(name, read, outputs, tmp_path: Path):
    outputs += [Output("x", input_cut=False)]
    source, output = write(tmp_path / name, '{"text": "a"}\n'), tmp_path / "out.jsonl"
    assert main(["generate", "--run", "run", "--input-file", str(source), "--output-file", str(output)]) == 0
    assert json.loads(output.read_text())["input"] == read


def test_a_line_holds_one_output_whatever_breaks_are_in_it(outputs, tmp_path: Path, capsys):
    outputs += [Output(BROKEN, input_cut=False), Output("plain", input_cut=False)]
    assert main(["generate", "--run", "run", "--text", "a", "b"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "two\\nlines\\r and \\n \u2028\nplain\n"
    assert "1 of 2 outputs have line breaks, written as \\n here; --output-file NAME.jsonl" in captured.err


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_was_written_is_kept_when_a_generation_is_cut_off(problem, outputs, tmp_path: Path, capsys):
    outputs += [Output("one", input_cut=False), Output("two", input_cut=False), problem]
    out = tmp_path / "out.txt"
    files = ["--text", "a", "b", "c", "--batch-size", "1", "--output-file", str(out)]
    assert main(["generate", "--run", "run", *files]) in (75, 130)
    assert not out.exists()
    assert (tmp_path / "out.txt.part").read_text() == "one\ntwo\n"
    assert f"the outputs so far are in {out}.part" in capsys.readouterr().err
    assert main(["generate", "--run", "run", *files]) == 2
    assert "holds the outputs of an earlier run that was cut off" in capsys.readouterr().err
    (tmp_path / "out.txt.part").unlink()
    outputs[:] = [problem]
    assert main(["generate", "--run", "run", *files]) in (75, 130)
    assert list(tmp_path.iterdir()) == []  # nothing to keep
    outputs[:] = [Output(text, input_cut=False) for text in "xyz"]
    assert main(["generate", "--run", "run", *files]) == 0
    assert out.read_text() == "x\ny\nz\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


@pytest.fixture
def echoes(monkeypatch):
    """Generation that repeats each input, and is killed at one that says so."""

    def generation(run, inputs, **_):
        def each():
            for text in inputs:
                if text == killed:
                    raise KeyboardInterrupt
                yield Output(text.upper(), input_cut=False)

        lengths = GenerationLengths(8, 4, input_limit=10, output_limit=4)
        return Generation(lengths, tuple(map(len, inputs)), False, each(), step=step)

    killed, step = "c", 40

    def change(**changes):
        nonlocal killed, step
        killed, step = changes.get("killed", killed), changes.get("step", step)

    monkeypatch.setattr(generate_command, "start_generation", generation)
    return change


@pytest.mark.parametrize("torn", [b"", b'{"input": "c", "ou'])
def test_json_lines_go_on_where_they_were_cut_off(torn, echoes, tmp_path: Path, capsys):
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    generate = ["generate", "--run", "run", "--text", *"abcde", "--batch-size", "1"]
    files = ["--output-file", str(out)]
    assert main([*generate, *files]) == 130
    assert "out.jsonl.part; the same command goes on after them" in capsys.readouterr().err
    part.write_bytes(part.read_bytes() + torn)
    echoes(killed=None)
    assert main([*generate, "--batch-size", "3", *files]) == 0
    assert "2 outputs are in " in capsys.readouterr().err
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(record["input"], record["output"]) for record in records] == list(
        zip("abcde", "ABCDE", strict=True)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_terminal_shows_a_lone_text_as_it_is_written(monkeypatch, capsys):
    seen: list[str] = []

    def generation(run, inputs, *, show, **_):
        def each():
            for piece in ("It\n", "is", " "):
                if show is not None:
                    show(piece)
                seen.append(capsys.readouterr().out)
            for _ in inputs:
                yield Output("It\nis a truth", input_cut=False)

        lengths = GenerationLengths(8, 4, input_limit=10, output_limit=4)
        return Generation(lengths, tuple(map(len, inputs)), False, each(), step=40)

    monkeypatch.setattr(generate_command, "start_generation", generation)
    for terminal, texts, pieces, rest in (
        (True, ["x"], ["It\\n", "is", " "], "a truth\n"),
        (False, ["x"], ["", "", ""], "It\\nis a truth\n"),
        (True, ["x", "y"], ["", "", ""], "It\\nis a truth\n" * 2),
    ):
        seen.clear()
        monkeypatch.setattr("sys.stdout.isatty", lambda terminal=terminal: terminal)
        assert main(["generate", "--run", "run", "--text", *texts]) == 0
        assert (seen, capsys.readouterr().out) == (pieces, rest)


@pytest.mark.parametrize("ending", ["jsonl", "txt"])
@pytest.mark.parametrize("begins", ["while the other writes", "before the other writes"])
def test_of_two_commands_with_one_output_the_second_is_refused(
    begins, ending, monkeypatch, tmp_path: Path, capsys
):
    """Another terminal's is another open file, as in a process of its own."""
    out = tmp_path / f"out.{ending}"
    generate = ["generate", "--run", "run", "--text", "a", "b", "--batch-size", "1"]
    codes: list[int] = []

    def another():
        if not codes:
            codes.append(-1)
            codes.append(main([*generate, "--output-file", str(out)]))

    def generation(run, inputs, **_):
        def each():
            for text in inputs:
                yield Output(text.upper(), input_cut=False)
                if begins == "while the other writes":
                    another()

        if begins == "before the other writes":
            another()
        lengths = GenerationLengths(8, 4, input_limit=10, output_limit=4)
        return Generation(lengths, tuple(map(len, inputs)), False, each(), step=40)

    monkeypatch.setattr(generate_command, "start_generation", generation)
    codes.insert(0, main([*generate, "--output-file", str(out)]))
    if begins == "while the other writes":
        assert codes == [0, -1, 2]
        assert f"{out}.part is being written by another process; wait until" in capsys.readouterr().err
    else:
        assert codes == [2, -1, 0]
        assert f"{out} was written by another process meanwhile" in capsys.readouterr().err
    lines = out.read_text().splitlines()
    assert [json.loads(line)["output"] if ending == "jsonl" else line for line in lines] == ["A", "B"]
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--run", "other"], "cut off, of another run; move or delete it"),
        (["--max-decode-length", "3"], "cut off, of other options"),
        (["texts", "abcd"], "cut off, of other inputs"),
        (["texts", "abXde"], "cut off, of other inputs"),
        ([41], "holds 2 outputs of step 40, and this is step 41; go on with --step 40"),
        (["part", b'{"input": "b"}\n{"input": "a"}\n'], "its line 1 is not of input 1"),
        (["origin", b"{"], "which says of what, cannot be read"),
        (["origin", b"{}"], "does not say of what"),
    ],
)
def test_outputs_of_something_else_are_not_gone_on_with(changed, message, echoes, tmp_path: Path, capsys):
    part = tmp_path / "out.jsonl.part"
    generate, texts = ["generate", "--run", "run", "--output-file", str(tmp_path / "out.jsonl")], "abcde"
    assert main([*generate, "--batch-size", "1", "--text", *texts]) == 130
    echoes(killed=None)
    match changed:
        case [int(step)]:
            echoes(step=step)
        case ["part", content]:
            part.write_bytes(content)
        case ["origin", content]:
            part.with_name(f"{part.name}.json").write_bytes(content)
        case ["texts", others]:
            texts = others
        case options:
            generate += options
    before = part.read_bytes()
    assert main([*generate, "--text", *texts]) == 2
    assert message in capsys.readouterr().err
    assert part.read_bytes() == before


def test_outputs_that_were_all_there_become_the_file(echoes, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    generate = ["generate", "--run", "run", "--output-file", str(out), "--batch-size", "1", "--text"]
    assert main([*generate, *"abc"]) == 130
    with open(tmp_path / "out.jsonl.part", "a") as lines:
        lines.write('{"input": "c", "output": "?"}\n')
    echoes(killed=None)
    assert main([*generate, *"abc"]) == 0
    assert [json.loads(line)["output"] for line in out.read_text().splitlines()] == list("ABC")


def test_progress_is_shown_of_more_than_a_batch(outputs, capsys):
    outputs += [Output("x", input_cut=False)] * 3
    assert main(["generate", "--run", "run", "--text", "a", "b", "c", "--batch-size", "2"]) == 0
    errors = capsys.readouterr().err
    assert "compiling for 2 inputs at once, of 8 tokens at most" in errors
    assert "generate 2/3" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--input-file", "in.txt", "--output-file", "./in.txt"],
            "in.txt is in.txt, which is read; write to",
        ),
        (["--text", "a", "--output-file", "in.txt"], "in.txt is there already; give another name, or delete"),
        (["--text", "a", "--output-file", "/dev/null"], "is a device or a pipe, which cannot be replaced"),
        *(
            (
                ["--text", "a", "--output-file", f"o{ending}"],
                f"o{ending}: [.a-z0-9]+ is not written; give a name",
            )
            for ending in (".jsonl.gz", ".txt.zst", ".ndjson", ".csv", ".tsv", ".parquet", ".zip", ".txt.GZ")
        ),
        (
            ["--text", "a", "--output-file", "o.JSON"],
            r"o\.JSON: \.json is not written; give a name in \.jsonl",
        ),
        (["--input-file", "q.csv"], r"q\.csv contains no text; check the inputs"),
        (["--input-file", "q.csv", "--field", "txt"], r"q\.csv:1 has no column 'txt' in its header"),
        (["--input-file", "q.TSV.gz"], r"q\.TSV\.gz .*gzip"),
        (["--input-file", "q.parquet"], r"q\.parquet is damaged or not really \.parquet"),
        (["--input-file", "in.jsonl"], "in.jsonl:1 has no field 'text'; it has 'question'"),
        (["--input-file", "in.jsonl", "--field", "n"], "in.jsonl:1 has no field 'n'"),
    ],
)
def test_what_would_be_lost_or_cannot_be_read_is_refused(
    arguments, message, refused: Refused, pretrained: Path, tmp_path: Path
):
    write(tmp_path / "in.txt", "precious\n")
    write(tmp_path / "in.jsonl", '{"question": "a"}\n')
    for name in ("q.csv", "q.TSV.gz", "q.parquet"):
        write(tmp_path / name, "id,text\n")
    refused(["generate", "--run", pretrained, *arguments], message)


@pytest.mark.parametrize("name", ["spiece.model", "model.json", "checkpoints/40/new.txt", "new.jsonl"])
def test_outputs_are_never_written_into_the_run(name, refused: Refused, pretrained: Path):
    generate = ["generate", "--run", pretrained, "--text", "a", "--output-file"]
    refused([*generate, pretrained / name], "lies in .*, which is read; write to a place apart from it")


def test_a_refused_generation_makes_no_directories_and_another_does(
    outputs, tmp_path: Path, refused: Refused
):
    words = ["generate", "--output-file", tmp_path / "new" / "sub" / "out.JSONL"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate_command, "start_generation", start_generation)
        refused([*words, "--run", "nothere", "--text", "x"], "nothere is not a run directory")
    outputs += [Output("x", input_cut=False)]
    assert main([*map(str, words), "--run", "run", "--text", "a"]) == 0
    assert json.loads((tmp_path / "new/sub/out.JSONL").read_text())["output"] == "x"


def test_a_file_that_grows_is_one_until_it_is_whole(tmp_path: Path):
    path = tmp_path / "out"
    with growing_file(path) as stream:
        stream.write("line\n")
        assert not path.exists()
        assert (tmp_path / "out.part").read_text() == "line\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
