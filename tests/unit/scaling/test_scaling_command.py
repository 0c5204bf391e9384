"""``t5lite scaling fit`` on tables as people have them."""

import json

import numpy as np
import pytest

from t5lite.cli.main import main
from t5lite.core.errors import ConfigError, DataError
from t5lite.scaling.tables import Reading
from tests.unit.scaling.simulated import isoflops

QUICK = ("--methods", "isoflop", "kaplan", "--resamples", "20")


def rows(noise=0.003, **more):
    runs = isoflops(noise=noise)
    for params, tokens, flops, loss in zip(runs.params, runs.tokens, runs.flops, runs.loss, strict=True):
        yield {"params": params, "tokens": tokens, "budget": flops, "loss": loss, **more}


def write_csv(path, rows, delimiter=","):
    rows = list(rows)
    lines = [delimiter.join(rows[0])] + [delimiter.join(str(each) for each in row.values()) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_a_table_is_fitted_and_drawn(tmp_path, capsys):
    table = write_csv(tmp_path / "runs.csv", rows())
    picture = tmp_path / "fit.png"
    words = ["scaling", "fit", table, *QUICK, "--predict-flops", "1e22", "--picture", str(picture)]
    words += ["--predict-run", "7e9", "2e12"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert (
        said.count("warning: N=7e+09, D=2e+12 is 84 times the largest FLOPs") == said.count("84 times") == 1
    )
    assert "48 runs, 6 budgets" in said
    assert "\ncolumns: flops=budget\n" in said
    assert "N at 1e+22" in said
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_bound_of_one_group_s_losses_leaves_no_row_of_another_out(tmp_path, capsys):
    spiked = [
        {**row, "of": "a", "loss": row["loss"] * (4 if place == 7 else 1)} for place, row in enumerate(rows())
    ]
    higher = [{**row, "loss": 2.5 * row["loss"]} for row in rows(of="b")]
    table = write_csv(tmp_path / "runs.csv", [*spiked, *higher])
    words = ["scaling", "fit", table, "--by", "of", "--methods", "isoflop", "--resamples", "20", "--json"]
    assert main(words) == 0
    said = {key: " ".join(found["notes"]) for key, found in json.loads(capsys.readouterr().out).items()}
    bound = float(said["a"].partition("--loss-below ")[2].split()[0])
    assert max(row["loss"] for row in higher) < bound <= spiked[7]["loss"]
    assert "diverged" not in said["b"]


def test_what_is_held_out_is_printed_run_by_run(tmp_path, capsys):
    table = write_csv(tmp_path / "runs.csv", rows())
    words = ["scaling", "fit", table, "--methods", "kaplan", "--resamples", "20", "--fit-below", "5e20"]
    words += ["--predict-run", "1e9", "2e10"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.count("  held out: N=") == 8
    assert "its 90% interval, of a run's loss without the scatter of single runs" in said
    assert "loss at N=1e+09, D=2e+10" in said
    assert main([*words, "--json"]) == 0
    held_out = json.loads(capsys.readouterr().out)[""]["methods"]["kaplan"]["held_out"]
    assert held_out[0]["interval"]["low"] < held_out[0]["predicted"]


def test_json_has_all_numbers(tmp_path, capsys):
    table = write_csv(tmp_path / "runs.tsv", rows(), "\t")
    assert main(["scaling", "fit", table, *QUICK, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)[""]
    assert content["meant"] == {"params": "params", "tokens": "tokens", "flops": "budget", "loss": "loss"}
    methods = content["methods"]
    assert 0.4 < methods["isoflop"]["numbers"]["N exponent"] < 0.6
    interval = methods["kaplan"]["intervals"]["alpha_N"]
    assert interval["low"] < interval["high"]


def test_experiments_of_a_table_are_fitted_by_themselves(tmp_path, capsys):
    both = [*rows(experiment="a"), *rows(noise=0.01, experiment="b")]
    table = write_csv(tmp_path / "runs.csv", both)
    assert (
        main(["scaling", "fit", table, "--resamples", "20", "--by", "experiment", "--methods", "isoflop"])
        == 0
    )
    said = capsys.readouterr().out
    assert "experiment=a: 48 runs" in said
    assert "experiment=b: 48 runs" in said
    tables = Reading(where={"experiment": "b"}).tables(table)
    assert len(tables[""].observations) == 48
    with pytest.raises(DataError, match="no row of experiment=c; the first such column has: a, b"):
        Reading(where={"experiment": "c"}).tables(table)


def test_rows_that_cannot_be_used_are_counted(tmp_path):
    table = list(rows())
    bad = [table[0] | {"loss": each} for each in ("", "nan", "inf", "-1", "0", "lost")]
    file = write_csv(tmp_path / "runs.csv", [*table, *bad, table[3]])
    (found,) = Reading().tables(file).values()
    assert len(found.observations) == len(table)
    assert found.notes[0] == f"6 of 55 rows left out, the first {file}:50: column 'loss' has '', no number"
    assert found.notes[1].startswith("1 of 55 rows repeat another")


def test_a_group_without_a_number_leaves_the_others(tmp_path, capsys):
    both = [*rows(family="gpt", bits=1.5), *({**row, "bits": ""} for row in rows(family="bert"))]
    table = write_csv(tmp_path / "runs.csv", both)
    words = ["--by", "family", "--columns", "loss", "bits", "--methods", "kaplan", "--resamples", "20"]
    assert main(["scaling", "fit", table, *words]) == 0
    said = capsys.readouterr().out
    assert "family=gpt: 48 runs" in said
    assert "family=bert: 0 runs\nwarning: 48 of 48 rows left out, the first" in said
    assert "column 'bits' has '', no number" in said
    assert "not fitted: no run is left" in said
    assert main(["scaling", "fit", table, *words, "--where", "family", "bert"]) == 2
    assert "no row that can be used" in capsys.readouterr().err


def test_a_run_that_says_no_unique_tokens_has_its_own(tmp_path):
    table = [{**row, "unique_tokens": 5.0 if number == 3 else ""} for number, row in enumerate(rows())]
    (found,) = Reading().tables(write_csv(tmp_path / "runs.csv", [*table, table[0]])).values()
    expected = np.where(np.arange(48) == 3, 5.0, found.observations.tokens)
    np.testing.assert_array_equal(found.observations.unique_tokens, expected)
    assert "1 of 49 rows repeat another" in found.notes[0]


def test_semicolons_are_a_spreadsheets_commas(tmp_path):
    file = write_csv(tmp_path / "runs.csv", rows(), ";")
    (found,) = Reading().tables(file).values()
    assert len(found.observations) == 48
    (tmp_path / "runs.csv").write_text("params;tokens;loss\n1;1;3,1\n", encoding="utf-8")
    (found,) = Reading().tables(file).values()
    assert found.observations.loss == 3.1
    assert found.notes[0] == "losses have commas: numbers are read with decimal commas"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_two_of_three_sizes_are_enough_and_names_may_differ(tmp_path, kind):
    table = [{"N": row["params"], "Training Tokens": row["tokens"], "final": row["loss"]} for row in rows()]
    file = tmp_path / f"runs.{kind}"
    if kind == "csv":
        write_csv(file, table)
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())  # as of a spreadsheet
    elif kind == "jsonl":
        file.write_text("\r\n".join(map(json.dumps, table)) + "\n\n", encoding="utf-8")
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), file)
    (found,) = Reading(columns={"loss": "final"}).tables(str(file)).values()
    assert "taken as 6 x parameters x tokens" in found.notes[0]
    np.testing.assert_allclose(found.observations.flops, isoflops().flops, rtol=1e-9)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no rows"),
        ("params,tokens,loss\n", "has no rows"),
        ("params,tokens,loss\nx,1,2\n", "no row that can be used: 1 of 1 rows left out, the first"),
        ("params,tokens,los\n1,1,2\n", "no column for loss among params, tokens, los"),
        ("params,loss\n1,2\n", "two of params, tokens and flops"),
        ("params,n,tokens,loss\n1,1,1,2\n", "several columns for params: params, n"),
        ("loss,params,tokens,loss\n1,1,1,2\n", "the column 'loss' twice"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    file = tmp_path / "runs.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        Reading().tables(str(file))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "runs.jsonl").write_text("[1]\n", encoding="utf-8")
    (tmp_path / "latin.csv").write_bytes(b"params,tokens,loss\n1,1,\xe9\n")
    (tmp_path / "folder.csv").mkdir()
    for name, message in {
        "runs.jsonl": "a line is a JSON object",
        "latin.csv": "not UTF-8: byte 23; save it as UTF-8",
        "folder.csv": "is a directory",
        "none.csv": "does not exist",
        "runs.xlsx": "ends in .csv, .tsv, .jsonl, .json, .parquet, .gz",
    }.items():
        with pytest.raises(DataError, match=message):
            Reading().tables(str(tmp_path / name))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "x.csv", "--methods", "isoflops"], "unknown method 'isoflops'; did you mean 'isoflop'"),
        (["fit", "x.csv", "--columns", "loss"], "takes pairs"),
        (["fit", "x.csv", "--columns", "los", "x"], "did you mean 'loss'"),
        (["fit", "x.csv", "--resamples", "3"], "too few"),
        (["fit", "x.csv", "--level", "95"], "from 0.5 to below 1"),
        (["fit", "x.csv", "--predict-flops", "-1"], "above 0"),
        (["fit", "x.csv", "--predict-run", "7e9"], "pairs of parameters and tokens"),
        (["fit", "x.csv", "--fit-below", "0"], "FLOPs are above 0"),
        (["fit", "x.csv", "--picture", "x.gif"], "in .png or .svg"),
        (["fits"], "unknown word 'fits'"),
        ([], "scaling fit TABLE"),
    ],
)
def test_words_that_mean_nothing_are_refused(words, message, capsys):
    assert main(["scaling", *words]) == ConfigError.exit_code
    assert message in capsys.readouterr().err


