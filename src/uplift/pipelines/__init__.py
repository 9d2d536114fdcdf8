"""One file per job: orchestration, no mathematics."""
