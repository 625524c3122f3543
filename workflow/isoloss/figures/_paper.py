"""A figure as a paper takes it: no title, text of 7 to 9 points, legends above, ticks apart.

A card draws as for a screen, on a figure of the final width; `finish` does the rest. What stands
over and under a figure on a screen is its caption, which a paper has in its own text.
"""

from __future__ import annotations

import itertools
import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from isoloss.core.problems import IsolossError, Problem
from isoloss.figures import _figure

LEAST, MOST = 7.0, 9.0  # points of text
LINES, MARKS = 0.75, 0.5  # widths of lines and areas of markers, of those on a screen
APART = 4.0  # points between the numbers at two ticks: two spaces of the smallest text
LOWEST = 0.85  # inches of the height of a panel, at least
SPARE = 0.05  # inches above and below a panel that may stay empty
ROUNDS = 8  # of places found, and of ticks and labels fitted to them
TITLES = ("left", "center", "right")


@contextmanager
def latex_told() -> Iterator[None]:
    """Where a user's settings have LaTeX draw all text, tell why it cannot.

    Raises:
        IsolossError: LaTeX is not installed, or lacks a package.
    """
    from matplotlib import rcParams

    try:
        yield
    except RuntimeError as error:
        if not rcParams["text.usetex"]:
            raise
        text = re.search(r"^! ((?:.+\n)+)", str(error), re.MULTILINE)
        reason = text[1].replace("\n", "") if text else str(error).partition("\n")[0]
        remedy = "install what LaTeX lacks, or set text.usetex: False in your matplotlibrc"
        raise IsolossError(Problem("text.usetex", reason, remedy)) from error


def finish(figure, canvas: _figure.Canvas) -> str:
    """The caption of a figure; if it is for a paper, make what a card has drawn one of a paper.

    Args:
        figure: of the card; where Axes were given, only these are changed.
        canvas: on which the card drew.

    Returns:
        The title and the small print, on a line each.
    """
    own = canvas.given is None
    lone = canvas.panels[0] if len(canvas.panels) == 1 else None
    titles = [legend.get_title().get_text() for legend in figure.legends if own]
    titles += [lone.get_title(loc) for loc in TITLES if lone is not None]
    if canvas.paper is not None:
        _to_paper(figure, canvas, lone)
    lines = [" ".join(text.split()) for text in (*titles, *canvas.notes)]
    return "\n".join(filter(None, lines))


def _to_paper(figure, canvas: _figure.Canvas, lone) -> None:
    """Titles, sizes, legends, ticks and labels of a figure for a paper."""
    own = canvas.given is None
    for loc in TITLES if lone is not None else ():
        lone.set_title("", loc=loc)
    for axes in figure.axes if own else [canvas.given]:
        _scale(axes)
        _plain_numbers(axes)
    for panel in canvas.panels:
        if (legend := panel.get_legend()) is not None:
            _put_above(figure if own and lone is not None else panel, legend, canvas.paper, own)
    if not own:  # they were made in another style
        canvas.given.tick_params(labelsize=_figure.PAPER["xtick.labelsize"])
        for axis in (canvas.given.xaxis, canvas.given.yaxis):
            axis.label.set_fontsize(_figure.PAPER["axes.labelsize"])
    else:
        for legend in list(figure.legends):
            _put_above(figure, legend, canvas.paper, own)
        _settle(figure, canvas)


def _scale(axes) -> None:
    """Text between the least and the greatest size; lines and markers to scale."""
    from matplotlib.text import Text

    for text in axes.findobj(Text):
        text.set_fontsize(min(max(text.get_fontsize(), LEAST), MOST))
    for line in axes.lines:
        _scale_line(line)
    for collection in axes.collections:
        collection.set_linewidth(LINES * np.asarray(collection.get_linewidth()))
    for points in _with_sizes(axes.collections):
        points.set_sizes(MARKS * np.asarray(points.get_sizes()))


def _plain_numbers(axes) -> None:
    """Numbers at evenly spaced ticks in the font of the text."""
    from matplotlib.ticker import ScalarFormatter

    for axis in (axes.xaxis, axes.yaxis):
        if isinstance(axis.get_major_formatter(), ScalarFormatter):
            axis.get_major_formatter().set_useMathText(False)


