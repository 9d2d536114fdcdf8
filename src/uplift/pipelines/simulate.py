"""A simulated chain in a workspace of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uplift.data.simulator import Simulated, simulate
from uplift.results import Rendered


@dataclass(frozen=True)
class SimulateResult(Rendered):
    """What was simulated; shows itself at the prompt.

    Attributes
    ----------
    simulated
        Of the simulator.
    """

    simulated: Simulated

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        made = self.simulated
        return {
            **made.to_dicts()[0],
            "folder": str(made.folder),
            "as_of": made.as_of.isoformat(),
            "experiments": list(made.experiments),
            "seconds": round(made.seconds, 3),
        }

    def to_dicts(self) -> list[dict[str, Any]]:
        """One row."""
        return [self.to_dict()]

    def to_text(self) -> str:
        """For a person at the prompt."""
        made = self.simulated
        lines = [f"A {made.industry} chain of {made.members:,} members over {made.months} months: {made.folder}", ""]
        lines += [f"  {name:<20}{rows:>14,} rows" for name, rows in made.rows.items() if rows]
        day = made.as_of.date()
        lines += ["", f"The data ends at {made.as_of.isoformat()}; use --as-of {day}."]
        if made.experiments:
            lines.append(
                f"{len(made.experiments)} randomised campaigns, {made.experiments[0]} to {made.experiments[-1]}; "
                "true effects are in truth/, which nothing but a comparison should read."
            )
        return "\n".join([*lines, f"Next: uplift check -C {made.folder}"])


def simulate_chain(
    folder: str | Path,
    *,
    members: int,
    months: int,
    industry: str = "grocery",
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> SimulateResult:
    """Make a chain with members, campaigns and known true effects; see :func:`uplift.data.simulator.simulate`."""
    return SimulateResult(
        simulate(folder, members=members, months=months, industry=industry, seed=seed, progress=progress)
    )
