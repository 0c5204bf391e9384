"""Tables as spreadsheets, trackers and other programs write them."""

import json
from decimal import Decimal

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from t5lite.cli.main import main
from t5lite.core.errors import DataError
from t5lite.scaling.tables import Reading
from t5lite.scaling.written_numbers import Writing
from tests.unit.scaling.simulated import isoflops

RUNS = isoflops(noise=0.003)


def written(path, header, cells, delimiter=","):
    """``cells`` make the row of each run from its N, D, C and loss."""
    rows = zip(RUNS.params, RUNS.tokens, RUNS.flops, RUNS.loss, strict=True)
    lines = [header, *(delimiter.join(cells(*row)) for row in rows)]
    path.write_bytes("\r\n".join(lines).encode())
    return str(path)


def read(file, **columns):
    (table,) = Reading(columns=columns).tables(file).values()
    return table


def check_read(table, *, rtol=1e-3):
    for name in ("params", "tokens", "flops", "loss"):
        np.testing.assert_allclose(getattr(table.observations, name), getattr(RUNS, name), rtol=rtol)


@pytest.mark.parametrize(
    "header",
    [
        "params,tokens,flops,loss",
        "N,D,C,L",
        "n_params,n_tokens,compute,val_loss",
        "Num Params,Train Tokens,Total FLOPs,eval/loss",
        "parameters,training-tokens,budget,nll",
        "\ufeffparams,tokens,flops,loss,,",
        "loss;params;tokens;flops".replace(";", ","),
    ],
)
def test_columns_have_many_names(tmp_path, header):
    order = ["loss", "params", "tokens", "flops"] if header.startswith("loss") else None

    def cells(n, d, c, loss):
        values = {"params": n, "tokens": d, "flops": c, "loss": loss}
        return [repr(float(values[name])) for name in order or values]

    check_read(read(written(tmp_path / "runs.csv", header, cells)), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "delimiter", "cells"),
    [
        ("t.csv", ",", lambda n, d, c, loss: (f"{n / 1e6:.5f}M", f"{d / 1e9:.6f} B", f"{c:.6e}", f"{loss}")),
        ("t.tsv", "\t", lambda n, d, c, loss: (f"{n:,.0f}", f"{d:,.0f}", f"{c:,.0f}", f"{loss}")),
        ("t.csv", ",", lambda n, d, c, loss: (f'"{n:,.1f}"', f"{d:_.0f}", f"{c:.6g}", f"{loss}")),
        ("t.csv", ";", lambda n, d, c, loss: (f"{n:,.0f}".replace(",", "."), f"{d}".replace(".", ","),
            f"{c:.6E}".replace(".", ","), f"{loss}".replace(".", ","))),
        ("t.csv", ";", lambda n, d, c, loss: (f"{n:,.0f}".replace(",", " "), f"{d}", f"{c}", f"{loss}")),
        ("t.csv", "|", lambda n, d, c, loss: (f"{n}", f"{d}", f"{c}", f"{loss}")),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(tmp_path, name, delimiter, cells):
    file = written(tmp_path / name, delimiter.join(["params", "tokens", "flops", "loss"]), cells, delimiter)
    table = read(file)
    check_read(table)
    assert [note for note in table.notes if "decimal commas" not in note] == []


@pytest.mark.parametrize("decimal_comma", [False, True])
@hypothesis.given(value=st.floats(1e-3, 1e15), places=st.integers(0, 6))
def test_a_written_number_is_that_number(decimal_comma, value, places):
    writing = Writing(decimal_comma=decimal_comma)
    swapped = str.maketrans(",.", ".,")
    for text in (f"{value:.{places}f}", f"{value:,.{places}f}", f"{value:.{places}e}"):
        expected = float(text.replace(",", ""))
        assert (
            writing.number(text.translate(swapped) if decimal_comma else text, may_be_large=True) == expected
        )


@pytest.mark.parametrize(
    "text",
    ["52%", "1,3", "1,300", "1 300", "1,2,3", "12,34,567", "3.1B", "B", "", "k", "1 2", "$3", "2.5e", "0x10"],
)
def test_what_is_no_loss_is_refused(text):
    with pytest.raises(ValueError, match="could not convert"):
        Writing(decimal_comma=False).number(text, may_be_large=False)


@pytest.mark.parametrize(
    ("losses", "read_as", "left_out"),
    [
        (["3.125", "3.25", "diverged, NaN"], [3.125, 3.25], 1),
        (["3.125", "3.25", "3,1"], [3.125, 3.25], 1),
        (["3.125", "3.25", "3,141"], [3.125, 3.25], 1),
        (["0.950", "0.875", "n/a, lost"], [0.95, 0.875], 1),
        (["3,125", "3,25", "lost, NaN"], [3.125, 3.25], 1),
        (["3,125", "3", "2,5e0"], [3.125, 3, 2.5], 0),
        (["3.125e0", "3,25"], [3.125], 1),
    ],
)
def test_one_odd_cell_does_not_change_what_the_others_mean(tmp_path, losses, read_as, left_out):
    file = tmp_path / "runs.csv"
    rows = [f'{number}000;"2,000";{loss};{loss[0]}' for number, loss in enumerate(losses, start=1)]
    file.write_text("\n".join(["params;tokens;loss;group", *rows]), encoding="utf-8")
    assert read(str(file)).observations.loss.tolist() == read_as
    left = [note for note in read(str(file)).notes if f"{left_out} of {len(losses)} rows left out" in note]
    assert len(left) == left_out
    groups = Reading().tables(str(file), by="group").values()
    of_groups = [loss for table in groups for loss in table.observations.loss.tolist()]
    assert sorted(of_groups) == sorted(read_as)


@pytest.mark.parametrize(
    ("perplexities", "read_as"),
    [
        (["1,234", "950.5"], [1234, 950.5]),
        (["1,234", "950"], [1234, 950]),
        (["12,345", "950,5"], [12.345, 950.5]),
        (["1.234", "950,5"], [1234, 950.5]),
        (["1.234,5", "950,5"], [1234.5, 950.5]),
    ],
)
def test_perplexities_have_commas_between_thousands(tmp_path, perplexities, read_as):
    file = tmp_path / "runs.csv"
    rows = [f"1;{number}e6;{each}" for number, each in enumerate(perplexities, start=1)]
    file.write_text("\n".join(["params;tokens;ppl", *rows]), encoding="utf-8")
    np.testing.assert_allclose(np.exp(read(str(file)).observations.loss), read_as)


def test_a_number_below_one_has_no_thousands(tmp_path):
    assert Writing(decimal_comma=True).number("0.950", may_be_large=True) == 0.95
    with pytest.raises(ValueError, match="could not convert"):
        Writing(decimal_comma=False).number("0,125B", may_be_large=True)


def test_parquet_has_numbers_of_every_type(tmp_path):
    import pyarrow
    import pyarrow.parquet

    columns = {
        "params": pyarrow.array([round(each) for each in RUNS.params] + [1], pyarrow.int64()),
        "tokens": pyarrow.array([Decimal(f"{each:.2f}") for each in RUNS.tokens] + [Decimal(1)]),
        "flops": pyarrow.array([f"{each:.9e}" for each in RUNS.flops] + ["1"]).dictionary_encode(),
        "loss": pyarrow.array([*RUNS.loss, None], pyarrow.float32()),
    }
    file = tmp_path / "runs.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    table = read(str(file))
    check_read(table, rtol=1e-6)
    assert table.notes == (f"1 of 49 rows left out, the first {file}:49: column 'loss' has None, no number",)
    twice = pyarrow.Table.from_arrays([columns["loss"]] * 2, names=["loss", "loss"])
    pyarrow.parquet.write_table(twice, file)
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read(str(file))


def test_a_sweep_s_own_loss_is_taken_beside_that_of_an_evaluation(tmp_path):
    file = written(
        tmp_path / "runs.csv", "params,tokens,flops,loss,heldout/loss", lambda *run: [*map(str, run), "7"]
    )
    np.testing.assert_allclose(read(file).observations.loss, RUNS.loss)


def test_losses_in_bits_and_perplexities_are_said(tmp_path):
    def cells(n, d, c, loss):
        return [str(each) for each in (n, d, c, loss, loss / np.log(2), np.exp(loss))]

    file = written(tmp_path / "runs.csv", "N,D,C,lost,bpb,val_ppl", cells)
    with pytest.raises(DataError, match="several columns for loss: bpb, val_ppl; say which"):
        read(file)
    table = read(file, loss="bpb")
    np.testing.assert_allclose(table.observations.loss, RUNS.loss / np.log(2))
    assert table.notes == ("column 'bpb' is taken as the loss: E, A, B and losses are in bits",)
    table = read(file, loss="val_ppl")
    np.testing.assert_allclose(table.observations.loss, RUNS.loss)
    assert table.notes == ("column 'val_ppl' is a perplexity, whose logarithm is the loss",)


@pytest.mark.parametrize("name", ["wikitext_ppl", "heldout/perplexity", "PPL (c4)", "ppl_train"])
def test_a_column_that_is_named_is_a_perplexity_by_a_word_of_its_name(tmp_path, name):
    file = written(
        tmp_path / "runs.csv",
        f"N,D,C,{name},loss",
        lambda n, d, c, loss: map(str, (n, d, c, np.exp(loss), 9)),
    )
    table = read(file, loss=name)
    check_read(table)
    assert table.notes == (f"column {name!r} is a perplexity, whose logarithm is the loss",)


def test_a_column_l_beside_another_loss_is_not_guessed_at(tmp_path):
    file = written(
        tmp_path / "runs.csv", "N,D,C,l,ppl", lambda n, d, c, loss: map(str, (n, d, c, 12, np.exp(loss)))
    )
    with pytest.raises(DataError, match="several columns for loss: l, ppl; say which"):
        read(file)


def test_costs_of_encoder_decoders_are_usual(tmp_path):
    file = written(tmp_path / "runs.csv", "N,D,C,L", lambda n, d, c, loss: map(str, (n, d, 0.48 * c, loss)))
    assert read(file).notes == ()


def test_costs_that_contradict_the_sizes_are_counted(tmp_path):
    file = written(
        tmp_path / "runs.csv",
        "N,D,C,L",
        lambda n, d, c, loss: map(str, (n, d, c * (1 + 9 * (n > 1e9)), loss)),
    )
    many = int(np.sum(RUNS.params > 1e9))
    assert f"(below 1.5 or above 12 in {many} of 48 rows): are the units right?" in read(file).notes[0]


def test_a_row_with_too_many_cells_is_left_out(tmp_path):
    """As thousands that are separated by commas make them, where nobody quoted them."""
    file = tmp_path / "runs.csv"
    file.write_text("N,D,L\n1300000,2000000,3.1\n1,300,000,2000000,3.1\n1,2,3,\n", encoding="utf-8")
    table = read(str(file))
    assert (
        table.notes[0]
        == f"1 of 3 rows left out, the first {file}:3: it has more cells than there are columns"
    )
    assert len(table.observations) == 2


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{"N": 1e7, "D": 1e8, "L": 3.0}], "1 runs"),
        ([{"N": 1e7, "D": 1e8 * each, "L": 3.0 + 1 / each} for each in (1, 2, 3, 4)], "4 runs"),
    ],
)
def test_a_table_that_nothing_fits_is_an_error(tmp_path, capsys, rows, reason):
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert main(["scaling", "fit", str(file)]) == DataError.exit_code
    said = capsys.readouterr()
    assert reason in said.out
    assert "no method could be fitted" in said.err
    assert len(said.err.strip().splitlines()) == 1
