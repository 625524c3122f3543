"""What is decided between a user's table and the runs: scales, units, which runs stay."""

from __future__ import annotations

import inspect
import re
import shlex

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.aggregate.loss_units import loss_unit_of
from isoloss.aggregate.selection import as_numbers
from isoloss.aggregate.table import COLUMNS, OWN, Rules, read_runs, read_table
from isoloss.core.filters import evaluate
from isoloss.core.problems import TableError
from isoloss.fitted import Fit

N = np.repeat([7e7, 1.6e8, 4.1e8, 1e9, 2.8e9, 7e9], 4)
D = np.tile([2e9, 1e10, 5e10, 3e11], 6)
L = 1.8 + 480 / N**0.347 + 2100 / D**0.367
NAMES = {"N": "params", "D": "tokens", "loss": "loss"}


@pytest.fixture
def law() -> pd.DataFrame:
    """24 runs of one law, without noise."""
    return pd.DataFrame({"params": N, "tokens": D, "loss": L})


def read(table, columns=NAMES, **rules):
    return read_table(table, Rules(columns, **rules))


def assert_is_the_law(runs, rtol=1e-9):
    """The runs that are done have N, D and the loss of the law."""
    fitted = runs[runs["status"] == "done"]
    expected = 1.8 + 480 / fitted["n_params"] ** 0.347 + 2100 / fitted["n_samples"] ** 0.367
    np.testing.assert_allclose(fitted["loss"], expected, rtol=rtol)
    assert set(np.round(np.log10(fitted["n_params"]), 3)) == set(np.round(np.log10(N), 3))
    assert set(np.round(np.log10(fitted["n_samples"]), 3)) == set(np.round(np.log10(D), 3))


def short(value: float) -> str:
    return f"{value / 1e9:g}B" if value >= 1e9 else f"{value / 1e6:g}M"


WRITTEN = {
    "with letters": (lambda x: short(x), lambda x: short(x)),
    "with commas": (lambda x: f"{int(x):,}", lambda x: f"{int(x):,}"),
    "with a unit": (lambda x: f"{short(x)} params", lambda x: f"{short(x)} tokens"),
    "as powers": (lambda x: f"{x / 1e6:g} × 10^6", lambda x: f"${x / 1e9:g} \\times 10^{{9}}$"),
}


@pytest.mark.parametrize(("of_n", "of_d"), WRITTEN.values(), ids=WRITTEN)
def test_sizes_are_read_as_people_write_them(law, of_n, of_d):
    table = law.assign(params=[of_n(n) for n in N], tokens=[of_d(d) for d in D])
    reading = read(table)
    assert_is_the_law(reading.runs)
    assert reading.notes == ()


SCALED = {
    "params_millions": ("N", 1e6, "N = params_millions x 1e6"),
    "params (M)": ("N", 1e6, "N = params (M) x 1e6"),
    "N_B": ("N", 1e9, "N = N_B x 1e9"),
    "model_size_m": ("N", 1e6, "N = model_size_m x 1e6"),
    "tokens_billions": ("D", 1e9, "D = tokens_billions x 1e9"),
    "tokensB": ("D", 1e9, "D = tokensB x 1e9"),
    "tokens (T)": ("D", 1e12, "D = tokens (T) x 1e12"),
}


@pytest.mark.parametrize(("name", "case"), SCALED.items(), ids=SCALED)
def test_a_scale_that_the_columns_name_says_is_applied_and_noted(law, name, case):
    letter, factor, note = case
    old = NAMES[letter]
    table = law.rename(columns={old: name})
    table[name] = table[name] / factor
    reading = read(table, {**NAMES, letter: name})
    assert_is_the_law(reading.runs)
    assert reading.notes == (note,)


