"""Segments, RFM, audiences and industry packs: rules over features, with thresholds in files."""

from uplift.segments._assign import Segmented, assign_segments, segment_features, segment_of, value_cuts
from uplift.segments._audience import Audience, audience, build_columns, rule_columns, saved_audiences
from uplift.segments._moves import Transitions, transitions
from uplift.segments._rfm import GROUP_NAMES, RFM, rfm
from uplift.segments.packs import Pack, assign_tags, check_pack, list_packs, load_pack
from uplift.segments.suppression import Suppressed, suppress_list, suppress_table
from uplift.segments.thresholds import Thresholds, default_thresholds, workspace_thresholds

SEGMENT_NAMES = default_thresholds().names
"""Segment key → (Chinese, English) name, of the packaged thresholds."""

__all__ = [
    "GROUP_NAMES",
    "RFM",
    "SEGMENT_NAMES",
    "Audience",
    "Pack",
    "Segmented",
    "Suppressed",
    "Thresholds",
    "Transitions",
    "assign_segments",
    "assign_tags",
    "audience",
    "build_columns",
    "check_pack",
    "default_thresholds",
    "list_packs",
    "load_pack",
    "rfm",
    "rule_columns",
    "saved_audiences",
    "segment_features",
    "segment_of",
    "suppress_list",
    "suppress_table",
    "transitions",
    "value_cuts",
    "workspace_thresholds",
]
