"""A process of what the best law of a search leaves: when it is offered, and what it predicts."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.__main__ import main
from isoloss.core.problems import IsolossError
from isoloss.discovery import search
from isoloss.discovery.process import Likelihood, folds_of

SIZES = np.geomspace(1e7, 1e9, 24)


def truth(size: np.ndarray, height: float) -> np.ndarray:
    """A power law with a wave of a relative height that no form has."""
    away = np.log(np.asarray(size) / 6e7)
    return (1.7 + 400 / np.asarray(size) ** 0.34) * (
        1 + height * np.sin(3 * away) * np.exp(-(away**2))
    )


def runs_of(height: float) -> pd.DataFrame:
    noise = np.random.default_rng(0).normal(size=len(SIZES))
    return pd.DataFrame({"N": SIZES, "loss": truth(SIZES, height) * np.exp(0.002 * noise)})


@pytest.fixture(scope="module")
def one_form():
    """A search of the form E + A / N**alpha alone."""
    whole = search.forms
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "forms", lambda *given: whole(*given)[:1])
        patch.setattr(search, "ROUNDS", 0)
        yield


@pytest.fixture(scope="module")
def bumpy(one_form):
    return isoloss.discover(runs_of(0.05), residual_process=True)


def test_a_bump_that_no_form_has_is_predicted_among_the_runs(bumpy):
    inside, inside_with = bumpy.residual.inside
    edge, edge_with = bumpy.residual.edge
    assert bumpy.residual.offered
    assert inside_with < 0.3 * inside
    assert edge_with <= 1.02 * edge
    assert edge == pytest.approx(bumpy.best.error, rel=1e-9)
    between = np.sqrt(SIZES[1:] * SIZES[:-1])
    missed = [
        np.abs(x.predict(N=between) - truth(between, 0.05)).mean() for x in (bumpy, bumpy.best)
    ]
    assert missed[0] < 0.3 * missed[1]
    assert f"from {inside:.3g} to {inside_with:.3g} (random fifths" in str(bumpy)


def test_far_from_the_runs_the_process_leaves_the_law(bumpy):
    far = [1.0, 1e3, 1e13]
    assert bumpy.predict(N=far) == pytest.approx(bumpy.best.predict(N=far), rel=1e-9)
    assert (bumpy.median(N=SIZES) == bumpy.best.predict(N=SIZES)).all()


def test_the_process_is_the_same_again(bumpy, one_form):
    again = isoloss.discover(runs_of(0.05), residual_process=True)
    assert again.record() == bumpy.record()
    assert (again.predict(N=SIZES) == bumpy.predict(N=SIZES)).all()


def test_a_process_that_does_not_help_is_not_offered(one_form, tmp_path, capsys):
    file = tmp_path / "runs.csv"
    runs_of(0.0).to_csv(file, index=False)
    answer = isoloss.discover(file, residual_process=True)
    assert not answer.residual.offered
    assert (answer.predict(N=SIZES) == answer.best.predict(N=SIZES)).all()
    assert main(["discover", str(file), "--residual-process"]) == 0
    assert "does not help by more than chance and is not offered" in capsys.readouterr().out
    assert json.loads(json.dumps(answer.record()))["residual_process"]["offered"] is False


def test_mixtures_are_refused():
    shares = np.random.default_rng(0).dirichlet(np.ones(2), 9)
    table = pd.DataFrame({"p_web": shares[:, 0], "p_code": shares[:, 1], "loss_web": shares[:, 0]})
    with pytest.raises(IsolossError, match=r"residual process.*mixtures"):
        isoloss.discover(table, residual_process=True)


def test_the_slopes_of_the_likelihood_are_those_of_differences():
    draws = np.random.default_rng(0)
    known = np.ones((1, 2, 7), dtype=bool)
    known[0, 1, 5:] = False
    target = np.where(known, draws.normal(size=known.shape), 0.0)
    likelihood = Likelihood.of(draws.random((2, 7, 2)), target, known)
    rows, at = np.array([0]), np.log([[0.2, 0.4, 0.8, 0.3]])
    made = likelihood.look(rows, at).gradient[0]
    step = 1e-5 * np.eye(4)
    differences = [
        (likelihood.look(rows, at + s).objective - likelihood.look(rows, at - s).objective)[0]
        / 2e-5
        for s in step
    ]
    assert made == pytest.approx(differences, rel=1e-6)


def test_runs_of_one_setting_are_held_out_together():
    size, group = np.repeat(np.arange(10.0), 3), np.repeat([0, 1], 15)
    folds = folds_of({"N": size}, group, seed=0)
    assert np.sum([fold.out for fold in folds], axis=0).tolist() == [1] * 30
    for fold in folds:
        assert np.ptp(1 * fold.out.reshape(10, 3), axis=1).max() == 0
        assert fold.out[:15].sum() == fold.out[15:].sum() == 3
