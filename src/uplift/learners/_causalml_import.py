"""causalml's modules without what importing them does to everybody else."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from types import ModuleType


def causalml_module(name: str) -> ModuleType:
    """A module of causalml, e.g. ``causalml.inference.tree``.

    Importing it restyles matplotlib, appends to the warning filters and lets a package that it needs complain in the
    log of one that it does not; the first two are put back and the third is silenced. It takes some seconds the first
    time, so only ``fit`` does it.
    """
    if name in sys.modules:
        return sys.modules[name]
    charts = sys.modules.get("matplotlib")
    style = dict(charts.rcParams) if charts is not None else None
    complaints = logging.getLogger("duecredit")
    silent = complaints.disabled
    complaints.disabled = True
    try:
        with warnings.catch_warnings():
            # deprecations between matplotlib, seaborn and shap: nothing that a user of ours could act on
            warnings.simplefilter("ignore")
            module = importlib.import_module(name)
            charts = sys.modules.get("matplotlib")
            if charts is not None:
                if style is None:
                    charts.rc_file_defaults()
                else:
                    charts.rcParams.update(style)
    finally:
        complaints.disabled = silent
    return module
