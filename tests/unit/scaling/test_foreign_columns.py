"""Columns under the names that published tables have, and files as they are published."""

import gzip
import json
from dataclasses import replace

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from t5lite.core.errors import DataError
from t5lite.scaling.column_names import is_perplexity, meanings, unit_of
from t5lite.scaling.isoflop import fit_isoflop
from t5lite.scaling.methods import METHODS
from t5lite.scaling.observations import Observations
from t5lite.scaling.tables import Reading
from tests.unit.scaling.simulated import isoflops

ROWS = [(1e8, 2e9, 1.2e18, 3.1), (2e8, 4e9, 4.8e18, 2.9), (4e8, 8e9, 1.92e19, 2.7)]


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        # Epoch AI's reconstruction of Chinchilla, Gemstones, nested settings of open_lm, trackers.
        ("x,y,color,Model Size,Training FLOP,loss", "params=Model Size,flops=Training FLOP,loss=loss"),
        (
            "run_name,params_active_precise,width,depth,tokens,step,seconds_per_step,final_loss",
            "run=run_name,params=params_active_precise,tokens=tokens,loss=final_loss",
        ),
        (
            "name,hyperparameters.params,hyperparameters.params_no_embed,hyperparameters.tokens,"
            "hyperparameters.warmup,val.loss",
            "params=hyperparameters.params,tokens=hyperparameters.tokens,loss=val.loss",
        ),
        (
            "Name,train/loss_std,eval/C4 Loss,optim/n_tokens,tokens_per_second,model/num_params",
            "loss=eval/C4 Loss,tokens=optim/n_tokens,params=model/num_params",
        ),
        (
            "N_no_emb,model size,dense parameter count,total train ZFLOPs,flops_per_step,Tokens (B),nll",
            None,
        ),
        ("N (M),D (B),unique tokens (B),eval/c4/CrossEntropyLoss",
         "params=N (M),tokens=D (B),unique_tokens=unique tokens (B),loss=eval/c4/CrossEntropyLoss"),
        ("N,throughput/total_tokens,val_loss", "params=N,tokens=throughput/total_tokens,loss=val_loss"),
        ("params,params_all,tokens,total_tokens,loss,loss_c4", "params=params,tokens=tokens,loss=loss"),
        ("N,Training compute (PFLOP-days),loss", "params=N,flops=Training compute (PFLOP-days),loss=loss"),
        ("N,Compute (PF-days),loss", "params=N,flops=Compute (PF-days),loss=loss"),
        ("N,cost/PFLOP/s-days,cross_entropy", "params=N,flops=cost/PFLOP/s-days,loss=cross_entropy"),
        ("model/N,FLOPs (10^18),loss", "params=model/N,flops=FLOPs (10^18),loss=loss"),
        # What is beside the size that is meant, or beside the loss.
        ("N,D,TFLOPs,loss", "params=N,tokens=D,loss=loss"),
        ("embedding_params,tokens,flops,loss", "tokens=tokens,flops=flops,loss=loss"),
        ("params,tokens,aux/loss,lm_loss", "params=params,tokens=tokens,loss=lm_loss"),
        ("N,moe/aux/loss,D,eval/c4/CrossEntropyLoss", "params=N,tokens=D,loss=eval/c4/CrossEntropyLoss"),
        ("N,eval/tokens,flops,loss", "params=N,flops=flops,loss=loss"),
        ("params,flops,loss,d_m,N_b,c_t", "params=params,flops=flops,loss=loss"),
    ],
)  # fmt: skip
def test_published_tables_say_what_their_columns_are(header, meant):
    if meant is None:
        with pytest.raises(DataError, match="params: model size, dense parameter count; say"):
            meanings(header.split(","), {}, "t.csv")
        return
    assert meanings(header.split(","), {}, "t.csv") == dict(each.split("=") for each in meant.split(","))


def test_all_that_is_not_clear_is_said_at_once_in_words_that_mend_it():
    header = ["Params", "N", "D", "C4 Eval Loss", "Wiki Eval Loss", "Max Train Loss"]
    with pytest.raises(DataError) as error:
        meanings(header, {}, "t.csv")
    said = "several columns for params: Params, N; several columns for loss: C4 Eval Loss, Wiki Eval Loss; "
    assert f"{said}say which by --columns params Params loss 'C4 Eval Loss'" in str(error.value)
    told = {"params": "Params", "loss": "C4 Eval Loss"}
    assert meanings(header, told, "t.csv") == told | {"tokens": "D"}


@pytest.mark.parametrize("column", ["flops_per_step", "tokens_per_second", "warmup_tokens", "TFLOPs/s"])
def test_what_only_sounds_like_a_size_is_none(column):
    with pytest.raises(DataError, match="no column for two of params, tokens and flops"):
        meanings(["N", column, "loss"], {}, "t.csv")


