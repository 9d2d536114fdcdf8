"""Typed specifications, parsed once from YAML."""

from uplift.config._currency import SYMBOLS, with_currency
from uplift.config._yaml import Share, Spec, dump_yaml, parse_share, parse_spec, parse_yaml, read_spec, read_yaml
from uplift.config.experiment import ArmSpec, ExperimentSpec, LooksSpec, MetricSpec, TagSpec
from uplift.config.model import BoosterSpec, ChurnSpec, OutcomeSpec, UpliftSpec
from uplift.config.workspace import Workspace, WorkspaceConfig

__all__ = [
    "SYMBOLS",
    "ArmSpec",
    "BoosterSpec",
    "ChurnSpec",
    "ExperimentSpec",
    "LooksSpec",
    "MetricSpec",
    "OutcomeSpec",
    "Share",
    "Spec",
    "TagSpec",
    "UpliftSpec",
    "Workspace",
    "WorkspaceConfig",
    "dump_yaml",
    "parse_share",
    "parse_spec",
    "parse_yaml",
    "read_spec",
    "read_yaml",
    "with_currency",
]
