"""Model specifications: one reviewable YAML file each in ``models/``; the defaults here are the embedded ones."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from uplift.config._yaml import Share, Spec


class BoosterSpec(Spec):
    """LightGBM's parameters that are worth setting; the rest keep LightGBM's defaults."""

    n_estimators: int = Field(default=150, ge=1)
    num_leaves: int = Field(default=15, ge=2)
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    min_child_samples: int = Field(default=50, ge=1)
    reg_lambda: float = Field(default=1.0, ge=0)


class ChurnSpec(Spec):
    """The churn model.

    Attributes
    ----------
    horizon_days
        A member churns who buys nothing in this many days after the as-of date; the default is the three months after
        which a member counts as dormant (沉睡).
    population
        Rule for "still active": only these members are trained on and scored.
    cutoffs
        How many as-of dates, a ``step_days`` apart, are used for training; the latest one that has a full horizon
        after it is kept for evaluation, with a gap of one horizon before it.
    features, exclude
        Names from the catalogue (empty: all), and names to leave out.
    calibration
        Fitted on out-of-fold scores.
    gate_auc_over_recency, gate_calibration_error
        The challenger is promoted only if its AUC beats the recency rule's by this much and its expected
        calibration error is at most this.
    """

    name: str = "churn"
    horizon_days: int = Field(default=90, ge=1)
    population: str = "orders_total >= 1 AND days_since_last_order <= 90"
    cutoffs: int = Field(default=6, ge=1)
    step_days: int = Field(default=30, ge=1)
    features: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    folds: int = Field(default=5, ge=2)
    calibration: Literal["isotonic", "sigmoid"] = "isotonic"
    booster: BoosterSpec = BoosterSpec()
    gate_auc_over_recency: float = 0.0
    gate_calibration_error: float = Field(default=0.05, gt=0)
    seed: int = 0


class OutcomeSpec(Spec):
    """An outcome to model the uplift of: a name, an entry of the outcome catalogue, a window after assignment."""

    name: str
    outcome: str
    window_days: int = Field(default=14, ge=1)


class UpliftSpec(Spec):
    """The uplift model: effects of every arm on every member.

    Attributes
    ----------
    experiments
        Ids to learn from; empty: every randomised experiment with a definition.
    outcomes
        What effects are estimated of.
    choose_on
        The outcome whose out-of-fold policy value chooses the learner.
    value_outcome
        The outcome in money from which decisions are valued. Margin, not spend: a coupon given to those who would have
        bought anyway raises spend at times and lowers margin always.
    learners
        Candidates.
    n_repeats
        Partitions into folds that candidates are compared on; the choice depends less on chance with more of them, and
        training takes as many times as long.
    winsorize
        Share of the highest and of the lowest values of an outcome in money that are moved to the next one for
        fitting, since a few large baskets drown what an offer does; where few members have an amount, at most a tenth
        of these. The model is valued on amounts as they are.
    gate_z
        A challenger is promoted if its out-of-fold policy value is not below the champion's by more than this many
        standard errors of the difference.
    """

    name: str = "uplift"
    experiments: tuple[str, ...] = ()
    outcomes: tuple[OutcomeSpec, ...] = (
        OutcomeSpec(name="conversion", outcome="ordered"),
        OutcomeSpec(name="spend", outcome="spend"),
        OutcomeSpec(name="margin", outcome="margin"),
    )
    choose_on: str = "margin"
    value_outcome: str = "margin"
    learners: tuple[Literal["S", "T", "X", "R", "DR"], ...] = ("S", "T", "X", "R", "DR")
    features: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    segment: str = "segment"
    folds: int = Field(default=5, ge=2)
    n_repeats: int = Field(default=1, ge=1, le=20)
    booster: BoosterSpec = BoosterSpec(n_estimators=60, num_leaves=4, learning_rate=0.1, min_child_samples=200)
    winsorize: float = Field(default=0.01, ge=0, lt=0.2)
    gate_z: float = 1.0
    holdout_share: Share = 0.25
    seed: int = 0

    @model_validator(mode="after")
    def _known_outcomes(self) -> Self:
        names = [outcome.name for outcome in self.outcomes]
        if len(set(names)) < len(names):
            raise ValueError(f"outcome names must differ, found {names}")
        for key in ("choose_on", "value_outcome"):
            if getattr(self, key) not in names:
                raise ValueError(f"{key} {getattr(self, key)!r} is not among the outcomes {names}")
        return self