@hypothesis.given(st.sampled_from(["params", "tokens", "flops"]), st.sampled_from(["M", "billions", "T"]))
def test_a_unit_is_a_word_of_its_own(name, unit):
    assert unit_of(f"{name} ({unit})").name == name == unit_of(f"{name}_{unit}").name
    assert unit_of(name + unit.lower()[0]).multiple == 1 == unit_of(unit).multiple


def test_units_of_names_multiply_and_are_said(tmp_path):
    file = tmp_path / "runs.csv"
    rows = [f"{n / 1e6},{d / 1e9},{c / 1e21},{loss}" for n, d, c, loss in ROWS]
    file.write_text("\n".join(["Params (M),tokens_b,train ZFLOPs,loss", *rows]), encoding="utf-8")
    (table,) = Reading().tables(str(file)).values()
    for name, values in zip(("params", "tokens", "flops", "loss"), zip(*ROWS, strict=True), strict=True):
        np.testing.assert_allclose(getattr(table.observations, name), values)
    assert table.notes == (
        "column 'Params (M)' is in units of 1e+06",
        "column 'tokens_b' is in units of 1e+09",
        "column 'train ZFLOPs' is in units of 1e+21",
    )


@pytest.mark.parametrize("cells", ["1e8,2B,3.1\n200M,4e9,2.9", "1e8,2e9,3.1\n2e8,4e9,2.9"])
def test_a_number_that_is_whole_already_is_not_multiplied_again(tmp_path, cells):
    file = tmp_path / "runs.csv"
    file.write_text(f"Params (M),Tokens (B),loss\n{cells}\n", encoding="utf-8")
    (table,) = Reading().tables(str(file)).values()
    assert table.observations.tokens.tolist() == [2e9, 4e9]
    assert table.observations.params.tolist() == [1e8, 2e8]


@pytest.mark.parametrize(
    ("header", "cells", "sizes", "note"),
    [
        ("N (B),D (B)", ["125M,30", "0.35,30B"], [(1.25e8, 3e10), (3.5e8, 3e10)], "units of 1e+09"),
        ("params,train GFLOPs", ["1e8,1.2e9", "2e8,4.8e12"], [(1e8, 2e9), (2e8, 4e12)], "units of 1e+09"),
        ("N,Tokens (M)", ["1e10,3945000"], [(1e10, 3.945e12)], "units of 1e+06"),
        ("N,Tokens (T)", ["1e10,300B"], [(1e10, 3e11)], "the table has no FLOPs"),
        (
            "Params (M),D",
            ["20,1e9", "40,1e9", "60,1e9", "30000000,1e9"],
            [(2e7, 1e9), (4e7, 1e9), (6e7, 1e9)],
            "in units of 1e+06 more than any run has",
        ),
        ("Params (B),D", ["190000000,1e9"], [(1.9e8, 1e9)], "1.9e+17 params are more than any run"),
    ],
)
def test_a_unit_is_of_numbers_that_have_none(tmp_path, header, cells, sizes, note):
    file = tmp_path / "runs.csv"
    file.write_text("\n".join([f"{header},loss,by", *(f"{each},3,{at}" for at, each in enumerate(cells))]))
    tables = Reading().tables(str(file), by="by").values()  # each by itself, and by the file's units
    found = [(of.params[0], of.tokens[0]) for of in (table.observations for table in tables) if len(of)]
    np.testing.assert_allclose(found, sizes)
    assert any(note in said for table in tables for said in table.notes)


def test_a_size_that_a_row_leaves_blank_is_told_by_the_others(tmp_path):
    file = tmp_path / "runs.csv"
    file.write_text(
        "N,D,C,L\n1e8,2e9,,3\n,2e9,2.4e18,3\n2e8, ,3e18,3\n,,1e18,3\n3e8,1e9,2e18,3\n", encoding="utf-8"
    )
    (table,) = Reading().tables(str(file)).values()
    assert table.observations.flops.tolist() == [1.2e18, 2.4e18, 3e18, 2e18]
    assert table.observations.params.tolist() == [1e8, 2e8, 2e8, 3e8]
    assert table.observations.tokens.tolist() == [2e9, 2e9, 2.5e9, 1e9]
    assert table.notes[0].startswith("1 of 5 rows left out")
    assert table.notes[1:] == (
        "1 of 5 rows have no FLOPs: taken as 6 x parameters x tokens",
        "1 of 5 rows have no parameters: taken as FLOPs / (6 x tokens)",
        "1 of 5 rows have no tokens: taken as FLOPs / (6 x parameters)",
    )


