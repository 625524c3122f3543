"""Groups and domains of any name: they keep their names, and none becomes code or markup.

The fits are small: names are what is looked at.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llc_tables import llc_tables
from names import NASTY

from isoloss.__main__ import main
from isoloss.core import escape, registry, tables
from isoloss.core.problems import IsolossError
from isoloss.fit import fit_law
from isoloss.fitted import TABLES, Fit, load_fit, paper
from isoloss.fitted.export import END, START, explanation, export_fit, latex, law_file
from isoloss.fitted.facts import record
from isoloss.quickfit import law as front
from isoloss.report.summary import summarize

MIXTURES = [n for n in registry.names("law") if registry.of_mixtures(n)]
WRITABLE = [name for name in NASTY if name != "\ud800"]  # as a CSV can hold them
NAMES = st.text(max_size=40) | st.sampled_from(WRITABLE)
POINT = {"N": 1e9, "D": 1e10}


@pytest.fixture(scope="module")
def two(chinchilla_runs) -> Fit:
    """A fit of two groups, without replicates."""
    parts = [chinchilla_runs(noise=0.003, seed=i, group=f"g{i}") for i in (0, 1)]
    runs = pd.concat(parts, ignore_index=True)
    runs["run_id"] = [f"r{i}" for i in range(len(runs))]
    return fit_law(runs, "chinchilla", bootstrap=0)


def renamed(fit: Fit, first: str, second: str) -> Fit:
    """The fit as that of groups of other names."""
    names = {"g0": first, "g1": second}
    tables_of_both = {
        name: table.assign(group=table["group"].map(names)) if "group" in table else table
        for name, table in fit.tables.items()
    }
    return dataclasses.replace(fit, tables=tables_of_both)


def with_ends(fit: Fit, end: np.ndarray) -> Fit:
    """The fit as if every start had ended at a point of the law's coordinates."""
    starts = fit.starts.assign(end=[end] * len(fit.starts))
    return dataclasses.replace(fit, tables={**fit.tables, "starts": starts})


def of_mixtures(make_runs, card: str, domains, **settings_) -> Fit:
    """A mixture law of a few runs, of domains of some names."""
    shares = np.random.default_rng(0).dirichlet(np.ones(len(domains)), 12)
    columns = {f"p_{d}": shares[:, i] for i, d in enumerate(domains)}
    columns |= {f"loss_{d}": 2 + np.exp(-2 * shares[:, i]) for i, d in enumerate(domains)}
    runs = make_runs(np.ones(12), np.ones(12), np.nan, **columns)
    return fit_law(runs, card, **{"bootstrap": 0, **settings_})


LITERAL = ast.Dict | ast.List | ast.Tuple | ast.Constant | ast.UnaryOp | ast.USub | ast.Load


def skeleton(source: str) -> str:
    """An exported file without the data in it; what stands in their places is data and no code."""
    source.encode("utf-8")
    tree = ast.parse(source)
    assert isinstance(tree.body[0].value, ast.Constant)
    tree.body[0].value.value = ""
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            for node in ast.walk(statement.value):
                named = isinstance(node, ast.Name) and node.id in ("inf", "nan")
                assert named or isinstance(node, LITERAL), ast.dump(node)
            statement.value = ast.Constant(0)
    return ast.dump(tree)


def law_of(source: str):
    space: dict = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(source, "law.py", "exec"), space)
    return space["law"]


@given(first=NAMES, second=NAMES)
@example(NASTY[0], "plain")
@settings(max_examples=60)
def test_a_group_of_any_name_is_data_of_the_exported_file_and_found_in_it(two, first, second):
    if first == second:
        return
    fit = renamed(two, first, second)
    source = law_file(fit)
    assert skeleton(source) == skeleton(law_file(two))
    law = law_of(source)
    for group in (first, second):
        assert law([POINT], group)[0]["loss"] == pytest.approx(fit.loss(group, **POINT)[0])


