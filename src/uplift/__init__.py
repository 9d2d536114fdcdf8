"""Experiments, churn and uplift models, and one decision per member, for businesses with members."""

from importlib.metadata import version

__version__ = version("uplift")
__all__ = ["__version__"]
