"""One contract over every card: a card that is added is tested by being there."""

from __future__ import annotations

import itertools
import subprocess
import sys

import jsonschema
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss import plot, registry, tables
from isoloss.fit import fit_law
from isoloss.fitted import TABLES
from isoloss.plot.draw import inputs
from isoloss.problems import IsolossError
from isoloss.seeds import generator
from isoloss.train.settings import TRAINER, known

CONSTANTS = {
    "dataset": ["TITLE", "ABOUT", "SOURCE", "TAGS", "TOKEN"],
    "model": ["TITLE", "FORMULA", "SOURCE", "VOCABULARY"],
    "law": ["TITLE", "FORMULA", "SOURCE"],
    "figure": ["TITLE", "ABOUT", "INPUTS"],
}
CARDS = [(kind, name) for kind in registry.FOLDERS for name in registry.names(kind)]
LABELS = [f"{kind} {name}" for kind, name in CARDS]
AGGREGATED = ("runs", "losses", "curves", "mixtures", "timing")


def defaults(kind: str, name: str) -> dict:
    return {key: spec["default"] for key, spec in registry.options(kind, name).items()}


@pytest.mark.parametrize(("kind", "name"), CARDS, ids=LABELS)
def test_a_card_says_what_it_is(kind, name):
    facts = registry.facts(kind, name)
    for constant in CONSTANTS[kind]:
        assert facts.get(constant), constant
    card = registry.card(kind, name)
    assert card.__doc__
    assert {constant: getattr(card, constant) for constant in facts} == facts
    for entry in facts.get("INPUTS", []):
        stage, table = entry.split("/")
        assert table in {"aggregate": AGGREGATED, "fit": TABLES}[stage]


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
        "import sys; from isoloss import registry\n"
        "for kind in registry.FOLDERS:\n"
        "    for name in registry.names(kind):\n"
        "        registry.facts(kind, name), registry.options(kind, name)\n"
        "folders = tuple(f'isoloss.{f}' for f in registry.FOLDERS.values())\n"
        "print([m for m in sys.modules if m.startswith((*folders, 'numpy', 'torch'))])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# Models


def model_of(name: str, **changes):
    sizes = defaults("model", name) | changes
    return registry.card("model", name).build(generator(0, "init", name), **sizes), sizes


@pytest.mark.parametrize("name", registry.names("model"))
def test_a_model_counts_its_own_parameters(name):
    for change in ({}, {"d_model": 24}, {"d_model": 40, "n_layers": 3, "context": 16}):
        model, sizes = model_of(name, **change)
        count = registry.card("model", name).count(**sizes)
        assert sum(count.values()) == sum(p.numel() for p in model.parameters())
        assert 0 <= count["embedding"] < sum(count.values())
        flops = registry.card("model", name).flops_per_token(**sizes)
        assert flops >= 6 * (sum(count.values()) - count["embedding"])


@pytest.mark.parametrize("name", registry.names("model"))
def test_options_of_a_model_do_not_hide_settings_of_the_trainer(name):
    assert not set(registry.options("model", name)) & set(TRAINER)
    assert len(known(name)) == len(TRAINER) + len(registry.options("model", name))


@pytest.fixture(params=registry.names("model"))
def stirred(request):
    """A small model with weights at which every part of it matters, its sizes and vocabulary."""
    import torch

    model, sizes = model_of(request.param, d_model=16, context=12)
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.5)
    return model, sizes, registry.facts("model", request.param)["VOCABULARY"]


def log_odds(model, tokens, vocabulary):
    import torch

    with torch.no_grad():
        found = model(torch.as_tensor(tokens, dtype=torch.int64))
    assert found.dtype == torch.float32
    assert found.shape == (tokens.size, vocabulary)
    return found.reshape(*tokens.shape, vocabulary).numpy()


def test_a_model_does_not_look_ahead(stirred):
    model, sizes, vocabulary = stirred
    tokens = np.random.default_rng(0).integers(0, vocabulary, (3, sizes["context"]))
    before = log_odds(model, tokens, vocabulary)
    assert np.isfinite(before).all()
    for at in range(sizes["context"]):
        changed = tokens.copy()
        changed[:, at] = (changed[:, at] + 1) % vocabulary
        after = log_odds(model, changed, vocabulary)
        np.testing.assert_array_equal(after[:, :at], before[:, :at])
        assert (np.abs(after[:, at:] - before[:, at:]).max(axis=(0, 2)) > 1e-4).all()


