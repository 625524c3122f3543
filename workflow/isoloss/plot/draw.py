"""Draw a figure from its tables, with bytewise the same files for the same tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import pyarrow as pa

from isoloss.core import registry, tables
from isoloss.core.problems import IsolossError
from isoloss.figures import _paper
from isoloss.figures._figure import Inputs, canvas_of, style_of
from isoloss.fitted import Fit, fits_from

matplotlib.use("Agg")


def inputs(files: Sequence[str | Path], required: Sequence[str] = ()) -> Inputs:
    """The tables in some files, by the names in their metadata.

    Raises:
        IsolossError: a required table (`stage/table`) is not among them.
    """
    facts_of = {str(file): tables.facts(file) for file in files}
    plain: dict[str, list[pd.DataFrame]] = {}  # a table can be in several files, one a shard
    for file, facts in facts_of.items():
        if "law" not in facts:
            plain.setdefault(facts["table"], []).append(tables.frame(file))
    whole = {table: pd.concat(parts, ignore_index=True) for table, parts in plain.items()}
    fits = any("law" in facts for facts in facts_of.values())  # some figures do without
    required = [table for table in required if fits or not table.startswith("fit/")]
    lacking = [
        t for t in required if t.split("/")[1] not in {f["table"] for f in facts_of.values()}
    ]
    if lacking:
        raise IsolossError(f"--tables lacks {lacking[0]}.parquet")
    # a fit may be of another quantity than the loss: the unit of the loss is that of the runs
    ordered = sorted(facts_of.values(), key=lambda facts: "law" not in facts)
    together = {name: fact for facts in ordered for name, fact in facts.items()}
    units = {name: together[name] for name in ("token", "loss_unit") if name in together}
    rounds = _rounds(facts_of) if "choices" in whole else ()
    return Inputs(tables=whole, fits=fits_from(files), rounds=rounds, **units)


def _rounds(facts_of: Mapping[str, Mapping[str, Any]]) -> tuple[Fit, ...]:
    """The fits of the first law, one a sweep in the order of their files.

    Those of adaptive rounds have the same name; `fits_from` has the last of them.
    """
    of_law: dict[str, dict[str, list[str]]] = {}
    for file, facts in facts_of.items():
        if "law" in facts:
            sweeps = of_law.setdefault(facts["law"], {})
            sweeps.setdefault(facts["sweep"], []).append(file)
    for name, sweeps in of_law.items():
        return tuple(fits_from(part)[name] for part in sweeps.values())
    return ()


def draw(
    card: str,
    options: Mapping[str, Any],
    files: Sequence[str | Path],
    out: str | Path,
    style: str = "screen",
    width: float | None = None,
) -> list[Path]:
    """Draw a figure: `out` (PNG), and beside it a PDF, its caption, and a table of what is drawn.

    Args:
        card: figure card.
        options: of the card.
        files: the tables that the card reads (`registry.inputs`).
        out: path of the PNG.
        style: `screen`, or `paper`: no title, text of 7 to 9 points at the final width, symbols
            as formulas, and what a matplotlibrc of the user says.
        width: inches, of the style paper; 3.25 if None.

    Returns:
        The files: PNG, PDF, the caption as text (title and small print), and the table as Parquet,
        whose metadata hold the caption too.
    """
    out = Path(out)
    canvas = canvas_of(style, width)
    own = matplotlib.rcParamsDefault if style == "screen" else {}
    with (
        matplotlib.rc_context({**own, "backend": "agg"}),
        matplotlib.rc_context(style_of(style)),
        _paper.latex_told(),
    ):
        shown = replace(inputs(files, registry.inputs(card)), canvas=canvas)
        figure, drawn = registry.card("figure", card).draw(shown, **options)
        caption = _paper.finish(figure, canvas)
        _save(figure, out, caption)
    with tables.whole(out.with_suffix(".txt")) as temporary:
        Path(temporary).write_text(f"{caption}\n", encoding="utf-8")
    table = pa.Table.from_pandas(drawn, preserve_index=False)
    facts = {"table": "figure", "card": card, "style": style, "caption": caption}
    tables.write_free(table, out.with_suffix(".parquet"), facts)
    return [out.with_suffix(suffix) for suffix in (".png", ".pdf", ".txt", ".parquet")]


def _save(figure, out: Path, caption: str) -> None:
    """Save a figure as PNG and PDF, with what it shows in the same places in both.

    Places are found once: `Figure.savefig` would find them, and draw all that there is, once more
    for each file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    figure.dpi = matplotlib.rcParams["savefig.dpi"]
    png = FigureCanvasAgg(figure)
    if (layout := figure.get_layout_engine()) is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
    # dates and versions would make the same picture another file
    with tables.whole(out.with_suffix(".png")) as temporary:
        png.print_png(temporary, metadata={"Software": None, "Description": caption})
    with tables.whole(out.with_suffix(".pdf")) as temporary:
        facts = {"CreationDate": None, "Subject": caption}
        FigureCanvasPdf(figure).print_pdf(temporary, metadata=facts)
