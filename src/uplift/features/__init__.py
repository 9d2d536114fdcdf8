"""Features as of a time and outcomes after it: catalogues of SQL expressions, composed per source table."""

from uplift.features._build import build
from uplift.features._feature import Feature
from uplift.features._frame import to_frame
from uplift.features._spine import parse_as_of, spine_of_members
from uplift.features.catalogue import CATALOGUE, attribute_features, catalogue_for, discover_attributes, feature_columns
from uplift.features.outcomes import OUTCOMES, Outcome, observed_since, observed_until, outcomes, refuse_beyond_data

__all__ = [
    "CATALOGUE",
    "OUTCOMES",
    "Feature",
    "Outcome",
    "attribute_features",
    "build",
    "catalogue_for",
    "discover_attributes",
    "feature_columns",
    "observed_since",
    "observed_until",
    "outcomes",
    "parse_as_of",
    "refuse_beyond_data",
    "spine_of_members",
    "to_frame",
]
