"""What people read: summarise → chart → render. The only importer of the charting and template libraries."""

from uplift.reports.experiment import render_experiment, write_experiment_report

__all__ = ["render_experiment", "write_experiment_report"]
