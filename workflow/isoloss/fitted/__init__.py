"""A law fitted to runs: its tables, decisions with intervals, its files and the facts about it."""

from isoloss.fitted.decisions import allocation
from isoloss.fitted.files import fits_from, load_fit
from isoloss.fitted.intervals import Interval, band, normal_interval, quantiles
from isoloss.fitted.names import FALLBACK, OF_RUN, TABLES
from isoloss.fitted.result import Fit

__all__ = [
    "FALLBACK",
    "OF_RUN",
    "TABLES",
    "Fit",
    "Interval",
    "allocation",
    "band",
    "fits_from",
    "load_fit",
    "normal_interval",
    "quantiles",
]