def _scale_line(line) -> None:
    line.set_linewidth(line.get_linewidth() * LINES)
    line.set_markersize(line.get_markersize() * MARKS**0.5)
    line.set_markeredgewidth(line.get_markeredgewidth() * LINES)


def _with_sizes(collections) -> list:
    """Those whose parts are markers."""
    from matplotlib.collections import PathCollection

    return [one for one in collections if isinstance(one, PathCollection)]


def _put_above(owner, legend, inches: float, grows: bool) -> None:
    """The same legend above a panel, or above all of a figure, in as many columns as it has room.

    Args:
        owner: Axes or figure.
        legend: of it, or of its panel.
        inches: of the figure's width.
        grows: whether the figure grows by the height of the legend.
    """
    from matplotlib.lines import Line2D

    handles, old = legend.legend_handles, legend.get_texts()
    on_figure = owner.get_figure() is owner or owner.get_figure() is None
    of_panel = legend.axes is not None
    if not of_panel:  # its handles are those of no panel, which are scaled already
        for handle in handles:
            if isinstance(handle, Line2D):
                _scale_line(handle)
    if not (of_panel and on_figure):  # which are put above once more, as those of the figure
        for points in _with_sizes(handles):
            points.set_sizes(MARKS * np.asarray(points.get_sizes()))
    figure = owner if on_figure else owner.get_figure()
    room = inches if on_figure else 0.9 * owner.get_position().width * inches
    size = LEAST / 72  # inches of a letter's height
    labels = [_folded(text, room - 2.5 * size) for text in old]
    parsed = [text.get_parse_math() for text in old]
    columns = _figure.legend_columns([_inches(text) + 3.0 * size for text in old], room)
    legend.remove()
    if on_figure:
        place = {"loc": "outside upper left"}
    else:
        place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0)}
    above = owner.legend(handles, labels, ncols=columns, fontsize=LEAST, **place)
    for text, was in zip(above.get_texts(), parsed, strict=True):
        text.set_parse_math(was)
    tall = above.get_window_extent().height / figure.dpi
    if grows:
        figure.set_figheight(figure.get_figheight() + tall)
    if not on_figure:
        for loc in TITLES:
            if owner.get_title(loc):
                owner.set_title(owner.get_title(loc), loc=loc, pad=72 * tall + 4)


def _inches(text, side: str = "width") -> float:
    """Width or height of a text on the page."""
    return getattr(text.get_window_extent(), side) / text.get_figure().dpi


def _folded(text, room: float, side: str = "width") -> str:
    """A text on as many lines as it needs within a room, inches."""
    words, long = text.get_text(), _inches(text, side)
    if long <= room:
        return words
    letters = max(4, int(len(max(words.split("\n"), key=len)) * room / long))
    folded = textwrap.wrap(words, letters, break_long_words=False, break_on_hyphens=False)
    return "\n".join(folded)


def _settle(figure, canvas: _figure.Canvas) -> None:
    """Find places, and fit the numbers at ticks, labels and titles to them, until all are apart."""
    for _ in range(ROUNDS):
        changes = [not _placed(figure), _fit_height(figure, canvas), _fold_common(figure, canvas)]
        for axes in figure.axes:
            if axes.get_visible():
                changes += [_spread(axes.xaxis, "width"), _spread(axes.yaxis, "height")]
                changes += [_fold(axes.xaxis.label, axes, "width")]
                changes += [_fold(axes.yaxis.label, axes, "height")]
                if len(canvas.panels) > 1:
                    changes += [_fold_titles(axes)]
        if not any(changes):
            break
    for panel in canvas.panels:
        _hide_covered(panel)


def _hide_covered(axes) -> None:
    """Hide texts in a panel that would cover an earlier one: what they say is in the table."""
    kept: list = []
    for text in axes.texts:
        if not text.get_visible() or not text.get_text().strip():
            continue
        box = text.get_window_extent()
        if any(box.overlaps(other) for other in kept):
            text.set_visible(False)
        else:
            kept.append(box)