@pytest.mark.parametrize("letter", ["N", "D"])
@pytest.mark.parametrize(
    ("name", "log", "note"),
    [
        ("log10_{}", np.log10, "10 ^ "),
        ("ln_{}", np.log, "e ^ "),
        ("log2_{}", np.log2, "2 ^ "),
        ("log_{}", np.log10, "10 ^ "),
        ("log_{}", np.log, "e ^ "),
        ("log {}", np.log, "e ^ "),
    ],
)
def test_a_logarithm_that_the_columns_name_says_is_undone(law, letter, name, log, note):
    new = name.format(NAMES[letter])
    table = law.rename(columns={NAMES[letter]: new})
    table[new] = log(table[new])
    reading = read(table, {**NAMES, letter: new})
    assert_is_the_law(reading.runs)
    assert reading.notes == (f"{letter} = {note}{new}",)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("flops_1e18", 1e18),
        ("ExaFLOPs", 1e18),
        ("compute (EFLOPs)", 1e18),
        ("zettaflops", 1e21),
        ("PFLOP/s-days", 8.64e19),
        ("pf_days", 8.64e19),
    ],
)
def test_compute_in_another_unit_is_converted(law, name, factor):
    table = law.drop(columns="tokens").assign(**{name: 6 * N * D / factor})
    reading = read(table, {"N": "params", "C": name, "loss": "loss"})
    assert_is_the_law(reading.runs)
    assert len(reading.notes) == 1 and reading.notes[0].startswith(f"C = {name} x ")


def test_a_name_is_not_believed_where_the_values_say_otherwise(law):
    table, columns = law.rename(columns={"params": "params_b"}), {**NAMES, "N": "params_b"}
    reading = read(table, columns)
    assert_is_the_law(reading.runs)
    taken = "N = params_b is taken as it is, in spite of its name: --scale N=1e9 if it is meant"
    assert reading.notes == (taken,)
    written = read(table.assign(params_b=[short(n) for n in N]), columns)
    assert_is_the_law(written.runs)
    assert written.notes == ()
    small = table.assign(params_b=N / 1e4, flops=6 * N / 1e4 * D)
    np.testing.assert_allclose(read(small, {**columns, "C": "flops"}).runs["n_params"], N / 1e4)


def test_a_scale_that_is_given_counts(law):
    table = law.assign(params=N / 1e9, tokens=np.log10(D))
    assert_is_the_law(read(table, scale={"N": 1e9, "D": "log10"}).runs)
    as_it_is = read(
        law.rename(columns={"params": "params_k"}), {**NAMES, "N": "params_k"}, scale={"N": 1}
    )
    assert_is_the_law(as_it_is.runs)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ({"N": "billions"}, "scale.N: 'billions' is not a scale; give a factor such as 1e9"),
        ({"N": -1}, "scale.N: '-1' is not a scale"),
        ({"loss": 2}, "scale.loss: has no scale"),
        ({"C": 2}, "scale.C: is not a mapped column"),
    ],
)
def test_a_scale_that_is_none_is_refused(law, scale, message):
    with pytest.raises(TableError, match=re.escape(message)):
        read(law, scale=scale)


def test_small_sizes_are_questioned_and_not_converted(law):
    table = law.assign(params=N / 1e9)
    reading = read(table)
    (note,) = reading.notes
    assert note.startswith("N = params is 0.07 to 7 in all runs")
    assert note.endswith("--scale N=1e6 or N=1e9")
    assert reading.runs["n_params"].max() == 7


def test_tokens_per_parameter_give_d(law):
    table = law.drop(columns="tokens").assign(ratio=D / N, flops=6 * N * D)
    assert_is_the_law(read(table, {"N": "params", "ratio": "ratio", "loss": "loss"}).runs)
    assert_is_the_law(read(table, {"C": "flops", "ratio": "ratio", "loss": "loss"}).runs)
    table = table.assign(tokens=D)
    assert_is_the_law(read(table, {"D": "tokens", "ratio": "ratio", "loss": "loss"}).runs)


ALL = {**NAMES, "C": "flops"}


def test_c_shows_which_column_has_another_unit(law):
    table = law.assign(flops=6 * N * D)
    in_exa = read(table.assign(flops=table["flops"] / 1e18), ALL)
    np.testing.assert_allclose(in_exa.runs["n_flops"], 6 * N * D)
    assert in_exa.notes == ("C = flops x 1e18, as C against 6 N D shows",)
    both = read(table.assign(params=N / 1e6, tokens=D / 1e9), ALL)
    assert_is_the_law(both.runs)
    assert set(both.notes) == {
        "N = params x 1e6, as C against 6 N D shows",
        "D = tokens x 1e9, as C against 6 N D shows",
    }


def test_c_that_does_not_show_which_column_is_refused_with_the_factor(law):
    table = law.assign(params=N / 1e3, tokens=N / 20, flops=6 * N * N / 20)
    with pytest.raises(TableError, match=r"C is 1e3 x 6 N D in every run.*D=1e3 or --scale N=1e3"):
        read(table, ALL)
    runs = read(table, ALL, scale={"N": 1e3}).runs
    np.testing.assert_allclose(runs["n_params"], N)