def test_runs_are_told_apart_by_names_if_they_have_any(tmp_path):
    table = [{**row, "run": "project"} for row in rows()]
    (found,) = Reading().tables(write_csv(tmp_path / "one.csv", table)).values()
    assert found.observations.runs is None
    assert found.notes == ("column 'run' has one name, 'project'; each row counts as a run of its own",)
    table = [{**row, "run": "a" if number < 9 else ""} for number, row in enumerate(table)]
    (found,) = Reading().tables(write_csv(tmp_path / "some.csv", table)).values()
    assert len(set(found.observations.runs)) == 1 + 48 - 9


@pytest.mark.slow
def test_json_is_json_whatever_the_numbers(tmp_path, capsys):
    constant = [{**row, "loss": 2.0} for row in rows()]
    table = write_csv(tmp_path / "runs.csv", constant)
    words = ["--methods", "kaplan", "chinchilla", "--resamples", "20", "--json"]
    assert main(["scaling", "fit", table, *words]) == 0

    def refuse(name):
        raise AssertionError(name)

    json.loads(capsys.readouterr().out, parse_constant=refuse)


@pytest.mark.slow
def test_all_methods_are_the_default(tmp_path, capsys):
    table = write_csv(tmp_path / "runs.csv", rows())
    assert main(["scaling", "fit", table, "--resamples", "20"]) == 0
    said = capsys.readouterr().out
    for each in (
        "not fitted: the envelope needs curves",
        "isoflop: ",
        "chinchilla: ",
        "projection: ",
        "kaplan: ",
    ):
        assert each in said
    assert main(["scaling", "fit", table, "--where", "a", "1", "a", "2"]) == 2
    assert "gives 'a' twice" in capsys.readouterr().err
