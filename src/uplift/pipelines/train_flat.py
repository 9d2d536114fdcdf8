"""Train uplift from one flat table: no workspace, no registry, a folder with the model and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from uplift import __version__
from uplift.config import parse_share
from uplift.data import fingerprint, read_flat, write_json_atomic
from uplift.errors import InputError, did_you_mean, unknown_name
from uplift.evaluation import SIMPLICITY, UpliftSearchCV
from uplift.learners import LEARNERS
from uplift.learners.bundle import save_bundle
from uplift.pipelines._training import Progress, silent
from uplift.results import Rendered


@dataclass(frozen=True)
class FlatTrained(Rendered):
    """What a flat training gave: for every outcome the leaderboard and the verdict, and where the model is."""

    out: str
    rows: int
    outcomes: Mapping[str, Mapping[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """As ``result.json``."""
        return {"out": self.out, "rows": self.rows, "outcomes": dict(self.outcomes)}

    def text(self) -> str:
        """For a person."""
        lines = [f"{name}: {found['chosen']}; {found['verdict']['en']}" for name, found in self.outcomes.items()]
        return "\n".join([*lines, f"{self.rows:,} rows → {self.out}/model, {self.out}/result.json"])


def train_flat(
    data: Path,
    *,
    arm: str,
    control: str,
    outcomes: Sequence[str],
    features: Sequence[str],
    out: Path,
    shares: Sequence[str] = (),
    learners: Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> FlatTrained:
    """Choose and fit a learner for every outcome; write ``out/model`` and ``out/result.json``.

    Parameters
    ----------
    shares
        ``ARM=SHARE`` of the design for every arm; none: probabilities are estimated, cross-fitted, and refused where
        the arms do not overlap.
    learners
        Names of candidates; none: all.

    Raises
    ------
    InputError
        Listing everything that is wrong with the table or the options.
    """
    frame = read_flat(data)
    treatment, y = _checked(frame, data, arm, control, outcomes, features)
    propensity = parse_shares(shares, sorted(set(treatment.tolist())), control) if shares else None
    for name in learners:
        if name not in LEARNERS:
            raise unknown_name("learner", name, LEARNERS)
    X = frame[list(features)]
    models: dict[str, Any] = {}
    found: dict[str, dict[str, Any]] = {}
    for name in outcomes:
        progress(f"{name}: choosing among {len(learners or SIMPLICITY)} learners on {len(X):,} rows")
        search = UpliftSearchCV(list(learners) or None, random_state=seed, n_jobs=-1).fit(
            X, y[name], treatment, propensity=propensity, control=control
        )
        models[name] = search.best_estimator_
        board = search.leaderboard_.replace({np.nan: None})
        found[name] = {
            "chosen": search.best_name_,
            "verdict": {"status": search.verdict_status_, "en": search.verdict_, "zh": search.verdict_zh_},
            "selected": search.selected_.to_dicts(),
            "leaderboard": board.to_dict("records"),
        }
    digest = fingerprint(frame[[arm, *outcomes, *features]])
    meta = {
        "kind": "uplift",
        "features": list(features),
        "outcomes": list(outcomes),
        "arms": [str(a) for a in next(iter(models.values())).arms_],
        "control": control,
        "data_fingerprint": digest,
        "version": __version__,
    }
    save_bundle(out / "model", models, meta)
    write_json_atomic(
        out / "result.json",
        {"outcomes": found, "provenance": {"data_hash": digest, "version": __version__, "seed": seed}},
    )
    return FlatTrained(str(out), len(frame), found)


def parse_shares(shares: Sequence[str], arms: Sequence[str], control: str) -> dict[str, float]:
    """``ARM=SHARE`` texts as a mapping that begins with the control.

    Raises
    ------
    InputError
        If a text is no share, an arm is unknown or missing, or they do not add up to 1.
    """
    found: dict[str, float] = {}
    problems: list[str] = []
    for text in shares:
        name, separator, share = text.rpartition("=")
        if not separator:
            problems.append(f"--share {text!r}: write ARM=SHARE, e.g. {control}=1/2")
        elif name not in arms:
            problems.append(f"--share {text!r}: no row has the arm {name!r}; {did_you_mean(name, arms)}")
        else:
            try:
                found[name] = parse_share(share)
            except ValueError as error:
                problems.append(f"--share {text!r}: {error}")
    missing = [name for name in arms if name not in found]
    if not problems and missing:
        problems.append(f"no --share for {', '.join(missing)}")
    if not problems and abs(sum(found.values()) - 1) > 1e-6:
        problems.append(f"the shares add up to {sum(found.values()):.6g}, not to 1")
    if problems:
        raise InputError("\n".join(problems))
    return {control: found[control], **found}


def _checked(
    frame: pd.DataFrame, path: Path, arm: str, control: str, outcomes: Sequence[str], features: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    problems = [
        f"no column {name!r}; {did_you_mean(name, frame.columns)}"
        for name in dict.fromkeys((arm, *outcomes, *features))
        if name not in frame.columns
    ]
    overlap = sorted(set(features) & {arm, *outcomes})
    if overlap:
        problems.append(f"{', '.join(overlap)} cannot be a feature: it is the arm or an outcome")
    if problems:
        raise InputError(f"{path}: " + "; ".join(problems))
    if frame[arm].isna().any():
        raise InputError(f"{path}: {arm} is missing in {int(frame[arm].isna().sum()):,} rows; every row needs an arm")
    treatment = frame[arm].astype(str).to_numpy(dtype=object)
    known = sorted(set(treatment.tolist()))
    if control not in known:
        problems.append(f"no row has the control {control!r}; {did_you_mean(control, known)}")
    elif len(known) < 2:
        problems.append(f"{arm} holds one arm only ({known[0]!r}): without another there is no effect to learn")
    y: dict[str, np.ndarray] = {}
    for name in outcomes:
        values = pd.to_numeric(frame[name], errors="coerce")
        bad = frame.loc[values.isna() & frame[name].notna(), name]
        if len(bad):
            shown = ", ".join(repr(v) for v in bad.unique()[:5])
            problems.append(f"{name} holds text where numbers belong in {len(bad):,} rows, e.g. {shown}")
        elif values.isna().all():
            problems.append(f"{name} is empty in every row: there is no outcome to learn from")
        elif values.isna().any():
            problems.append(
                f"{name} is missing in {int(values.isna().sum()):,} rows: give a value or leave the rows out"
            )
        y[name] = values.to_numpy(dtype=float)
    if problems:
        raise InputError(f"{path}: " + "; ".join(problems))
    return treatment, y