def test_what_c_is_in_terms_of_6nd_is_noted(law):
    assert read(law.assign(flops=6 * N * D), ALL).notes == ()
    constant = read(law.assign(flops=1.23 * 6 * N * D), ALL)
    assert constant.notes == ("C is 1.23 x 6 N D in every run",)
    varying = read(law.assign(flops=np.linspace(1.1, 1.9, 24) * 6 * N * D), ALL)
    assert varying.notes == ("C is 1.1 to 1.9 x 6 N D",)


UNITS = {
    "nats": (lambda x: x, "nats/token", ()),
    "bits": (lambda x: x, "bits/token", ()),
    "bits_per_byte": (lambda x: x, "bits/byte", ()),
    "nats_per_byte": (lambda x: x, "nats/byte", ()),
    "perplexity": (np.exp, "nats/token", ("loss = ln(loss): the column is a perplexity",)),
}


@pytest.mark.parametrize(("unit", "case"), UNITS.items(), ids=UNITS)
def test_losses_stay_in_the_unit_given_but_for_perplexities(law, unit, case):
    written, fitted, notes = case
    reading = read(law.assign(loss=written(L)), loss_unit=unit)
    assert_is_the_law(reading.runs)
    assert reading.loss_unit == reading.runs.attrs["loss_unit"] == fitted
    assert reading.notes == notes


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        ([0.25, 0.5, 0.75], "loss = 1 - acc: the column is an accuracy"),
        ([25.0, 50.0, 75.0], "loss = 1 - acc / 100: the column is an accuracy"),
        (["25%", "50 %", "75%"], "loss = 1 - acc / 100: the column is an accuracy"),
    ],
)
def test_an_accuracy_is_fitted_as_an_error(cells, note):
    table = pd.DataFrame({"N": [1e8, 2e8, 3e8], "D": [1e9, 2e9, 3e9], "acc": cells})
    reading = read(table, {"N": "N", "D": "D", "loss": "acc"})
    assert reading.runs["loss"].tolist() == [0.75, 0.5, 0.25]
    assert (reading.loss_unit, reading.notes) == ("error", (note,))


def test_the_unit_of_a_column_is_read_off_its_name_or_cells(law):
    assert loss_unit_of("eval/ppl") == "perplexity"
    assert loss_unit_of("c4_bits_per_byte") == loss_unit_of("BPB") == "bits_per_byte"
    assert loss_unit_of("top1_error") == "error"
    assert loss_unit_of("lambada acc_norm") == "accuracy"
    assert loss_unit_of("val_loss") is None and loss_unit_of("accumulated_loss") is None
    bits = read(law.assign(loss=[f"{x} bits/byte" for x in L]))
    assert bits.loss_unit == "bits/byte"
    in_nats = read(law.rename(columns={"loss": "val_error"}), {**NAMES, "loss": "val_error"})
    assert in_nats.loss_unit == "nats/token"


def test_values_outside_the_units_range_are_refused(law):
    below = law.assign(loss=np.where(np.arange(24) == 3, 0.5, np.exp(L)))
    with pytest.raises(TableError, match=r"row 4, column 'loss': found 0.5; perplexities are at"):
        read(below, loss_unit="perplexity")
    with pytest.raises(TableError, match="accuracy is between 0 and 1"):
        read(law.assign(loss=np.where(np.arange(24) == 3, 1.5, 0.5)), loss_unit="accuracy")
    with pytest.raises(TableError, match="'perplexities' is not a unit of losses; did you mean"):
        read(law, loss_unit="perplexities")


def test_a_loss_that_is_too_large_for_nats_is_questioned(law):
    reading = read(law.assign(loss=np.exp(L) + 14))
    assert "--loss-unit perplexity" in reading.notes[0]
    assert reading.loss_unit == "nats/token"


def test_a_negative_loss_is_refused_with_the_reason(law):
    with pytest.raises(TableError, match="losses of 0 or below are fitted by a formula"):
        read(law.assign(loss=L - 8))


LOST = ["OOM", "diverged", "-", "", None, "nan", "inf", np.inf, np.nan]