def test_a_model_tells_orders_apart_and_rows_of_a_batch_do_not_mix(stirred):
    model, sizes, vocabulary = stirred
    tokens = np.arange(2 * sizes["context"]).reshape(2, -1)
    both = log_odds(model, tokens, vocabulary)
    np.testing.assert_allclose(both[1:], log_odds(model, tokens[1:], vocabulary), atol=1e-4)
    swapped = tokens[:, [1, 0, *range(2, sizes["context"])]]
    assert np.abs(log_odds(model, swapped, vocabulary)[:, -1] - both[:, -1]).max() > 1e-4


@pytest.mark.parametrize("name", registry.names("model"))
def test_weights_depend_on_the_generator_only(name):
    first, again = (model_of(name)[0].state_dict() for _ in range(2))
    assert all((first[key] == again[key]).all() for key in first)


# Laws


def laws() -> list:
    """Every law with every choice of its options."""
    found = []
    for name in registry.names("law"):
        options = registry.options("law", name)
        choices = [spec.get("enum", [spec["default"]]) for spec in options.values()]
        for chosen in itertools.product(*choices):
            made = registry.card("law", name).make(**dict(zip(options, chosen, strict=True)))
            found.append(pytest.param(made, id=" ".join([name, *map(str, chosen)])))
    return found


EXTREMES = (1e2, 1e6, 1e13)
POINTS = dict(zip("NDC", np.array(list(itertools.product(EXTREMES, repeat=3))).T, strict=True))
every_law = pytest.mark.parametrize("law", laws())


def thetas(law):
    """Any coordinates inside the bounds."""
    return st.tuples(*(st.floats(term.low, term.high) for term in law.terms)).map(np.array)


@every_law
@settings(max_examples=60)
@given(data=st.data())
def test_the_gradient_of_a_law_is_that_of_its_prediction(law, data):
    theta, step = data.draw(thetas(law)), 1e-6
    found = law.log_loss_gradient(theta, POINTS)
    assert found.shape == (27, len(law.terms))
    for i, unit in enumerate(np.eye(len(law.terms))):
        above, below = (law.log_loss(theta + s * unit, POINTS) for s in (step, -step))
        np.testing.assert_allclose(found[:, i], (above - below) / (2 * step), atol=1e-5)


@every_law
@settings(max_examples=60)
@given(data=st.data())
def test_a_law_predicts_a_finite_positive_loss_anywhere_in_its_bounds(law, data):
    loss = np.exp(law.log_loss(data.draw(thetas(law)), POINTS))
    assert loss.shape == (27,)
    assert np.isfinite(loss).all() and (loss > 0).all()


@every_law
def test_leading_dimensions_of_theta_are_kept(law):
    low, high = (np.array([getattr(t, end) for t in law.terms]) for end in ("low", "high"))
    theta = low + (high - low) * np.random.default_rng(0).random((2, 3, len(law.terms)))
    value, slope = law.log_loss(theta, POINTS), law.log_loss_gradient(theta, POINTS)
    assert value.shape == (2, 3, 27)
    assert slope.shape == (2, 3, 27, len(law.terms))
    for at in itertools.product(range(2), range(3)):
        np.testing.assert_allclose(value[at], law.log_loss(theta[at], POINTS), rtol=1e-14)
        np.testing.assert_allclose(slope[at], law.log_loss_gradient(theta[at], POINTS), rtol=1e-14)


@every_law
def test_terms_are_told_apart_and_their_starts_lie_inside_their_bounds(law):
    assert set(law.variables) <= set("NDC")
    assert len({term.name for term in law.terms}) == len(law.terms)
    for term in law.terms:
        assert term.low < term.high
        assert term.starts == tuple(sorted(set(term.starts)))
        assert all(term.low < start < term.high for start in term.starts)
        for start in term.starts:
            assert term.coordinate(term.value(start)) == pytest.approx(start, abs=1e-12)
        assert term.unit
        assert term.symbol in law.formula


# Figures