@given(domains=st.lists(NAMES, min_size=2, max_size=3, unique=True))
@example(["C:\\Users\\xi", '"""', "x_1"])
@settings(max_examples=15)
def test_domains_of_any_names_are_data_of_the_exported_file_and_found_in_it(make_runs, domains):
    fit = of_mixtures(make_runs, "linear_mixture", domains)
    plain = of_mixtures(make_runs, "linear_mixture", ["a", "b", "c"][: len(domains)])
    source = law_file(fit)
    assert skeleton(source) == skeleton(law_file(plain))
    point = {f"p_{d}": 1 / len(domains) for d in domains}
    (predicted,) = law_of(source)([point], "all")
    assert set(predicted) == {f"loss_{d}" for d in domains}
    for response, loss in predicted.items():
        assert loss == pytest.approx(fit.loss("all", response, **point)[0])


@pytest.mark.parametrize("card", MIXTURES)
def test_every_mixture_law_is_exported_under_any_names(make_runs, card):
    domains = ['x"""\nraise SystemExit', "$\\frac$_{y}", "α–β 模型"]
    fit = of_mixtures(make_runs, card, domains)
    point = dict(zip((f"p_{d}" for d in domains), (0.2, 0.3, 0.5), strict=True))
    (predicted,) = law_of(law_file(fit))([point], "all")
    for response, loss in predicted.items():
        assert loss == pytest.approx(fit.loss("all", response, **point)[0], rel=1e-9)


def test_columns_are_matched_with_domains_whose_names_have_an_underscore(make_runs):
    fit = of_mixtures(make_runs, "linear_mixture", ["x_1", "y_1", "1"])
    law = law_of(law_file(fit))
    shares = {"x_1": 0.2, "y_1": 0.3, "1": 0.5}
    exact = law([{f"p_{d}": v for d, v in shares.items()}], "all")
    assert law([{f"proportion_{d}": v for d, v in shares.items()}], "all") == exact
    assert law([shares], "all") == exact


def test_numbers_without_end_and_no_numbers_are_exported(two):
    end = np.array([np.inf, np.nan, 0.0, 0.3, 0.3])
    fit = with_ends(two, end)
    source = law_file(fit)
    assert '"E": inf,' in source and '"A": nan,' in source
    assert skeleton(source) == skeleton(law_file(two))
    assert np.isnan(law_of(source)([POINT], "g0")[0]["loss"])


def test_a_variable_that_is_no_name_does_not_become_code(two, chinchilla_runs):
    code = 'D + __import__("os").system("touch PWNED")'
    runs = chinchilla_runs().assign(**{code: 1e9})
    for card in ("power_law", "logarithm", "broken_power_law", "m4"):
        with pytest.raises(IsolossError, match="variable: found"):
            fit_law(runs, card, {"variable": code}, bootstrap=0)
    law = registry.card("law", "m4").make(variable=code)  # as of a file that was tampered with
    with pytest.raises(IsolossError, match="is not a name"):
        law_file(dataclasses.replace(two, law=law))


SKELETON = re.compile(r"\\[{}$&#_%]|\\text\w+\{\}|\\ensuremath\{\\\w+\}")


@given(first=NAMES, second=NAMES)
@settings(max_examples=60)
def test_the_table_for_a_paper_has_the_cells_it_should_and_no_command_of_a_name(two, first, second):
    if first == second:
        return
    text = latex(renamed(two, first, second))
    lines, plain = text.split("\n"), latex(two).split("\n")
    assert len(lines) == len(plain)
    for line, like in zip(lines, plain, strict=True):
        if like.startswith("%"):
            assert line.startswith("%") and len(line.splitlines()) == 1
            continue
        bare = SKELETON.sub("", line)
        assert bare.count("{") == bare.count("}")
        assert bare.count("&") == like.count("&")
        assert "#" not in bare and "%" not in bare.replace(r"\%", "")
        assert re.findall(r"\\[A-Za-z]+", bare) == re.findall(r"\\[A-Za-z]+", like)