@pytest.mark.parametrize("cell", LOST, ids=map(repr, LOST))
def test_a_run_without_a_loss_counts_as_diverged_and_is_named(law, cell):
    losses = law["loss"].astype(object)
    losses[[2, 7]] = cell
    reading = read(law.assign(loss=losses))
    assert reading.runs["status"].value_counts().to_dict() == {"done": 22, "diverged": 2}
    reason = reading.runs["status_reason"][2]
    assert reason.startswith("loss is ") and reading.notes[0].startswith(
        "2 of 24 runs diverged, rows 3, 8: "
    )
    assert_is_the_law(reading.runs)


def test_a_table_without_any_loss_is_refused(law):
    with pytest.raises(TableError, match="column 'loss': none of 24 runs has a loss"):
        read(law.assign(loss="OOM"))


BAD = {
    "missing": (2, "-", "row 3, column 'params'"),
    "text": (2, 'a "quoted" size', "row 3, column 'params'"),
    "zero": (4, "0", "row 5, column 'params'"),
    "infinite": (4, "inf", "row 5, column 'params'"),
    "a backslash": (4, "a\\b", "row 5, column 'params'"),
}


@pytest.mark.parametrize("name", ["params", "config/model.n params", "a`b"])
@pytest.mark.parametrize(("row", "cell", "place"), BAD.values(), ids=BAD)
def test_the_filter_that_an_error_offers_drops_the_rows(law, name, row, cell, place):
    sizes = [short(n) for n in N]
    sizes[row] = sizes[9] = cell
    table = law.assign(params=sizes).rename(columns={"params": name})
    columns = {**NAMES, "N": name}
    with pytest.raises(TableError) as error:
        read(table, columns)
    assert place.replace("row", "rows").split(",")[0] + ", 10" in str(error.value)
    (offered,) = shlex.split(str(error.value).split("--keep ", 1)[1])
    reading = read(table, columns, keep=[offered])
    dropped = reading.runs["status"] == "dropped"
    assert np.flatnonzero(dropped).tolist() == [row, 9]


def test_a_column_that_is_mostly_no_numbers_is_to_be_replaced(law):
    table = law.assign(params=["model-small"] * 20 + ["1e9"] * 4)
    with pytest.raises(TableError, match=r"'model-small' is not a number.*name another column"):
        read(table)


def test_numbers_that_are_written_in_two_ways_are_refused_unless_a_filter_drops_them(law):
    sizes = [f"{n:g} params" for n in N]
    sizes[5] = "3B tokens"
    table = law.assign(params=sizes)
    message = "column 'params': some of its numbers have params and tokens; write all"
    with pytest.raises(TableError, match=message):
        read(table)
    assert_is_the_law(read(table, keep=["index != 5"]).runs)
    thousands = law.assign(params=[f"{n:.3f}".replace(".", ",") for n in np.linspace(1, 9, 24)])
    with pytest.raises(TableError, match="the comma of '1,000' may separate thousands or decimals"):
        read(thousands)
    with pytest.raises(TableError, match="column 'tokens': is in percent"):
        read(law.assign(tokens="5%"))


def test_a_row_that_a_filter_drops_needs_no_numbers(law):
    table = law.assign(state="finished").astype(object)
    table.loc[[0, 5], ["params", "tokens", "loss", "state"]] = ["-", "?", "crashed", "killed"]
    reading = read(table, keep=['state == "finished"'])
    assert reading.runs["status"].value_counts().to_dict() == {"done": 22, "dropped": 2}
    assert reading.notes == ()


def test_a_filter_sees_the_tables_own_columns_first(law):
    table = law.assign(status=["FINISHED"] * 20 + ["FAILED"] * 4, n_params=2 * N)
    assert (read(table, keep=['status == "FINISHED"']).runs["status"] == "done").sum() == 20
    kept = read(table, keep=["n_params > 1e10"]).runs
    assert set(kept.loc[kept["status"] == "done", "n_params"]) == {7e9}
    by_letter = read(table, keep=["N > 5e9"]).runs
    assert set(by_letter.loc[by_letter["status"] == "done", "n_params"]) == {7e9}


def test_own_names_have_the_cells_and_letters_what_is_fitted(law):
    table = law.rename(columns={"params": "params_millions", "loss": "ppl"})
    table = table.assign(params_millions=N / 1e6, ppl=np.exp(L))
    columns = {"N": "params_millions", "D": "tokens", "loss": "ppl"}
    for expression in ("params_millions < 100", "N < 1e8"):
        runs = read(table, columns, keep=[expression]).runs
        assert (runs["status"] == "done").sum() == 4
    losses = read(table, columns, keep=["loss < 3"]).runs
    assert (losses["status"] == "done").equals(pd.Series(L < 3))


