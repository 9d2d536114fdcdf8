"""What people read: summarise → chart → render. The only importer of the charting and template libraries."""

from uplift.reports.experiment import render_experiment, write_experiment_report
from uplift.reports.power import render_power, write_power_report
from uplift.reports.site import render_site, write_site

__all__ = [
    "render_experiment",
    "render_power",
    "render_site",
    "write_experiment_report",
    "write_power_report",
    "write_site",
]