def test_domains_are_indices_of_symbols_in_a_paper(make_runs):
    domains = ["web", "x_1", "β", "αb", "C++ $", "}{\\input"]
    text = latex(of_mixtures(make_runs, "linear_mixture", domains))
    for symbol in (
        r"$t_{\mathrm{web}}$", r"$t_{\mathrm{x\_1}}$", r"$t_{\beta}$",
        r"$t_{\mbox{\scriptsize \ensuremath{\alpha}b}}$", r"$t_{\mbox{\scriptsize C++ \$}}$",
        r"$t_{\mbox{\scriptsize \}\{\textbackslash{}input}}$",
    ):  # fmt: skip
        assert symbol in text


@given(first=NAMES, second=NAMES)
@settings(max_examples=60)
def test_the_page_keeps_its_marks_its_shape_and_the_text_of_its_user(two, first, second):
    if first == second:
        return
    fit = renamed(two, first, second)
    page = explanation(fit)
    written = "\ufeff# Mine\r\n" + page + "\n\nBelow, mine too: <b> | `x`\r\n"
    again = explanation(two, explanation(fit, written))
    assert again == "\ufeff# Mine\r\n" + explanation(two) + "\n\nBelow, mine too: <b> | `x`\r\n"
    assert page.count(START) == page.count(END) == 1
    like = explanation(two)
    assert page.count("\n## ") == like.count("\n## ") and page.count("```") == 2
    for row in re.findall(r"^\|.*$", page, flags=re.M):
        assert len(re.findall(r"(?<!\\)\|", row)) == 4  # no intervals
    values = json.loads(page.split("```json\n")[1].split("```")[0])
    assert list(values) == [first, second]
    assert "<" not in page.replace(START, "").replace(END, "")


@given(first=NAMES, second=NAMES)
@settings(max_examples=40)
def test_the_page_for_a_paper_keeps_its_shape_whatever_groups_are_called(two, first, second):
    if first == second:
        return
    page, like = (paper.paper(fit, paper.Context()) for fit in (renamed(two, first, second), two))
    assert [line for line in page.split("\n") if line.startswith(("#", "```"))] == [
        line for line in like.split("\n") if line.startswith(("#", "```"))
    ]
    assert page.count("\n") == like.count("\n") == len(page.splitlines())
    for row, model in zip(page.split("\n"), like.split("\n"), strict=True):
        if model.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"(?<!\\)\|", model))
        if model.endswith(r"\\"):
            bare = SKELETON.sub("", row)
            assert bare.count("&") == model.count("&") and bare.count("{") == bare.count("}")


def test_a_page_whose_marks_are_in_disorder_keeps_all_of_it(two):
    page = explanation(two, f"{END} a {START} b")
    assert page.startswith(f"{END} a {START} b\n\n{START}\n")


def test_a_page_that_is_not_utf_8_is_not_overwritten(two, tmp_path):
    (tmp_path / "explain.md").write_bytes("für".encode("latin-1"))
    with pytest.raises(IsolossError, match=r"explain.md: is not UTF-8 .*; save it as UTF-8"):
        export_fit(two, tmp_path)
    assert (tmp_path / "explain.md").read_bytes() == b"f\xfcr"


def test_a_doubtful_fit_of_any_name_says_so_in_every_file(two, tmp_path):
    fit = renamed(two, 'x"""\\', "y\n%")
    first, reason = fit.summary.index[0], 't_<b>"""\n lies on a bound'
    fit.summary.loc[first, ["verdict", "reasons"]] = ["do not use", reason]
    for file in export_fit(fit, tmp_path):
        assert "Verdict: x" in (text := file.read_text(encoding="utf-8"))
        assert ": DO NOT USE: t" in text
    assert skeleton((tmp_path / "law.py").read_text(encoding="utf-8")) == skeleton(law_file(two))
    assert paper.verdict(record(fit)) in ast.get_docstring(
        ast.parse((tmp_path / "law.py").read_text(encoding="utf-8"))
    )