def test_numbers_written_by_people_compare_as_numbers_and_as_texts(law):
    losses = law["loss"].map("{:.6f}".format)
    losses[3] = "diverged"
    table = law.assign(params=[short(n) for n in N], loss=losses)

    def kept(*keep):
        return int((read(table, keep=keep).runs["status"] == "done").sum())

    assert kept("params > 1e9") == 8
    assert kept('params == "7B"') == 4
    assert kept("params == 7e9") == 4
    assert kept("params in [7e9, 7e7]") == 7  # one of 70M has diverged
    assert kept('loss != "diverged"') == 23
    assert kept("not isna(loss)") == 23
    assert kept('loss < 3 and loss != "diverged"') == int((L < 3).sum()) - 1
    assert kept("log(params) > 22") == 4
    assert kept("loss == min(loss, by=params)") == 6


def test_a_filter_that_drops_every_row_says_what_the_column_holds(law):
    table = law.assign(status=["FINISHED"] * 20 + ["FAILED"] * 4)
    with pytest.raises(TableError) as error:
        read(table, keep=["status == 'finished'"])
    assert str(error.value) == (
        "the table, keep: drops all 24 rows: status == 'finished'; "
        "values of status: FINISHED (20), FAILED (4)"
    )
    with pytest.raises(TableError, match=r"filters together drop all 24 rows.*params is 7e"):
        read(table, keep=["params > 1e9", "params < 1e8"])


@pytest.mark.parametrize("name", ["val loss", "eval/loss", "summary.val_loss", "C4 Eval Loss"])
def test_an_odd_name_without_backticks_is_answered_with_them(law, name):
    table = law.rename(columns={"loss": name})
    columns = {**NAMES, "loss": name}
    with pytest.raises(TableError, match=f"write `{name}` in backticks"):
        read(table, columns, keep=[f"{name} < 3"])
    assert (read(table, columns, keep=[f"`{name}` < 3"]).runs["status"] == "done").sum() == sum(
        L < 3
    )


