"""compute_llc has the bits of devinterp 2.0.1, and says which chains failed."""

from __future__ import annotations

import sys

import llc_samples
import numpy as np
import pytest
import xarray as xr

from isoloss import compute_llc
from isoloss.core.problems import IsolossError


@pytest.mark.parametrize("name", ["a_default", "b_burnin_accum", "d_mask_box", "nan1"])
@pytest.mark.filterwarnings("ignore:1 of 2 chains failed")
def test_the_llc_of_the_samples_of_devinterp_has_its_bits(name, reference_data):
    fixture = llc_samples.read(llc_samples.folder_of(reference_data), name)
    result = compute_llc(fixture.tree())
    assert list(result) == llc_samples.RESULTS
    for variable in result:
        expected = fixture.arrays[f"out_{variable}"]
        assert result[variable].dtype == expected.dtype
        assert result[variable].values.tobytes() == expected.tobytes()


def losses_with_a_failed_chain() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    losses = rng.uniform(1.5, 2, (3, 4, 2, 5)).astype(np.float32)
    losses[1, 2:] = np.nan
    return np.full((3, 5), 1.5, dtype=np.float32), losses


def test_a_failed_chain_is_named_and_counts_with_the_steps_before():
    init_loss, losses = losses_with_a_failed_chain()
    with pytest.warns(UserWarning, match=r"1 of 3 chains .*: chain 1 \(its step 2\); their steps"):
        result = compute_llc(llc_samples.tree(init_loss, losses, 10.0))
    part = compute_llc(llc_samples.tree(init_loss, losses[:, :2], 10.0))
    assert result["llc_per_chain"][1] == part["llc_per_chain"][1]
    assert np.isfinite(result["llc_mean"])


def test_strict_leaves_a_failed_chain_out_of_every_mean():
    init_loss, losses = losses_with_a_failed_chain()
    init_loss[1] = 7.0
    with pytest.warns(UserWarning, match="left out"):
        result = compute_llc(llc_samples.tree(init_loss, losses, 10.0), strict=True)
    others = compute_llc(llc_samples.tree(init_loss[[0, 2]], losses[[0, 2]], 10.0))
    for variable in ("llc_mean", "llc_std", "llc_scalar", "init_loss"):
        assert result[variable].values == others[variable].values
    assert np.isnan(result["llc_per_chain"].values).tolist() == [False, True, False]
    assert result["llc_per_chain"].dtype == np.float32


def test_dimensions_in_another_order_are_the_same_samples():
    init_loss, losses = losses_with_a_failed_chain()
    samples = llc_samples.tree(init_loss, losses, 10.0)
    turned = xr.DataTree(samples.dataset.transpose("token_pos", "step", ...))
    turned.attrs = samples.attrs
    with pytest.warns(UserWarning, match="chain 1"):
        results = [compute_llc(tree, strict=True) for tree in (turned, samples)]
    for variable in ("llc_mean", "llc_std", "llc_per_chain", "llc_scalar", "init_loss"):
        np.testing.assert_allclose(*(r[variable] for r in results), rtol=1e-4)


def test_an_infinite_loss_is_a_failure_too():
    init_loss, losses = losses_with_a_failed_chain()
    losses[1] = 1.5
    losses[0, 3, 0, 0] = np.inf
    with pytest.warns(UserWarning, match=r"chain 0 \(its step 3\)"):
        assert compute_llc(llc_samples.tree(init_loss, losses, 10.0))["llc_mean"] == np.inf
    with pytest.warns(UserWarning, match="chain 0"):
        result = compute_llc(llc_samples.tree(init_loss, losses, 10.0), strict=True)
    assert np.isfinite(result["llc_mean"])


def test_without_a_chain_that_finished_the_strict_llc_is_nan():
    init_loss, losses = losses_with_a_failed_chain()
    init_loss[0] = np.nan
    losses[2, 0] = np.nan
    with pytest.warns(UserWarning, match=r"chain 0 \(its initial loss\), chain 1"):
        result = compute_llc(llc_samples.tree(init_loss, losses, 10.0), strict=True)
    assert np.isnan(result["llc_mean"]) and np.isnan(result["llc_scalar"])


def test_samples_without_losses_or_n_beta_are_refused_by_name():
    with pytest.raises(IsolossError) as error:
        compute_llc(xr.DataTree(xr.Dataset({"losses": ("chain", [1.0])})))
    assert [p.found for p in error.value.problems] == [
        "has no variable 'init_loss'",
        "has no variable 'sampling_loss_micro'",
        "does not say at which n_beta it was sampled",
    ]


def test_without_xarray_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(IsolossError, match=r"pip install 'isoloss\[llc\]'"):
        compute_llc(None)