# The quick fit


@pytest.fixture
def table(chinchilla_runs, tmp_path, monkeypatch):
    """A maker of a CSV of groups of some names, in the working directory."""
    monkeypatch.chdir(tmp_path)

    def make(*groups: str) -> None:
        parts = [chinchilla_runs(noise=0.003, seed=i, group=g) for i, g in enumerate(groups)]
        runs = pd.concat(parts)[["n_params", "n_samples", "loss", "group"]]
        runs.columns = ["N", "D", "loss", "group"]
        runs.to_csv("runs.csv", index=False)

    return make


def test_the_attack_of_a_table_is_a_name_and_nothing_else(table, tmp_path, capsys):
    table(NASTY[0], "C:\\Users\\xi", "\x1b[2J$\\frac$")
    assert main(["law", "runs.csv", "--bootstrap", "2"]) == 0
    printed = capsys.readouterr().out
    assert 'x"""\\nimport os; os.system("touch PWNED")\\ny = """' in printed
    assert "\x1b" not in printed
    law = law_of((tmp_path / "runs-law" / "law.py").read_text(encoding="utf-8"))
    fit = load_fit("runs-law")
    assert {NASTY[0], "C:\\Users\\xi"} < set(fit.groups)
    for group in fit.groups:
        assert law([POINT], group)[0]["loss"] == pytest.approx(fit.loss(group, **POINT)[0])
    assert not list(tmp_path.rglob("PWNED"))


def test_columns_of_any_names_are_told_on_a_terminal(chinchilla_runs, tmp_path):
    runs = chinchilla_runs(noise=0.003).rename(columns={"loss": "loss\x1b[2J\n"})
    runs[["n_params", "n_samples", "loss\x1b[2J\n"]].to_csv(tmp_path / "t\x1b.csv", index=False)
    given_ = {"loss": "loss\x1b[2J\n", "N": "n_params", "D": "n_samples"}
    text = front.law_of_table(str(tmp_path / "t\x1b.csv"), given=given_, bootstrap=2).text
    assert "\x1b" not in text and "loss = loss\\x1b[2J\\n\n" in text


def test_mixtures_of_any_names_are_told_in_columns(make_runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    domains = ["$\\frac$", "模型", "d" * 300]
    shares = np.random.default_rng(0).dirichlet(np.ones(3), 12)
    raw = {f"p_{d}": shares[:, i] for i, d in enumerate(domains)}
    raw |= {f"loss_{d}": 2 - shares[:, i] for i, d in enumerate(domains)}
    pd.DataFrame(raw).to_csv("m.csv", index=False)
    text = front.law_of_table("m.csv", "linear_mixture", bootstrap=2).text
    assert max(map(len, text.splitlines())) < 160
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("best mixture"))
    starts = [escape.width(line[: line.index("0.")]) for line in lines[at + 1 : at + 4]]
    assert len(set(starts)) == 1


# Figures and the summary of a study