def _placed(figure) -> bool:
    """Whether all that a figure shows has found a place; else the figure is made higher."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        figure.get_layout_engine().execute(figure)
    if not told:
        return True
    figure.set_figheight(1.25 * figure.get_figheight())
    return False


def _fit_height(figure, canvas: _figure.Canvas) -> bool:
    """Make a figure higher or lower by what its panels lack or leave; whether it was.

    They lack what LOWEST, or the card, asks for; square panels may leave some, or be narrower than
    their places for want of height.
    """
    for axes in canvas.panels:
        axes.apply_aspect()
    given = np.array([axes.get_position(original=True).size for axes in canvas.panels])
    taken = np.array([axes.get_position().size for axes in canvas.panels])
    wide, tall = figure.get_size_inches()
    rows = len({round(axes.get_position().y0, 3) for axes in canvas.panels})
    empty, left = (given - taken).min(axis=0) * (wide, tall)
    lacking = (canvas.lowest or LOWEST) - tall * taken[:, 1].min()
    if empty > SPARE:
        lacking = max(lacking, empty)
    if lacking > 0:
        figure.set_figheight(tall + 1.02 * rows * lacking)
    elif left > SPARE:
        figure.set_figheight(tall - rows * left)
    return lacking > 0 or left > SPARE


def _fold_common(figure, canvas: _figure.Canvas) -> bool:
    """Fold the common labels of all panels that are longer than these; whether one was."""
    boxes = np.array([axes.get_window_extent().extents for axes in canvas.panels])
    extent = boxes[:, 2:].max(axis=0) - boxes[:, :2].min(axis=0)
    room = dict(zip(("width", "height"), extent / figure.dpi, strict=True))
    changed = False
    for words, place, side in (
        (figure.get_supxlabel(), figure.supxlabel, "width"),
        (figure.get_supylabel(), figure.supylabel, "height"),
    ):
        if words:
            label = place(words)
            folded = _folded(label, room[side], side)
            label.set_text(folded)
            changed = changed or folded != words
    return changed


def _room(axes, side: str) -> float:
    """Inches of a side of a panel; of a square one, of the width that its place has."""
    figure = axes.get_figure()
    if axes.get_box_aspect() == 1:
        return axes.get_position(original=True).width * figure.get_figwidth()
    return getattr(axes.get_window_extent(), side) / figure.dpi


def _fold(label, axes, side: str) -> bool:
    """Fold the label of an axis that is longer than the panel; whether it was."""
    folded = _folded(label, _room(axes, side), side)
    changed = folded != label.get_text()
    label.set_text(folded)
    return changed


def _fold_titles(axes) -> bool:
    """Fold the title of a panel that is wider than the panel; whether it was."""
    from matplotlib.text import Text

    room = _room(axes, "width")
    words = {axes.get_title(loc) for loc in TITLES} - {""}
    titles = [t for t in axes.get_children() if isinstance(t, Text) and t.get_text() in words]
    changed = False
    for title in titles:
        folded = _folded(title, room)
        changed = changed or folded != title.get_text()
        title.set_text(folded)
    return changed


def _spread(axis, side: str) -> bool:
    """See to it that the numbers, or names, at an axis are apart; whether they were not."""
    from matplotlib.ticker import FixedLocator

    figure = axis.get_figure()
    gap = APART * figure.dpi / 72
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    labels = [tick.label1 for tick in ticks if tick.label1.get_visible()]
    labels = [label for label in labels if label.get_text()]
    ends = [_ends(label, side) for label in labels]

    def crowded(step: int) -> bool:
        kept = sorted(ends[::step])
        return any(b[0] - a[1] < gap for a, b in itertools.pairwise(kept))

    if len(labels) < 2 or not crowded(1):
        return False
    if _has_names(axis, ticks):
        if side == "width":
            changed = labels[0].get_rotation() != 90
            axis.set_tick_params(rotation=90)
            return changed
        tall, apart = _ends(labels[0], side), len(labels)
        figure.set_figheight(
            figure.get_figheight() + 0.3 * apart * (tall[1] - tall[0]) / figure.dpi
        )
        return True
    step = next(step for step in range(2, len(labels) + 1) if not crowded(step))
    axis.set_major_locator(FixedLocator([tick.get_loc() for tick in ticks][::step]))
    return True


def _has_names(axis, ticks: list) -> bool:
    """Whether names stand at the ticks, of which none can be left out: between ticks is none."""
    first, second = ticks[0].get_loc(), ticks[1].get_loc()
    return axis.get_major_formatter()(0.63 * first + 0.37 * second, None) == ""


def _ends(label, side: str) -> tuple[float, float]:
    """Where a text begins and ends along an axis, pixels."""
    box = label.get_window_extent()
    return (box.x0, box.x1) if side == "width" else (box.y0, box.y1)
