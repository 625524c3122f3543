"""The number of experts of routed models, saturated, as several laws read it."""

from __future__ import annotations

# Clark et al. 2022, arXiv:2202.01169, equation 1: experts count less beyond E_max, and a dense
# model (one expert) counts as E_start
SATURATED = (
    "X = 1 / (1 / (experts - 1 + 1 / (1 / E_start - 1 / E_max)) + 1 / E_max);"
    " 1 <= E_start <= 20; 20.5 <= E_max <= 1e5"
)
TERMS = {
    "E_start": {"symbol": "E_start", "unit": "experts"},
    "E_max": {"symbol": "E_max", "unit": "experts"},
}