@pytest.fixture(scope="module")
def files(make_runs, chinchilla_runs, tmp_path_factory):
    """Tables of a study with names that are hard to draw, by their place."""
    home = tmp_path_factory.mktemp("nasty")
    groups = ["$\\frac$ {x} \\alpha ^2 % & <b>\n", "_模型 \x1b[31m\u202e", "g" * 300]
    domains = ["$\\frac$", "_hidden", "模型 domain", "d" * 300]
    parts = [chinchilla_runs(noise=0.01, seed=i, group=g) for i, g in enumerate(groups)]
    runs = pd.concat(parts, ignore_index=True).assign(weighting="natural", seed=0)
    runs["run_id"] = [f"r{i}" for i in range(len(runs))]
    shares = np.random.default_rng(3).dirichlet(np.ones(len(domains)), len(runs))
    for i, domain in enumerate(domains):
        runs[f"p_{domain}"], runs[f"loss_{domain}"] = shares[:, i], 1.5 + np.exp(-2 * shares[:, i])
    others = runs[::4].assign(weighting="$w$ \\_x", run_id=lambda t: t["run_id"] + "x")
    lost = runs[:2].assign(status="dropped", status_reason="not: `$x$` < '$y$' \x1b[2J\n")
    every = pd.concat([runs, others, lost.assign(run_id=["a", "b"])], ignore_index=True)
    ended = every[every["status"] == "done"]
    long = [ended.assign(domain=d, loss=ended["loss"] + 0.1) for d in (*domains, "e" * 300)]
    shares = [ended.assign(domain=d, proportion=ended[f"p_{d}"]) for d in domains]
    about = {"step": 9, "split": "valid", "tag_key": "$k$ _", "n_tokens": 64, "error_rate": None}
    losses, mixtures = (pd.concat(parts).assign(**about) for parts in (long, shares))
    curves = ended.assign(step=1, n_samples=ended["n_samples"].astype(int))
    made = {}
    given = {"runs": every, "losses": losses, "curves": curves, "mixtures": mixtures}
    for name, table in given.items():
        made[f"aggregate/{name}"] = home / f"{name}.parquet"
        whole = table if name == "runs" else table[tables.schema(name).names]
        facts = {"token": "$b$", "loss_unit": "$u$", "sweep": "s_*"}
        tables.write(name, whole, made[f"aggregate/{name}"], facts)
    seen = ended.assign(observable="weight_norms", quantity="root_mean_square", value=1.5)
    seen = pd.concat([seen.assign(part=part) for part in ("$\\frac$ _x", "p" * 300)])
    entropies = [ended.assign(quantity=q, value=v) for q, v in (("h_tse", 2.0), ("h_sie", 0.5))]
    entropies = pd.concat(entropies).assign(observable="structural_entropy", part="sample")
    seen = pd.concat([seen, entropies])
    made["observe/observations"] = home / "observations.parquet"
    seen = seen[tables.schema("observations").names]
    tables.write("observations", seen, made["observe/observations"], {"observation": "$o$"})
    ids = ended["run_id"]
    status = {ids.iloc[0]: "failed", ids.iloc[1]: "warn"}
    coefficients = llc_tables(ended[:3], status, negative=[ids.iloc[2]])
    coefficients["llc"]["status_reason"] = "$\\frac$ {x} \x1b[31m <b>\n| _y"
    for name, table in coefficients.items():
        made[f"observe/{name}"] = home / f"{name}.parquet"
        facts = {"observation": "$o$ _*", "sweep": "s_*"}
        tables.write(name, table, made[f"observe/{name}"], facts)
    made |= tables_of_names(home)
    made["aggregate/timing"] = home / "timing.parquet"
    facts = {"token": "$b$", "loss_unit": "$u$", "sweep": "s_*"}
    tables.write("timing", tables.empty("timing"), made["aggregate/timing"], facts)
    return made, runs, home


def tables_of_names(home) -> dict:
    """The choices of an empty round, and a simulation, with names that are hard to draw."""
    nothing = dict.fromkeys(tables.schema("choices").names)
    choices = [nothing | {"round": 1, "planner": "$p$", "reason": "$\\frac$ {x} \x1b[31m <b>\n"}]
    case = {"estimator": "$\\frac$ _x", "quantity": "n_opt", "n_flops": 1e20, "truth": 1e9}
    trial = case | {"replicate": 0, "estimate": 1.1e9, "status": "converged", "covered": True}
    level = {"coverage": 0.9, "coverage_low": 0.8, "coverage_high": 0.95, "ci_level": 0.95}
    counts = {"n_trials": 1, "n_converged": 1, "scale": "log"}
    recovery = case | level | counts | {"mean": 1.1e9, "bias": 0.1, "bias_se": 0.01}
    facts = {"sweep": "s_*", "simulation": "$s$ _*"}
    made = {}
    for place, rows in (
        ("choose/choices", choices),
        ("simulate/trials", [trial]),
        ("simulate/recovery", [recovery]),
    ):
        name = place.partition("/")[2]
        table = pd.DataFrame(rows).reindex(columns=tables.schema(name).names)
        made[place] = home / f"{name}.parquet"
        tables.write(name, table, made[place], facts)
    return made