def test_rows_that_may_be_points_of_trainings_are_said(tmp_path):
    file = tmp_path / "runs.csv"
    rows = [f"m{n},{n},{d},3" for n in (1e8, 2e8) for d in (1e9, 2e9, 3e9)]
    file.write_text("\n".join(["Model Name,N,D,L", *rows]), encoding="utf-8")
    (table,) = Reading().tables(str(file)).values()
    assert "if they are points of one training, give --columns run 'Model Name'" in table.notes[0]
    (table,) = Reading(columns={"run": "Model Name"}).tables(str(file)).values()
    assert table.notes == ("the table has no FLOPs: taken as 6 x parameters x tokens",)


def test_a_column_can_be_told_to_be_none(tmp_path):
    file = tmp_path / "runs.csv"
    file.write_text("N,D,compute,loss\n1e8,2e9,7,3.1\n", encoding="utf-8")
    (table,) = Reading(columns={"flops": "-"}).tables(str(file)).values()
    assert (table.observations.flops.tolist(), dict(table.meant)) == (
        [1.2e18],
        {"params": "N", "tokens": "D", "loss": "loss"},
    )


@pytest.mark.parametrize(
    "column",
    ["PFLOP-days", "compute petaflop_days", "Compute (PFLOP-days)", "PF-days", "PFLOP/s-days", "C (PF days)"],
)
def test_petaflop_days(column):
    assert unit_of(column).multiple == 1e15 * 86400


@pytest.mark.parametrize(
    ("column", "multiple"),
    [("FLOPs (1e18)", 1e18), ("Tokens (1e+9)", 1e9), ("D (10^9)", 1e9), ("Params (K)", 1e3), ("D_1018", 1)],
)
def test_powers_of_ten_are_units(column, multiple):
    assert unit_of(column).multiple == multiple


@pytest.mark.parametrize("column", ["log_perplexity", "Log PPL", "neg_log_perplexity", "nll_per_ppl"])
def test_a_logarithm_of_a_perplexity_is_a_loss(column):
    assert not is_perplexity(column)
    assert is_perplexity("wikitext_ppl")


@pytest.mark.parametrize("orient", ["records", "columns", "list", "index"])
def test_json_as_pandas_writes_it(tmp_path, orient):
    names = ("params", "tokens", "flops", "loss")
    columns = dict(zip(names, map(list, zip(*ROWS, strict=True)), strict=True))
    whole = {
        "records": [dict(zip(names, row, strict=True)) for row in ROWS],
        "columns": {name: {str(at): cell for at, cell in enumerate(of)} for name, of in columns.items()},
        "list": columns,
        "index": {f"run {at}": dict(zip(names, row, strict=True)) for at, row in enumerate(ROWS)},
    }[orient]
    file = tmp_path / "runs.json.gz"
    file.write_bytes(gzip.compress(json.dumps(whole).encode()))
    (table,) = Reading().tables(str(file)).values()
    np.testing.assert_allclose(table.observations.loss, columns["loss"])
    assert table.notes == ()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.json", "3", "an array of objects, or an object of columns"),
        ("t.json", '{"N": [1, 2], "D": [1]}', "columns have different numbers of cells"),
        ("t.json", "[1]", "an array of objects"),
        ("t.json", "[]", "has no rows"),
        ("t.json", "{", "not JSON"),
        ("t.csv.gz", "N,D,L\n1,2,3\n", "damaged or not really .gz"),
        ("t.pkl", "x", "a pickle runs code: write it anew by pandas' to_csv"),
        ("t.pickle.xz", "x", "a pickle runs code"),
        ("t.gz", "x", "a table is a file whose name ends in"),
    ],
)
def test_files_that_are_no_tables_say_so(tmp_path, name, content, said):
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said.replace("(", r"\(")):
        Reading().tables(str(file))


def test_a_packed_file_is_found_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"\n\nN,D,loss\n1,2,3\n\n1,2,x\n"))
    (table,) = Reading().tables("~/t.csv.gz").values()
    assert table.observations.loss.tolist() == [3.0]
    assert table.notes[0].startswith("1 of 2 rows left out, the first ~/t.csv.gz:6:")


def test_a_table_by_commas_may_be_called_tsv(tmp_path):
    (tmp_path / "t.tsv").write_text("N,D,loss\n1,2,3\n", encoding="utf-8")
    (table,) = Reading().tables(str(tmp_path / "t.tsv")).values()
    assert table.observations.loss.tolist() == [3.0]


def test_a_packed_file_that_is_missing_is_said_as_any(tmp_path):
    with pytest.raises(DataError, match="check the path"):
        Reading().tables(str(tmp_path / "t.csv.gz"))