@pytest.fixture
def sweep(law) -> pd.DataFrame:
    """Five learning rates for each run of the law, the best not the first."""
    parts = [
        law.assign(lr=lr, loss=L + more)
        for lr, more in ((1e-4, 0.3), (3e-4, 0.05), (1e-3, 0.0), (3e-3, 0.08), (1e-2, 5.0))
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("best_of", [["N", "D"], ["params", "tokens"], ["n_params", "D"]])
def test_the_best_of_each_cell_stays(sweep, best_of):
    runs = read(sweep, best_of=best_of).runs
    assert runs["status"].value_counts().to_dict() == {"done": 24, "dropped": 96}
    assert set(runs.loc[runs["status"] == "done", "lr"]) == {1e-3}
    reasons = set(runs["status_reason"].dropna())
    assert reasons == {f"not the best of its {', '.join(best_of)}"}
    assert_is_the_law(runs)


def test_the_best_is_chosen_of_the_runs_that_filters_keep_and_that_have_a_loss(sweep):
    losses = sweep["loss"].astype(object)
    losses[sweep["lr"] == 1e-4] = "OOM"
    runs = read(sweep.assign(loss=losses), keep=["lr != 1e-3"], best_of=["N", "D"]).runs
    assert set(runs.loc[runs["status"] == "done", "lr"]) == {3e-4}
    assert runs["status"].value_counts().to_dict() == {"dropped": 72, "done": 24, "diverged": 24}


def test_sizes_alike_to_rounding_are_one_cell_and_groups_are_apart(sweep):
    rng = np.random.default_rng(0)
    jitter = 1 + 1e-8 * rng.uniform(-1, 1, len(sweep))
    table = sweep.assign(params=sweep["params"] * jitter)
    assert (read(table, best_of=["N", "D"]).runs["status"] == "done").sum() == 24
    rates = read(table, {**NAMES, "group": "lr"}, best_of=["N", "D"])
    assert (rates.runs["status"] == "done").sum() == 120


def test_an_unknown_column_of_best_of_is_refused(law):
    with pytest.raises(TableError, match="best_of: no column 'lrr'"):
        read(law, best_of=["lrr"])


@pytest.mark.parametrize("name", ["Top-1 accuracy (%)", "acc_pct", "accuracy percent"])
def test_a_column_named_as_per_cent_is_divided_by_100_whatever_it_is(name):
    raw = pd.DataFrame({"N": [1e7, 1e8, 1e9], "D": [1e9, 1e9, 1e9], name: [0.4, 0.9, 60.0]})
    sizes, share = {"N": "N", "D": "D"}, [0.004, 0.009, 0.6]
    loss = read_table(raw, Rules({**sizes, "loss": name})).runs["loss"]
    np.testing.assert_allclose(loss, 1 - np.array(share))
    for rules in (Rules(sizes, response=name), Rules({**sizes, "hit": name})):
        reading = read_table(raw, rules)
        own = reading.runs[name if rules.response else "hit"]
        np.testing.assert_allclose(own, share)
        assert any("100: the column is in percent" in note for note in reading.notes)


def test_percentages_of_a_mixture_are_shares():
    table = pd.DataFrame(
        {"p_web": ["25%", "75%"], "p_code": ["75%", "25%"], "loss_web": ["3.1", "OOM"]}
    )
    runs = read(table, {}).runs
    assert runs["p_web"].tolist() == [0.25, 0.75]
    assert runs["loss_web"].isna().tolist() == [False, True]


def test_losses_by_domain_have_the_unit_that_is_given():
    table = pd.DataFrame({"p_web": [0.25, 0.75], "p_code": [0.75, 0.25], "loss_web": [8.0, 9.0]})
    reading = read(table, {}, loss_unit="perplexity")
    np.testing.assert_allclose(reading.runs["loss_web"], np.log([8, 9]))
    assert reading.loss_unit == "nats/token"
    assert "of each loss by domain is fitted: its logarithm" in reading.notes
    assert read(table, {}, loss_unit="bits_per_byte").loss_unit == "bits/byte"


def test_filters_of_a_table_of_mixtures_see_its_own_names():
    table = pd.DataFrame(
        {"web %": [10, 40, 60], "code %": [90, 60, 40], "loss_web": [3.0, 2.9, 2.8]}
    )
    for expression in ("`web %` > 20", "p_web > 0.2"):
        runs = read(table, {}, keep=[expression]).runs
        assert runs["status"].tolist() == ["dropped", "done", "done"]


def test_integers_beyond_64_bits_in_columns_that_are_not_mapped_do_no_harm(law):
    from isoloss.core import tables

    runs = read(law.assign(hash=[2**70 + i for i in range(24)])).runs
    assert tables.conform("runs", runs).num_rows == 24
    assert runs["hash"][0] == str(2**70)


CELLS = st.one_of(
    st.sampled_from(["7B", "70M", "-", "OOM", "", "1,234", "2.5", "inf", "5%", "1e9", "n.d.", "0"]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-10, 10**20),
    st.none(),
    st.text(max_size=4),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6),
    st.sampled_from(["params", "params (M)", "log N", "N_B"]),
    st.sampled_from(["loss", "ppl", "accuracy", "bpb", "val error"]),
)
def test_any_cells_are_read_or_refused_and_what_is_offered_can_be_done(rows, size, loss):
    table = pd.DataFrame(rows, columns=[size, "D", loss], dtype=object)
    columns = {"N": size, "D": "D", "loss": loss}
    try:
        runs = read(table, columns, best_of=["N", "D"]).runs
        fitted = runs[runs["status"] == "done"]
        assert (fitted[["n_params", "n_samples", "loss"]] > 0).all(axis=None)
    except TableError as error:
        for problem in error.problems:
            assert problem.place and problem.remedy
            if "--keep " in problem.remedy:
                (offered,) = shlex.split(problem.remedy.split("--keep ", 1)[1])
                kept = evaluate(table, offered, "table", as_numbers)
                assert kept.any() and not kept.all(), offered


@pytest.mark.parametrize("name", OWN)
def test_a_variable_is_not_called_as_what_we_put_beside_it(name):
    raw = pd.DataFrame({"N": [1e6, 1e7], "val_loss": [3.0, 2.5], name: [1.0, 2.0]})
    with pytest.raises(TableError, match=f"columns.{name}: has a meaning of its own"):
        read_runs(raw, {"N": "N", "loss": "val_loss", name: name})
    runs = read_runs(raw, {"N": "N", "loss": "val_loss", "V": name})
    assert list(runs["V"]) == [1.0, 2.0]


def test_arguments_of_a_prediction_are_not_names_of_variables():
    arguments = {*inspect.signature(Fit.predict).parameters} - {"self", "variables"}
    assert arguments <= {*OWN, *COLUMNS}