def fit_of(files, card: str) -> dict:
    """The tables of a study, and of a doubtful fit of it."""
    made, runs, home = files
    flat = card != "chinchilla"
    settings_ = {"bootstrap": 4, "profiles": not flat} | (
        {} if flat else {"holdout": "largest_compute"}
    )
    fit = fit_law(runs, card, **settings_)
    fit = fit.with_best_mixtures(dict.fromkeys(fit.responses, 2.0)) if flat else fit
    fit.summary["status"], fit.summary["message"] = "at_bound", "at a bound: t_$\\frac$ \x1b[2J"
    fit.save(home / card, law="fit $x^{2}$ {} _a", sweep="s_*")
    return made | {f"fit/{t}": home / card / f"{t}.parquet" for t in TABLES}


@pytest.fixture(scope="module")
def plain_law(files):
    return fit_of(files, "chinchilla")


@pytest.fixture(scope="module")
def mixture_law(files):
    return fit_of(files, "linear_mixture")


@pytest.mark.parametrize("name", [*registry.names("figure"), "bootstrap_pairs of mixtures"])
def test_figures_draw_any_names_without_complaint(name, plain_law, mixture_law, tmp_path):
    from matplotlib.text import Text

    from isoloss.plot.draw import draw, inputs

    name, _, mixtures = name.partition(" of ")
    needs = registry.facts("figure", name).get("NEEDS") == "mixture" or mixtures
    made = mixture_law if needs else plain_law
    of_loss = registry.facts("figure", name).get("FITS_OF", "loss") == "loss"
    shown = [made[e] for e in registry.inputs(name) if of_loss or not e.startswith("fit/")]
    draw(name, registry.defaults("figure", name), shown, tmp_path / "x.png")
    figure, _ = registry.card("figure", name).draw(
        inputs(shown), **registry.defaults("figure", name)
    )
    figure.draw_without_rendering()  # as a card is drawn in a notebook, without the style
    labels = [text.get_text() for text in figure.findobj(Text)]
    assert not any("\x1b" in label or "\u202e" in label for label in labels)
    assert any("$" in label for label in labels)
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()] + figure.legends
    for legend in legends:
        assert all(text.get_text().strip() for text in legend.get_texts())


def test_the_summary_of_any_names_is_a_list_of_its_own_lines(plain_law, mixture_law):
    trial = {"sweep": "s_*", "weighting": "", "fit": "fit $x^{2}$ {} _a", "group": ""}
    for made, trials in ((plain_law, []), (mixture_law, [trial])):
        others = ("observe/", "simulate/trials")  # are no part of a summary, but for the LLCs
        read = [str(file) for name, file in made.items() if not name.startswith(others)]
        read.append(str(made["observe/llc"]))
        asked = {
            "study": "s",
            "summary": {"budgets": [], "optima": []},
            "datasets": {},
            "figures": ["f_$_"],
            "trials": trials,
            "rounds": {},
            "coefficients": {"$o$ _*": "s_*"},
        }
        text = summarize(asked, read)
        assert text.count("**Trial**") == len(trials)
        assert "\x1b" not in text and "<" not in text
        assert all(line.startswith("- **") for line in text.splitlines()[2:])
    assert "s\\_\\*" in text and "&#36;\\\\frac&#36;" in text
    html = pytest.importorskip("markdown_it").MarkdownIt("commonmark").render(text)
    assert html.count("<li>") == text.count("\n- **")
    assert not re.search(r"<(?!/?(h1|ul|li|p|strong)>)", html)
