"""Room 6. Laws are fitted: best optimum over many starts, bootstrap intervals, held-out error."""

from isoloss.fit.law import fit_law

__all__ = ["fit_law"]
