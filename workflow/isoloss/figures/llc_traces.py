"""The losses along the chains that a local learning coefficient is the mean of."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.figures import _figure, _llc

TITLE = "Traces of the sampler"
ABOUT = (
    "A panel a run: the loss along its chains, their mean and a band from the least to the greatest"
    " of them, beside that of the trained weights. Chains that failed are dotted, in neither mean"
    " nor band; the burn-in is shaded. A level mean above the line is what an LLC is made of:"
    " one that still rises at the end needs more steps."
)
INPUTS = ["observe/llc", "observe/llc_chain", "observe/llc_trace"]
MAX_FITS = 0
OPTIONS = {
    "setting": "setting",
    "loss": {
        "type": "string",
        "enum": ["above_start", "itself"],
        "default": "above_start",
        "description": (
            "What is drawn: the loss of a step above that of the trained weights on the same items,"
            " which is free of most of the noise of batches, or the loss itself."
        ),
    },
    "first": {
        "type": "string",
        "enum": ["spread", "doubtful"],
        "default": "spread",
        "description": (
            "Which runs are shown where there are more than panels: spread evenly over the sizes,"
            " or failed and doubtful ones first."
        ),
    },
    "panels": {
        "type": "integer",
        "minimum": 1,
        "maximum": 24,
        "default": 12,
        "unit": "panels",
        "description": "Runs that are shown at most.",
    },
}
BLOCKS = 100  # points of a trace at most: means over blocks of steps

problems = _figure.no_problems


def draw(inputs: _figure.Inputs, setting: int, loss: str, first: str, panels: int):
    """A panel a run, smaller ones first; the table has a row a block of steps and chain."""
    rows = _llc.measured(inputs.tables["llc"], inputs.runs, setting)
    shown = _selected(rows, first, panels)
    traces = _blocks(inputs.tables["llc_trace"], shown, loss == "above_start")
    chains = inputs.tables["llc_chain"]
    chains = chains[chains["setting"] == setting]
    traces = traces.merge(
        chains[["run_id", "chain", "status", "failed_step"]], on=["run_id", "chain"]
    )
    lone = len(shown) == 1
    figure, axes_of = inputs.canvas.grid(len(shown), 3, 7.0 if lone else 3.4, 3.6 if lone else 2.4)
    for axes, row in zip(axes_of, shown.itertuples(), strict=True):
        _panel(axes, traces[traces["run_id"] == row.run_id], row)
        axes.set_title(_title(row, inputs.name_letters), size=8.5)
    across = inputs.canvas.columns(len(shown), 3)
    for axes in axes_of[-across:]:
        axes.set_xlabel("Step of the sampler", fontsize=9)
    unit = _figure.literal(inputs.loss_unit)
    above = "Loss above start" if inputs.in_paper else "Loss above that of the\ntrained weights"
    what = above if loss == "above_start" else "Loss"
    for axes in axes_of[::across]:
        axes.set_ylabel(f"{what} ({unit})", fontsize=9)
    some = f", {len(shown)} of {len(rows)} runs" if len(shown) < len(rows) else ""
    _figure.head(figure, f"Losses along the chains{some}", _handles(traces, shown, loss))
    _figure.print_note(figure, inputs, _note(inputs, rows, shown, traces))
    return figure, traces


def _selected(rows: pd.DataFrame, first: str, most: int) -> pd.DataFrame:
    """The runs that are shown, in the order of their sizes."""
    if first == "doubtful":
        rank = rows["status"].map(_llc.STATUSES.index)
        at = np.sort(rank.sort_values(ascending=False, kind="stable").index[:most])
    else:
        at = _llc.spread(len(rows), most)
    return rows.iloc[at].reset_index(drop=True)


def _blocks(trace: pd.DataFrame, shown: pd.DataFrame, above_start: bool) -> pd.DataFrame:
    """Means over blocks of steps: `run_id`, `chain`, `step` (middle), `loss`, `start`, `steps`.

    `start` is the loss of the trained weights, 0 where the loss is that above it. A block in which
    a chain fails is the mean of its finite losses.
    """
    trace = trace[trace["setting"] == shown["setting"].iloc[0]]
    trace = trace[trace["run_id"].isin(set(shown["run_id"]))]
    start = trace["init_loss"].astype(float)
    value = (trace["loss"] - start if above_start else trace["loss"]).astype(float)
    trace = trace.assign(loss=value.where(np.isfinite(value)), start=0.0 if above_start else start)
    last = trace.groupby("run_id")["step"].transform("max")
    size = -(-(last + 1) // BLOCKS)
    groups = trace.assign(block=trace["step"] // size).groupby(["run_id", "chain", "block"])
    means = {name: (name, "mean") for name in ("step", "loss", "start")}
    blocks = groups.agg(**means, steps=("step", "size")).reset_index().drop(columns="block")
    return shown[["run_id"]].merge(blocks, on="run_id")


def _panel(axes, traces: pd.DataFrame, row) -> None:
    """The chains of one run.

    Args:
        axes: of the panel.
        traces: its blocks.
        row: its row of `llc`.
    """
    blue, red = _figure.COLOURS[:2]
    sound = traces[traces["status"] == "ok"].groupby("step")["loss"]
    mean, low, high = sound.mean(), sound.min(), sound.max()
    start = float(traces["start"].mean())
    axes.axhline(start, color="black", linewidth=1, zorder=2)
    if row.num_burnin_steps:
        axes.axvspan(0, row.num_burnin_steps, color=_figure.GREY, alpha=0.12, linewidth=0)
    axes.fill_between(mean.index, low, high, color=blue, alpha=0.22, linewidth=0)
    axes.plot(mean.index, mean, color=blue, zorder=3)
    failed = traces[traces["status"] == "failed"]
    for _, chain in failed.groupby("chain"):
        axes.plot(chain["step"], chain["loss"], ":", color=red, linewidth=1.2, zorder=2)
    if len(mean):
        margin = 0.08 * (max(high.max(), start) - min(low.min(), start)) or 0.1
        axes.set_ylim(min(low.min(), start) - margin, max(high.max(), start) + margin)
    elif failed.groupby("chain")["loss"].count().max() > 1:
        everything = np.append(failed["loss"].dropna().to_numpy(), start)
        _llc.signed_axis(axes, everything, everything.min(), everything.max())
    else:
        _llc.in_place_of_values(axes, f"every chain failed by step {failed['failed_step'].max()}")
    axes.set_xlim(0, traces["step"].max() + traces["steps"].max() / 2)


def _title(row, letters: int) -> str:
    name = _figure.literal(row.run_id, letters)
    if row.status == "failed":
        return f"{name}\nfailed"
    error = f", SE {units.count(row.llc_se, 2)}" if np.isfinite(row.llc_se) else ""
    value = units.count(row.llc_mean).replace("-", "−")
    return f"{name}\nLLC {value}{error}, {row.status}"


def _handles(traces: pd.DataFrame, shown: pd.DataFrame, loss: str) -> list:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    blue, red = _figure.COLOURS[:2]
    handles = [Line2D([], [], color="black", linewidth=1, label="trained weights")]
    if (traces["status"] == "ok").any():
        handles.append(Line2D([], [], color=blue, label="mean over chains"))
        handles.append(Patch(color=blue, alpha=0.22, label="least to greatest chain"))
    if (shown["num_burnin_steps"] > 0).any():
        handles.append(Patch(color=_figure.GREY, alpha=0.12, label="burn-in"))
    if (traces["status"] == "failed").any():
        handles.append(Line2D([], [], color=red, linestyle=":", label="chain that failed"))
    return handles


def _note(inputs, rows: pd.DataFrame, shown: pd.DataFrame, traces: pd.DataFrame) -> str:
    """What is drawn, and what is not."""
    parts = [_llc.note(inputs, rows)]
    if (most := int(traces["steps"].max())) > 1:
        parts.append(f"every point is the mean of {most} steps")
    lost, sound = int(shown["chains_failed"].sum()), int(shown["chains_ok"].sum())
    parts += [f"{lost} of the {lost + sound} chains drawn failed"] * (lost > 0)
    return "; ".join(parts)