@pytest.fixture(scope="module")
def files(chinchilla_runs, tmp_path_factory):
    """A maker of the tables of a sweep and its fit, as files by their place."""

    def make(bootstrap=6, **summary) -> dict:
        home = tmp_path_factory.mktemp("tables")
        natural = chinchilla_runs(noise=0.01, seed=1, weighting="natural")
        others = natural.iloc[::4].assign(weighting="double", status="dropped")
        others = others.assign(status_reason="not selected", run_id=others["run_id"] + "x")
        others.iloc[:4, others.columns.get_loc("status")] = "done"
        lost = natural.iloc[:1].assign(run_id="lost", status="diverged", loss_nats=np.nan)
        runs = pd.concat([natural, others, lost], ignore_index=True).assign(seed=0)
        done = runs[runs["status"] == "done"]
        domains = [done.assign(domain=d, loss_nats=done["loss_nats"] * f) for d, f in
                   (("code", 0.9), ("docstring", 1.1))]  # fmt: skip
        losses = pd.concat(domains).assign(step=9, split="valid", tag_key="kind", n_tokens=64)
        along = [done.assign(step=s, n_samples=done["n_samples"] * s / 8) for s in (1, 2, 8)]
        curves = pd.concat(along).assign(n_samples=lambda t: t["n_samples"].astype(int))
        found = {}
        for name, table in {"runs": runs, "losses": losses, "curves": curves}.items():
            found[f"aggregate/{name}"] = home / f"{name}.parquet"
            if name != "runs":
                table = table[tables.schema(name).names]
            tables.write(name, table, found[f"aggregate/{name}"], {"token": "byte"})
        settings_ = {"bootstrap": bootstrap, "n_starts": 3, "holdout": "largest_compute"}
        fit = fit_law(natural, "chinchilla", **settings_)
        fit.summary.loc[0, list(summary)] = list(summary.values())
        fit.save(home / "fit", law="plane", sweep="s")
        return found | {f"fit/{t}": home / "fit" / f"{t}.parquet" for t in TABLES}

    return make


@pytest.fixture(scope="module")
def sound(files):
    return files()


def needed(name: str, files: dict) -> list:
    return [files[entry] for entry in registry.facts("figure", name)["INPUTS"]]


def written(name: str, files: dict, out) -> dict[str, bytes]:
    plot.draw(name, defaults("figure", name), needed(name, files), out / f"{name}.png")
    return {file.name: file.read_bytes() for file in out.iterdir()}


@pytest.mark.parametrize("name", registry.names("figure"))
def test_a_figure_is_drawn_as_picture_and_table_with_the_same_bytes_twice(name, sound, tmp_path):
    found = []
    for out in ("a", "b"):
        (tmp_path / out).mkdir()
        found.append(written(name, sound, tmp_path / out))
    assert set(found[0]) == {f"{name}.png", f"{name}.pdf", f"{name}.parquet"}
    assert found[0] == found[1]
    assert found[0][f"{name}.png"].startswith(b"\x89PNG")
    assert found[0][f"{name}.pdf"].startswith(b"%PDF")
    table = tables.frame(tmp_path / "a" / f"{name}.parquet")
    assert len(table)
    assert tables.facts(tmp_path / "a" / f"{name}.parquet")["card"] == name


SHOWING_LAWS = [n for n in registry.names("figure") if registry.facts("figure", n).get("MIN_LAWS")]


@pytest.mark.parametrize("name", SHOWING_LAWS)
def test_a_figure_of_fits_without_intervals_is_drawn(name, files, tmp_path):
    assert len(written(name, files(bootstrap=0), tmp_path)) == 3


GROUPED = [n for n in SHOWING_LAWS if "group" in registry.options("figure", n)]


@pytest.mark.parametrize("name", GROUPED)
def test_a_group_that_the_fit_does_not_have_is_told(name, sound):
    card, options = registry.card("figure", name), defaults("figure", name)
    with pytest.raises(IsolossError, match="group 'al' is not in it; did you mean 'all'"):
        card.draw(inputs(needed(name, sound)), **options | {"group": "al"})


def texts(name: str, files: dict) -> str:
    """All that is written on a figure."""
    from matplotlib.text import Text

    card = registry.card("figure", name)
    figure, _ = card.draw(inputs(needed(name, files)), **defaults("figure", name))
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")


@pytest.mark.parametrize("name", SHOWING_LAWS)
def test_a_fit_that_is_no_optimum_is_told_on_the_figure(name, files, sound):
    doubtful = files(bootstrap=2, status="not_converged", message="nothing to rely on")
    assert "plane: NOT CONVERGED, nothing to rely on" in texts(name, doubtful)
    assert "NOT CONVERGED" not in texts(name, sound)


@pytest.mark.parametrize("name", registry.names("figure"))
def test_units_and_the_runs_that_are_not_shown_are_told_on_the_figure(name, sound):
    said = texts(name, sound)
    assert "nats/byte" in said and "nats/token" not in said
    assert "1 diverged" in said
    assert "5 dropped (not selected)" in said
