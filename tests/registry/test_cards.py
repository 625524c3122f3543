"""One contract over every card: a card that is added is tested by being there."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache

import jsonschema
import numpy as np
import pandas as pd
import pytest
from llc_tables import llc_tables
from small_tasks import made_up

from isoloss.core import registry, tables
from isoloss.core.problems import IsolossError
from isoloss.core.seeds import generator
from isoloss.core.stages import stages
from isoloss.figures._figure import Inputs, canvas_of, run_ids, style_of
from isoloss.figures._paper import finish
from isoloss.fit import fit_law
from isoloss.fitted import TABLES
from isoloss.models._model import model_of
from isoloss.observables._observable import TrainedModel
from isoloss.plot.draw import draw, inputs
from isoloss.train.settings import task_of

CARDS = [(kind, name) for kind in registry.FOLDERS for name in registry.names(kind)]
LABELS = [f"{kind} {name}" for kind, name in CARDS]
OBSERVED = {t for card in registry.names("observable") for t in registry.tables_of(card)}


def defaults(kind: str, name: str) -> dict:
    return {key: spec["default"] for key, spec in registry.options(kind, name).items()}


@pytest.mark.parametrize(("kind", "name"), CARDS, ids=LABELS)
def test_a_card_says_what_it_is(kind, name):
    facts = registry.facts(kind, name)
    assert registry.lacking(kind, name) == ()
    for constant in registry.CONTRACTS[kind].split():
        by_options = constant == "TAGS" and "tag_keys" in registry.defined(kind, name)
        assert facts.get(constant) or by_options or not constant.isupper(), constant
    card = registry.card(kind, name)
    assert card.__doc__
    assert {constant: getattr(card, constant) for constant in facts} == facts
    for entry in registry.inputs(name) if kind == "figure" else ():
        stage, table = entry.split("/")
        assert table in (OBSERVED if stage == "observe" else stages()[stage].writes)


@pytest.mark.parametrize(("kind", "name"), CARDS, ids=LABELS)
def test_options_are_schema_properties_with_a_default_that_keeps_them(kind, name):
    options = registry.options(kind, name)
    jsonschema.Draft202012Validator.check_schema({"type": "object", "properties": options})
    for key, spec in options.items():
        assert {"type", "description", "default"} <= set(spec), key
        jsonschema.Draft202012Validator(spec).validate(spec["default"])


@pytest.mark.parametrize("kind", registry.FOLDERS)
def test_names_are_the_stems_of_the_files(kind):
    folder = registry.HOME / registry.FOLDERS[kind]
    stems = [file.stem for file in folder.glob("*.py") if not file.stem.startswith("_")]
    assert registry.names(kind) == tuple(sorted(stems))
    assert [registry.path(kind, name).stem for name in registry.names(kind)] == sorted(stems)


@pytest.mark.parametrize("kind", registry.FOLDERS)
def test_an_unknown_name_is_an_error_with_the_nearest_one(kind):
    name = registry.names(kind)[0]
    for look in (registry.path, registry.facts, registry.options, registry.card):
        with pytest.raises(IsolossError, match=f"did you mean '{name}'"):
            look(kind, f"{name}x")


def test_cards_are_listed_and_described_without_importing_one():
    code = (
        "import sys; from isoloss.core import registry\n"
        "for kind in registry.FOLDERS:\n"
        "    for name in registry.names(kind):\n"
        "        registry.facts(kind, name), registry.options(kind, name)\n"
        "folders = tuple(f'isoloss.{f}' for f in registry.FOLDERS.values())\n"
        "print([m for m in sys.modules if m.startswith((*folders, 'numpy', 'torch'))])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# Observables


@cache
def initial_weights(model: str) -> dict[str, np.ndarray]:
    """The weights that a model at its defaults begins with."""
    options = defaults("model", model) | defaults("task", task_of(model))
    shapes = registry.card("task", task_of(model)).shapes(**defaults("task", task_of(model)))
    built = model_of(registry.card("model", model), options | shapes).build(generator(0, "a", "b"))
    return {key: value.numpy() for key, value in built.state_dict().items()}


LAYERS = {
    "layers.0.weight": np.linspace(-1, 1, 12).reshape(4, 3),
    "layers.0.bias": np.ones(4),
    "layers.1.weight": np.linspace(-2, 3, 8).reshape(2, 4),
    "layers.1.bias": np.ones(2),
}


OF_WEIGHTS, OF_DATA = (
    [name for name in registry.names("observable") if registry.reads_data(name) == reads]
    for reads in (False, True)
)
FEW = {"llc": {"num_draws": 4, "num_chains": 2, "n_beta": 5.0}}  # options for little work


@pytest.mark.parametrize("name", OF_WEIGHTS)
@pytest.mark.parametrize("model", [None, *registry.names("model")])
def test_an_observable_measures_each_of_its_quantities_of_every_part_once(name, model):
    weights = LAYERS if model is None else initial_weights(model)
    before = {key: value.copy() for key, value in weights.items()}
    card, quantities = registry.card("observable", name), registry.facts("observable", name)
    try:
        measured = card.observe(weights, **defaults("observable", name))
    except IsolossError as refusal:  # some observables are of certain models: an option says which
        assert model, "an observable measures linear layers"
        assert any(f"`{option}`" in str(refusal) for option in registry.options("observable", name))
        assert any(key in str(refusal) for key in weights)
        return
    assert list(measured) == ["part", "quantity", "value"]
    assert measured["value"].dtype == np.float64
    assert np.isfinite(measured["value"]).all()
    expected = {(p, q) for p in set(measured["part"]) for q in quantities["QUANTITIES"]}
    assert set(zip(measured["part"], measured["quantity"], strict=True)) == expected
    assert len(measured) == len(expected) > 0
    for facts in quantities["QUANTITIES"].values():
        assert set(facts) == {"title", "unit"}
    pd.testing.assert_frame_equal(card.observe(before, **defaults("observable", name)), measured)
    assert all((weights[key] == before[key]).all() for key in weights)


@pytest.mark.parametrize("name", OF_DATA)
@pytest.mark.parametrize("model", registry.names("model"))
def test_an_observable_that_reads_data_keeps_the_contracts_of_its_tables(name, model):
    task, module = made_up(model, 9)
    weights = {key: value.numpy().copy() for key, value in module.state_dict().items()}
    shares: list[float] = []
    card, options = registry.card("observable", name), defaults("observable", name) | FEW[name]
    measured = card.observe(TrainedModel(module, task, weights, 1, shares.append), **options)
    assert list(measured) == registry.tables_of(name)
    rows = {key: table.assign(run_id="a") for key, table in measured.items()}
    rows["observations"] = rows["observations"].assign(observable=name)
    for table, frame in rows.items():
        assert tables.conform(table, frame).num_rows > 0
    quantities = registry.facts("observable", name)["QUANTITIES"]
    assert set(measured["observations"]["quantity"]) == set(quantities)
    assert all(0 <= share <= 1 for share in shares)
    for key, value in module.state_dict().items():
        assert (value.numpy() == weights[key]).all()
    assert not module.training
    again = card.observe(TrainedModel(module, task, weights, 1), **options)
    for table, frame in measured.items():
        pd.testing.assert_frame_equal(again[table], frame)
    assert list(card.problems(**options)) == []


@pytest.mark.parametrize("name", registry.names("observable"))
def test_the_columns_that_an_observable_gives_runs_are_in_its_tables(name):
    for column, facts in registry.facts("observable", name).get("COLUMNS", {}).items():
        assert column.isidentifier() and facts["about"]
        assert facts["table"] in registry.tables_of(name)
        assert facts["column"] in tables.schema(facts["table"]).names


def test_weight_norms_are_those_of_the_matrices_and_of_the_layers():
    weights = {
        "bytes": np.full((2, 3), 2.0, "float32"),
        "blocks.0.read": np.array([[3.0, 4.0]], "float32"),
        "blocks.0.gain": np.array([12.0], "float32"),
    }
    observe = registry.card("observable", "weight_norms").observe

    def of(parts, quantity):
        table = observe(weights, parts=parts)
        return table[table["quantity"] == quantity].set_index("part")["value"].to_dict()

    assert of("matrices", "frobenius_norm") == {"bytes": 24**0.5, "blocks.0.read": 5.0}
    assert of("matrices", "root_mean_square") == pytest.approx(
        {"bytes": 2.0, "blocks.0.read": 12.5**0.5}
    )
    assert of("layers", "frobenius_norm") == {"bytes": 24**0.5, "blocks.0": 13.0}


# Figures


@pytest.fixture(scope="module")
def files(chinchilla_runs, tmp_path_factory):
    """A maker of the tables of a sweep and its fit, as files by their place; kept."""

    @cache
    def make(law="chinchilla", bootstrap=6, groups=1, **summary) -> dict:
        home = tmp_path_factory.mktemp("tables")
        natural = chinchilla_runs(noise=0.01, seed=1, weighting="natural")
        if groups > 1:
            natural["group"] = [f"arm{i % groups}" for i in range(len(natural))]
        if law in MIXTURES:
            share = np.random.default_rng(2).uniform(0.1, 0.9, len(natural))
            for domain, p in (("code", share), ("docstring", 1 - share)):
                natural[f"p_{domain}"] = p
                natural[f"loss_{domain}"] = 1.5 + np.exp(-2 * p)
        others = natural.iloc[::4].assign(weighting="double", status="dropped")
        others = others.assign(status_reason="not selected", run_id=others["run_id"] + "x")
        others.iloc[:4, others.columns.get_loc("status")] = "done"
        lost = natural.iloc[:1].assign(run_id="lost", status="diverged", loss=np.nan)
        runs = pd.concat([natural, others, lost], ignore_index=True).assign(seed=0)
        ended = runs[runs["status"] == "done"]
        domains = [ended.assign(domain=d, loss=ended["loss"] * f) for d, f in
                   (("code", 0.9), ("docstring", 1.1))]  # fmt: skip
        losses = pd.concat(domains).assign(
            step=9, split="valid", tag_key="kind", n_tokens=64, error_rate=None
        )
        along = [ended.assign(step=s, n_samples=ended["n_samples"] * s / 8) for s in (1, 2, 8)]
        curves = pd.concat(along).assign(n_samples=lambda t: t["n_samples"].astype(int))
        shares = [ended.assign(tag_key="kind", domain=d, proportion=0.5)
                  for d in ("code", "docstring")]  # fmt: skip
        given = {"runs": runs, "losses": losses, "curves": curves, "mixtures": pd.concat(shares)}
        paths = {}
        for name, table in given.items():
            paths[f"aggregate/{name}"] = home / f"{name}.parquet"
            if name != "runs":
                table = table[tables.schema(name).names]
            units = {"token": "byte", "loss_unit": "nats/byte"}
            tables.write(name, table, paths[f"aggregate/{name}"], units)
        parts = [ended.assign(part=p, value=s / ended["n_params"] ** 0.5)
                 for p, s in (("bytes", 1.0), ("blocks.0.read", 2.0))]  # fmt: skip
        seen = pd.concat(parts).assign(observable="weight_norms", quantity="root_mean_square")
        entropies = [ended.assign(part="sample", quantity=q, value=ended["n_params"] ** a)
                     for q, a in (("h_tse", 0.2), ("h_sie", 0.1))]  # fmt: skip
        entropies = pd.concat(entropies).assign(observable="structural_entropy")
        seen = pd.concat([seen, entropies])
        paths["observe/observations"] = home / "observations.parquet"
        seen = seen[tables.schema("observations").names]
        tables.write("observations", seen, paths["observe/observations"], {})
        for name, table in llc_tables(ended[:3]).items():
            paths[f"observe/{name}"] = home / f"{name}.parquet"
            tables.write(name, table, paths[f"observe/{name}"], {})
        choice = dict.fromkeys(tables.schema("choices").names) | {"n_params": 1e6, "n_flops": 1e16}
        chosen = [choice | {"round": 1, "choice": 0}, choice | {"round": 2, "reason": "spent"}]
        paths["choose/choices"] = home / "choices.parquet"
        tables.write("choices", pd.DataFrame(chosen), paths["choose/choices"], {})
        paths |= simulated(home)
        settings_ = {"bootstrap": bootstrap, "holdout": "largest_compute"}
        settings_["loss_unit"] = "nats/byte"
        fit = fit_law(natural, law, profiles=law not in MIXTURES, **settings_)
        if law in MIXTURES:
            fit = fit.with_best_mixtures({"code": 2.0, "docstring": 1.0})
        fit.summary["status"], fit.summary["verdict"] = "converged", "sound"
        fit.summary.loc[0, list(summary)] = list(summary.values())
        fit.save(home / "fit", law="plane", sweep="s")
        return paths | {f"fit/{t}": home / "fit" / f"{t}.parquet" for t in TABLES}

    return make


def simulated(home) -> dict:
    """Tables of a simulated study, as files by their place."""
    trial = {"replicate": range(20), "truth": 0.3, "estimate": np.linspace(0.2, 0.5, 20)}
    trial |= {"estimator": "plane", "quantity": "alpha", "status": "converged"}
    row = {"estimator": "plane", "quantity": "alpha", "scale": "linear", "truth": 0.3, "mean": 0.35}
    row |= {"n_trials": 20, "n_converged": 20, "bias": 0.05, "bias_se": 0.02, "ci_level": 0.9}
    row |= {"coverage": 0.8, "coverage_low": 0.6, "coverage_high": 0.9}
    paths = {}
    for name, table in (("trials", pd.DataFrame(trial)), ("recovery", pd.DataFrame([row]))):
        paths[f"simulate/{name}"] = home / f"{name}.parquet"
        absent = [column for column in tables.schema(name).names if column not in table]
        table = table.assign(**dict.fromkeys(absent))
        tables.write(name, table, paths[f"simulate/{name}"], {"simulation": "known"})
    return paths


MIXTURES = [n for n in registry.names("law") if registry.of_mixtures(n)]


def law_of(name: str) -> str:
    """A law that a figure can show."""
    if registry.facts("figure", name).get("NEEDS") != "mixture":
        return "chinchilla"
    if not MIXTURES:
        pytest.skip("there is no law of mixtures")
    return MIXTURES[0]


def groups_of(name: str) -> int:
    """How many groups of runs a figure needs."""
    return 2 if registry.facts("figure", name).get("NEEDS") == "compare" else 1


def needed(name: str, files: dict) -> list:
    """The files of a figure, without the fit where it shows those of another quantity."""
    of_loss = registry.facts("figure", name).get("FITS_OF", "loss") == "loss"
    return [files[e] for e in registry.inputs(name) if of_loss or not e.startswith("fit/")]


def written(name: str, files: dict, out) -> dict[str, bytes]:
    draw(name, defaults("figure", name), needed(name, files), out / f"{name}.png")
    return {file.name: file.read_bytes() for file in out.iterdir()}


@pytest.mark.parametrize("name", registry.names("figure"))
def test_a_figure_is_drawn_as_picture_and_table_with_the_same_bytes_twice(name, files, tmp_path):
    sound, digests = files(law_of(name), groups=groups_of(name)), []
    for out in ("a", "b"):
        (tmp_path / out).mkdir()
        digests.append(written(name, sound, tmp_path / out))
    assert set(digests[0]) == {f"{name}.{s}" for s in ("png", "pdf", "txt", "parquet")}
    assert digests[0] == digests[1]
    assert digests[0][f"{name}.png"].startswith(b"\x89PNG")
    assert digests[0][f"{name}.pdf"].startswith(b"%PDF")
    table = tables.frame(tmp_path / "a" / f"{name}.parquet")
    assert len(table)
    assert tables.facts(tmp_path / "a" / f"{name}.parquet")["card"] == name


SHOWING_LAWS = [n for n in registry.names("figure") if registry.facts("figure", n).get("MIN_FITS")]


@pytest.mark.parametrize("name", SHOWING_LAWS)
def test_a_figure_of_fits_without_intervals_is_drawn(name, files):
    without = files(law_of(name), bootstrap=0, groups=groups_of(name))
    shown = inputs(needed(name, without))
    figure, table = registry.card("figure", name).draw(shown, **defaults("figure", name))
    figure.draw_without_rendering()
    assert len(table)


GROUPED = [n for n in SHOWING_LAWS if "group" in registry.options("figure", n)]


@pytest.mark.parametrize("name", GROUPED)
def test_a_group_or_response_that_the_fit_does_not_have_is_told(name, files):
    card, options = registry.card("figure", name), defaults("figure", name)
    shown = inputs(needed(name, files(law_of(name))))
    for option in sorted({"group", "response"} & set(options)):
        right = getattr(next(iter(shown.fits.values())), f"{option}s")[0]
        wrong = right[:-1]
        message = f"{option} '{wrong}' is not in it; did you mean '{right}'"
        with pytest.raises(IsolossError, match=message):
            card.draw(shown, **options | {option: wrong})


def in_paper(name: str, files: dict, width: float):
    """A figure for a paper, as it is saved, and its table."""
    import matplotlib

    canvas = canvas_of("paper", width)
    with matplotlib.rc_context(style_of("paper")):
        shown = replace(inputs(needed(name, files)), canvas=canvas)
        figure, table = registry.card("figure", name).draw(shown, **defaults("figure", name))
        caption = finish(figure, canvas)
        figure.draw_without_rendering()
    return figure, table, caption


def overlaps(boxes: list) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes have more in common than a pixel's rim."""
    pairs = itertools.combinations(boxes, 2)
    return [
        (a, b)
        for (a, one), (b, other) in pairs
        if min(one.x1, other.x1) - max(one.x0, other.x0) > 1
        and min(one.y1, other.y1) - max(one.y0, other.y0) > 1
    ]