@hypothesis.given(st.lists(st.tuples(*[st.integers(1, 2)] * 3, st.integers(1, 5)), min_size=1))
def test_the_lowest_alike_is_that_of_runs_of_the_same_sizes(rows):
    params, tokens, unique, loss = np.array(rows, float).T
    observations = Observations(params=params, tokens=tokens, flops=tokens, loss=loss, unique_tokens=unique)
    sizes = [(row[0], row[1], min(row[1], row[2])) for row in rows]
    expected = [min(row[3] for row, other in zip(rows, sizes, strict=True) if other == own) for own in sizes]
    assert observations.lowest_alike().tolist() == expected


def test_runs_of_other_batches_end_within_a_step_of_each_other():
    tokens = np.array([2_000_027_648, 1_999_962_112, 2.1e9])
    same = {"params": np.full(3, 1e8), "tokens": tokens, "flops": 6e8 * tokens}
    runs = Observations(**same, loss=np.array([3.0, 2.9, 2.8]))
    assert runs.lowest_alike().tolist() == [2.9, 2.9, 2.8]
    curve = replace(runs, runs=np.array(["a", "a", "a"]))
    assert curve.lowest_alike().tolist() == [3.0, 2.9, 2.8]


def test_a_search_for_rates_is_said_and_its_best_runs_are_taken(tmp_path):
    file = tmp_path / "runs.csv"
    rows = [f"{n},{d},{loss * factor}" for n, d, _, loss in ROWS for factor in (1.0, 1.01, 1.3)]
    file.write_text("\n".join(["params,tokens,loss", *rows]), encoding="utf-8")
    (table,) = Reading().tables(str(file)).values()
    assert (
        "3 of 9 runs are worse than another of the same sizes by 3% or more (at most 30%)" in table.notes[-1]
    )
    (table,) = Reading(lowest=True).tables(str(file)).values()
    assert table.observations.loss.tolist() == [loss for *_, loss in ROWS]
    assert table.notes[-1] == "6 of 9 rows left out: another run of their sizes is better"
    file.write_text("\n".join(["params,tokens,loss", *rows[::3]]), encoding="utf-8")
    (table,) = Reading(lowest=True).tables(str(file)).values()
    assert table.notes == ("the table has no FLOPs: taken as 6 x parameters x tokens",)


def test_runs_far_above_a_budget_s_lowest_are_said_with_what_they_change():
    runs = isoflops()
    once = fit_isoflop(runs)
    assert once.beyond is None
    far = replace(runs.take(np.arange(5)), params=runs.params[:5] * 30, loss=runs.loss[:5] * 2)
    names = ("params", "tokens", "flops", "loss")
    both = {name: np.concatenate([getattr(runs, name), getattr(far, name)]) for name in names}
    said = fit_isoflop(Observations(**both)).beyond
    assert said is not None
    assert said.startswith("5 of 53 runs have losses 30% or more above the lowest of their budget")
    assert f"(farthest {far.loss.max():.4g}, at N=" in said
    assert said.endswith(f"without them the N exponent is {once.numbers['N exponent']:.3f}")
    assert said in METHODS["isoflop"].fit(Observations(**both)).notes()


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        ("params (zillions)", "zillions"),
        ("N [亿]", "亿"),
        ("params (100M)", "100M"),
        ("Params (excl. head)", "excl. head"),
        *((column, None) for column in ("params", "Params (M)", "N (non-embedding)", "N (1e6)", "N [10^9]")),
        *((column, None) for column in ("params (active) count", "Parameters ()", "N (num. params, total)")),
        *((column, None) for column in ("Tokens (D)", "FLOPs (6ND)", "Compute (C)", "C (6 * N * D)")),
        *(
            (column, None)
            for column in ("Params (w/o embeddings)", "Params (excl. embeddings)", "FLOPs (C=6ND)")
        ),
    ],
)
def test_a_unit_that_is_not_known_is_said_once(column, unit, tmp_path):
    file = tmp_path / "runs.csv"
    rows = [f"{n},{d},{loss}" for n, d, _, loss in ROWS]
    file.write_text("\n".join([f'"{column}",tokens,loss', *rows]), encoding="utf-8")
    (table,) = Reading(columns={"params": column}).tables(str(file)).values()
    said = [note for note in table.notes if "is no unit" in note]
    assert len(said) == (unit is not None)
    assert all(
        note.startswith(f"column {column!r} is read as it stands: {unit!r} is no unit") for note in said
    )
    assert all(note.endswith("multiply them, or rename the column to one of these") for note in said)
    assert len(table.observations) == len(ROWS)