@pytest.mark.parametrize("name", registry.names("figure"))
def test_a_figure_for_a_paper_has_readable_text_apart_and_inside(name, files):
    figure, _, caption = in_paper(name, files(law_of(name), groups=groups_of(name)), 3.25)
    assert figure.get_figwidth() == 3.25
    assert not figure.get_supxlabel() and caption
    shown = drawn_texts(figure)
    assert {text.get_text() for text in shown if not 7 <= text.get_fontsize() <= 9} == set()
    assert not [t.get_text() for t in shown if "$" in t.get_text() and not t.get_parse_math()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    page = figure.bbox
    assert [t for t, box in boxes if not (box.x0 >= -1 and box.x1 <= page.x1 + 1)] == []
    assert [t for t, box in boxes if not (box.y0 >= -1 and box.y1 <= page.y1 + 1)] == []
    assert overlaps(boxes) == []


def drawn_texts(figure) -> list:
    """The texts that are seen: without the numbers at ticks beyond the limits of an axis."""
    from matplotlib.axis import Tick
    from matplotlib.text import Text

    at_ticks = {id(text) for tick in figure.findobj(Tick) for text in tick.findobj(Text)}
    texts = [text for text in figure.findobj(Text) if id(text) not in at_ticks]
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            rim = 1e-6 * (high - low)
            ticks = [t for t in axis.get_major_ticks() if low - rim <= t.get_loc() <= high + rim]
            texts += [label for tick in ticks for label in (tick.label1, tick.label2)]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def texts(name: str, files: dict) -> str:
    """All that is written on a figure."""
    return texts_and_table(name, files)[0]


def texts_and_table(name: str, files: dict) -> tuple[str, pd.DataFrame]:
    """All that is written on a figure, and the table of what is drawn."""
    from matplotlib.text import Text

    card = registry.card("figure", name)
    figure, table = card.draw(inputs(needed(name, files)), **defaults("figure", name))
    texts = " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
    return texts, table


@pytest.mark.parametrize("name", SHOWING_LAWS)
def test_a_fit_that_is_not_to_be_used_is_told_on_the_figure(name, files):
    law, groups = law_of(name), groups_of(name)
    bad = {"verdict": "do not use", "reasons": "nothing to rely on"}
    doubtful = files(law, bootstrap=2, groups=groups, **bad)
    assert re.search("plane[^:]*: DO NOT USE, nothing to rely on", texts(name, doubtful))
    assert "DO NOT USE" not in texts(name, files(law, groups=groups))


OF_SWEEPS = [name for name in registry.names("figure") if not registry.of_simulation(name)]


@pytest.mark.parametrize("name", OF_SWEEPS)
def test_units_and_the_runs_that_are_not_shown_are_told_on_the_figure(name, files):
    words, table = texts_and_table(name, files(law_of(name), groups=groups_of(name)))
    assert re.search(r"\(?(nats/|\b)bytes?\b", words, flags=re.I)
    assert not re.search(r"\btokens?\b", words, flags=re.I)
    assert "1 diverged" in words
    assert "5 dropped (not selected)" in words
    counted = re.search(r"(\d+)(?: of (\d+))? runs(?: \([^;]*\))?; 5 dropped", words)
    shown = len(run_ids(table)) or 35  # runs that the fit looked at
    assert int(counted[1]) == shown
    assert counted[2] == ("39" if shown < 39 else None)


@pytest.fixture(scope="module")
def fits(chinchilla_runs):
    """Runs, and fits of them that differ in what they saw."""
    runs = chinchilla_runs(noise=0.01, seed=1)
    random = {"holdout": {"rule": "random", "repeats": 3}, "bootstrap": 20}
    fit_of = {
        "power": fit_law(runs, "power_law", **random),
        "plane": fit_law(runs, "chinchilla", **random),
        "fewer": fit_law(runs, "power_law", where="n_flops < 2e19", bootstrap=0),
    }
    return runs, fit_of


def drawn(name: str, runs, fits: dict, **options):
    """The texts and the table of a figure of some fits."""
    from matplotlib.text import Text

    shown = Inputs(tables={"runs": runs}, fits=fits)
    card = registry.card("figure", name)
    figure, table = card.draw(shown, **defaults("figure", name) | options)
    return [text.get_text() for text in figure.findobj(Text)], table


@pytest.mark.parametrize("index", ["", "_N", "_pile_cc", "_a-b c", "_50%", "_{$^\\~&#x"])
def test_any_name_can_be_the_index_of_a_symbol(index):
    from matplotlib.figure import Figure

    text = Inputs({}, {}, token="byte", loss_unit="nats/byte").named(f"α{index}", "nats/token")
    assert text.endswith(" (nats/byte)")
    figure = Figure()
    figure.suptitle(text)
    figure.draw_without_rendering()  # would complain


def test_predictions_of_folds_are_drawn_beside_those_of_the_fit(fits):
    runs, fit_of = fits
    _, table = drawn("predicted_observed", runs, {"power": fit_of["power"]})
    residuals = fit_of["power"].residuals
    unseen = residuals["predicted_unseen"].dropna()
    assert 0 < len(unseen) < len(residuals)
    assert list(table["held_out"]) == [False] * len(residuals) + [True] * len(unseen)
    np.testing.assert_array_equal(table["predicted"][len(residuals) :], unseen)


def test_residuals_are_percent_of_the_predicted_loss(fits):
    runs, fit_of = fits
    _, table = drawn("fit_residuals", runs, {"plane": fit_of["plane"]})
    assert len(table) == len(runs)
    expected = 100 * (table["loss"] / table["predicted"] - 1)
    np.testing.assert_allclose(table["residual_percent"], expected)
    assert 0.3 < table["residual_percent"].std() < 2  # log noise of 0.01


def test_profiles_that_were_not_kept_are_asked_for(fits):
    runs, fit_of = fits
    with pytest.raises(IsolossError, match="fit plane: no profiles were kept; set `profiles"):
        drawn("profile_curves", runs, {"plane": fit_of["plane"]})


def test_replicates_are_drawn_once_each_without_terms_held_still(fits):
    runs, _ = fits
    held = fit_law(runs, "chinchilla", fixed={"alpha": 0.34}, bootstrap=20)
    texts, table = drawn("bootstrap_pairs", runs, {"plane": held})
    free = ["E", "A", "B", "beta"]
    assert list(table.columns) == [*free, "what"]
    assert (table["what"] == "replicate").sum() == len(held.replicate_thetas())
    with pytest.raises(IsolossError, match="term 'alpha' is not free in it; known: A, B, E, beta"):
        drawn("bootstrap_pairs", runs, {"plane": held}, terms=["A", "alpha"])
    _, some = drawn("bootstrap_pairs", runs, {"plane": held}, terms=["A", "E"])
    assert list(some.columns) == ["E", "A", "what"]
    correlations = [text for text in texts if re.fullmatch(r"[+−]\d\.\d\d", text)]
    expected = np.corrcoef(np.log(table.loc[table["what"] == "replicate", "A"]),
                           np.log(table.loc[table["what"] == "replicate", "E"]))  # fmt: skip
    assert len(correlations) == 6
    assert float(correlations[0].replace("−", "-")) == pytest.approx(expected[0, 1], abs=0.006)


def test_laws_are_sorted_by_their_error_and_aicc_is_of_the_same_runs_only(fits):
    runs, fit_of = fits
    texts, table = drawn("law_comparison", runs, fit_of)
    rows = table[table["what"] == "law"].set_index("law")
    assert list(rows.index) == ["plane", "power", "fewer"]
    folds = fit_of["power"].scores["rmse"]
    assert rows.loc["power", "mean"] == pytest.approx(folds.mean())
    assert rows.loc["plane", "aicc_difference"] == 0
    assert rows.loc["power", "aicc_difference"] > 0
    assert np.isnan(rows.loc["fewer", "aicc_difference"]) and np.isnan(rows.loc["fewer", "mean"])
    assert "no folds: set `holdout` in the fit" in texts
    assert texts.count("best") == 1


def test_every_law_of_a_frontier_divides_a_budget(fits):
    runs, fit_of = fits
    _, table = drawn("optimal_frontier", runs, {"plane": fit_of["plane"]}, reach=100)
    assert table["C"].max() == pytest.approx(100 * runs["n_flops_6nd"].max())
    np.testing.assert_allclose(table["N"] * table["D"] * 6, table["C"])
    assert (table["N_low"] <= table["N_high"]).all()
    both = {name: fit_of[name] for name in ("plane", "power")}
    with pytest.raises(
        IsolossError, match="fit power: does not give the best N and D for a budget"
    ):
        drawn("optimal_frontier", runs, both)


def test_a_law_without_mixtures_has_no_response_to_them(fits):
    runs, fit_of = fits
    with pytest.raises(IsolossError, match="fit plane: its law is not a mixture law"):
        drawn("mixture_response", runs, {"plane": fit_of["plane"]})


def test_a_mixture_keeps_the_mean_shares_of_the_other_domains():
    runs = pd.DataFrame({"p_a": [0.1, 0.5], "p_b": [0.6, 0.3], "p_c": [0.3, 0.2]})
    mixtures = registry.card("figure", "mixture_response").mixtures(runs, "p_a")
    np.testing.assert_allclose(mixtures[["p_a", "p_b", "p_c"]].sum(axis=1), 1)
    np.testing.assert_allclose(mixtures["p_b"] / mixtures["p_c"], 0.45 / 0.25)
    assert (mixtures["p_a"].min(), mixtures["p_a"].max()) == pytest.approx((0.1, 0.5))


def test_the_interval_of_the_frontier_is_called_by_its_level(chinchilla_runs):
    runs = chinchilla_runs(noise=0.01, seed=1)
    fit = fit_law(runs, "chinchilla", bootstrap=30, ci_level=0.8)
    texts, _ = drawn("isoloss", runs, {"plane": fit})
    assert "80 % interval" in texts
