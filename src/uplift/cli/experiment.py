"""``uplift experiment``: design, size, assign, analyze, list."""

from __future__ import annotations

import sys
from typing import Any

import click

from uplift.cli._base import common_options, given_options, progress, show
from uplift.errors import ConfigError, GateError

COMMON = ("experiment_id", "out", "version", "seed", "workspace_dir", "as_json", "data")


@click.group()
def experiment() -> None:
    """The life of an experiment: new, power, assign, analyze, list."""


@experiment.command(short_help="Write a definition from a few answers.")
@click.argument("experiment_id", metavar="ID")
@click.option("--arm", "arms", multiple=True, metavar="NAME=SHARE", help="An arm and its share, the control too.")
@click.option("--control", default="control", show_default=True, help="The arm that everything is compared with.")
@click.option("--offer", "offers", multiple=True, metavar="ARM=OFFER_ID", help="The offer that an arm gives.")
@click.option("--metric", "metrics", multiple=True, metavar="OUTCOME[:DAYS]",
              help="To improve, within days: ordered:14; a ratio spend/orders; retention ordered:15-60; days "
              "until-ordered:30. The first decides.")  # fmt: skip
@click.option("--guardrail", "guardrails", multiple=True, metavar="OUTCOME[:DAYS]", help="Not to be harmed.")
@click.option("--margin", "margins", multiple=True, metavar="METRIC=HARM", help="What a guardrail may lose.")
@click.option("--winsorize", multiple=True, metavar="METRIC=QUANTILE", help="Cut larger values, all arms pooled.")
@click.option("--population", metavar="RULE", help="Who takes part (default: every member).")
@click.option("--stratify", multiple=True, metavar="FEATURE", help="Balance the arms within it.")
@click.option("--covariate", "covariates", multiple=True, metavar="FEATURE", help="Narrows the intervals.")
@click.option("--segment", "segments", multiple=True, metavar="FEATURE", help="Cut declared before the start.")
@click.option("--planned-size", type=int, help="Members planned in all.")
@click.option("--starts", "starts_at", metavar="DATE", help="When members are assigned.")
@click.option("--ends", "ends_at", metavar="DATE", help="Last day, for the record.")
@click.option("--hypothesis", default="", help="What is expected, and why.")
@click.option("--name-zh", default="", help="Name in Chinese.")
@click.option("--name-en", default="", help="Name in English.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Chance of a false alarm.")
@click.option("--salt", default="", help="Another salt assigns anew.")
@click.option("--cluster", metavar="FEATURE", help="Assign its values as a whole, e.g. favourite_store.")
@click.option("--layer", metavar="NAME", help="Experiments of a layer share out its members.")
@click.option("--slice", "layer_slice", metavar="FROM-TO", help="Of the layer, e.g. 0-0.5; slices exclude each other.")
@click.option("--look", "looks", multiple=True, metavar="SHARE", help="Look at this share of the planned size only.")
@click.option("--spending", type=click.Choice(["obrien-fleming", "pocock"]), default="obrien-fleming",
              show_default=True, help="Of the error, over the looks.")  # fmt: skip
@click.option("--tag", "tags", multiple=True, metavar="NAME=RULE", help="Members expected to respond more.")
@click.option("--ask/--no-ask", default=None, help="Ask for what is not given (default: at a terminal).")
@common_options
def new(
    experiment_id: str, ask: bool | None, workspace_dir: str, as_json: bool, **answers: Any
) -> None:  # fmt: skip
    """Write experiments/ID.yaml from a few answers, asked for where options do not give them.

    For example: uplift experiment new spring --arm control=1/2 --arm voucher=1/2 --metric ordered:14 --metric spend
    """
    from uplift.cli._ask import ask_design
    from uplift.config import Workspace
    from uplift.pipelines.experiment_define import define

    complete = answers["arms"] and answers["metrics"]
    if ask or (ask is None and not complete and not as_json and sys.stdin.isatty()):
        answers = ask_design(answers)
    elif not complete:
        raise ConfigError(
            "an experiment needs --arm NAME=SHARE for every arm and at least one --metric OUTCOME; --ask asks for them"
        )
    done = define(Workspace.open(workspace_dir), experiment_id, **answers)
    show(done.to_dict(), done.to_text(), as_json=as_json)


@experiment.command(short_help="Members needed, and the smallest effect seen.")
@click.argument("experiment_id", metavar="[ID]", required=False)
@click.option("--as-of", metavar="DATE", help="With ID: the past date to learn level and spread from.")
@click.option("--size", type=int, help="Members in all; gives the smallest effect.")
@click.option("--effect", type=float, help="Difference to see (a rate: 0.01 is one point); gives the size.")
@click.option("--power", "chance", type=float, default=0.8, show_default=True, help="Chance to see it.")
@click.option("--simulate", type=int, default=0, metavar="N", help="Try it N times as well.")
@click.option("--share", "shares", multiple=True, metavar="ARM=SHARE", help="Without ID: designed shares.")
@click.option("--control", default="control", show_default=True, help="Without ID.")
@click.option("--kind", type=click.Choice(["rate", "mean"]), default="rate", show_default=True, help="Without ID.")
@click.option("--baseline", type=float, help="Without ID: level without treatment.")
@click.option("--sd", type=float, help="Without ID: standard deviation of a member's value (for a mean).")
@click.option("--rho2", type=float, default=0.0, show_default=True, help="Without ID: share explained by covariates.")
@click.option("--deff", type=float, default=1.0, show_default=True, help="Without ID: design effect of clusters.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Without ID.")
@click.option("--seed", type=int, default=0, show_default=True)
@common_options
def power(
    experiment_id: str | None, as_of: str | None, size: int | None, effect: float | None, chance: float,
    simulate: int, shares: tuple[str, ...], control: str, kind: str, baseline: float | None, sd: float | None,
    rho2: float, deff: float, alpha: float, seed: int, workspace_dir: str, as_json: bool,
) -> None:  # fmt: skip
    """How small an effect can be seen, and how many members it takes.

    With ID, from what the experiment's own population did in the past: covariates, clusters and segments of its
    definition count, and a picture is written to reports/experiments/ID/. Without, from the numbers given.
    """
    from uplift.pipelines.experiment_power import drawn, power_from_numbers, power_from_workspace

    if experiment_id is None:
        if not shares:
            raise ConfigError("without an experiment's ID give --share ARM=SHARE for every arm, and --baseline or --sd")
        done = power_from_numbers(
            shares=shares, control=control, simulate=simulate, seed=seed, kind=kind, baseline=baseline, sd=sd,
            size=size, effect=effect, alpha=alpha, power=chance, rho2=rho2, deff=deff,
        )  # fmt: skip
    else:
        from uplift.config import Workspace

        if shares or baseline is not None or sd is not None:
            raise ConfigError("--share, --baseline and --sd are for numbers without an ID: the definition has its own")
        workspace = Workspace.open(workspace_dir)
        done = power_from_workspace(
            workspace, experiment_id, as_of=as_of, effect=effect, size=size, chance=chance, simulate=simulate,
            seed=seed, progress=progress,
        )  # fmt: skip
        done = drawn(done, workspace, experiment_id)
    show(done.to_dict(), done.to_text(), as_json=as_json)


@experiment.command(short_help="Assign members to arms, after checks.")
@click.argument("experiment_id", metavar="ID")
@click.option("--as-of", metavar="DATE", help="When (default: the definition's starts_at).")
@common_options
def assign(experiment_id: str, as_of: str | None, workspace_dir: str, as_json: bool) -> None:
    """Assign members to arms by a salted hash; checks sizes and balance before anything is written.

    Writes experiments/assigned/ID-vN.parquet with propensities; the tables in data/ are not touched.
    """
    from uplift.config import Workspace
    from uplift.pipelines.experiment_assign import assign_members

    done = assign_members(Workspace.open(workspace_dir), experiment_id, as_of=as_of, progress=progress)
    show(done.to_dict(), done.to_text(), as_json=as_json)


@experiment.command(short_help="Measure: effects, verdict, what to do next.")
@click.argument("experiment_id", metavar="[ID]", required=False)
@click.option("--out", type=click.Path(), metavar="DIR", help="Folder (default with ID: reports/experiments/ID/).")
@click.option("--data", type=click.Path(), help="A flat table (CSV or Parquet) instead of an ID.")
@click.option("--arm", help="Flat: column of the arms.")
@click.option("--control", help="Flat: the arm to compare with.")
@click.option("--metric", "metrics", multiple=True, metavar="COLUMN", help="Flat: outcome to improve.")
@click.option("--guardrail", "guardrails", multiple=True, metavar="COLUMN", help="Flat: outcome not to be harmed.")
@click.option("--ratio", "ratios", multiple=True, metavar="NAME=COLUMN/COLUMN", help="Flat: sum over sum, to improve.")
@click.option("--time", "times", multiple=True, metavar="NAME=DAYS:EVENT@HORIZON", help="Flat: days until an event.")
@click.option("--decrease", "decreases", multiple=True, metavar="METRIC", help="Flat: metric of which less is better.")
@click.option("--margin", "margins", multiple=True, metavar="METRIC=HARM", help="Flat: what a guardrail may lose.")
@click.option("--money", multiple=True, metavar="METRIC=CURRENCY", help="Flat: it is an amount; gains are in money.")
@click.option("--winsorize", multiple=True, metavar="METRIC=QUANTILE", help="Flat: cut larger values, all arms pooled.")
@click.option("--window", "windows", multiple=True, metavar="METRIC=DAYS", help="Flat: days after assignment.")
@click.option("--exposed", metavar="COLUMN", help="Flat: 1 for members who were reached.")
@click.option("--followed", metavar="COLUMN", help="Flat: days followed; refuses unequal windows.")
@click.option("--assigned-at", metavar="COLUMN", help="Flat: time of assignment.")
@click.option("--happened", multiple=True, metavar="METRIC=COLUMN", help="Flat: when; refuses what came before.")
@click.option("--correction", type=click.Choice(["holm", "dunnett"]), default="holm", show_default=True,
              help="Flat: over the arms.")  # fmt: skip
@click.option("--engine", type=click.Choice(["auto", "rows", "sums"]), default="auto", show_default=True,
              help="Flat: read rows, or sum in one pass (auto: Parquet above 2,000,000 rows, or parts).")  # fmt: skip
@click.option("--share", "shares", multiple=True, metavar="ARM=SHARE", help="Flat: designed share of an arm.")
@click.option("--covariate", "covariates", multiple=True, metavar="COLUMN", help="Flat: known before assignment.")
@click.option("--segment", "segments", multiple=True, metavar="COLUMN", help="Flat: cut declared before.")
@click.option("--stratum", "strata", multiple=True, metavar="COLUMN", help="Flat: assignment was balanced within it.")
@click.option("--cluster", metavar="COLUMN", help="Flat: what was assigned together, or members with several rows.")
@click.option("--unit", metavar="COLUMN", help="Flat: the member; refuses a member in two arms.")
@click.option("--missing", type=click.Choice(["refuse", "zero", "drop"]), default="refuse", show_default=True,
              help="Flat: what an empty outcome means.")  # fmt: skip
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Flat.")
@click.option("--min-cell", type=int, default=11, show_default=True, help="Flat: smaller cells are suppressed.")
@click.option("--planned-size", type=int, help="Flat: rows planned in all.")
@click.option("--look", "looks", multiple=True, metavar="SHARE", help="Flat: look at this share of the plan only.")
@click.option("--spending", type=click.Choice(["obrien-fleming", "pocock"]), default="obrien-fleming",
              show_default=True, help="Flat: of the error, over the looks.")  # fmt: skip
@click.option(
    "--cost", "costs", multiple=True, metavar="ARM=AMOUNT", help="Flat: what a member in an arm costs; needs --money."
)
@click.option("--version", type=int, metavar="N", help="With ID: only members assigned by this version of the design.")
@click.option("--seed", type=int, default=0, show_default=True)
@common_options
def analyze(
    experiment_id: str | None, version: int | None, data: str | None, out: str | None, arm: str | None,
    control: str | None, seed: int, workspace_dir: str, as_json: bool, **flat: Any,
) -> None:  # fmt: skip
    """Measure an experiment: checks, effects with intervals overall and by segment, verdict, report.

    Either ID of a workspace's experiment, or --data with a flat table. Exit status 3: done, but the checks say that the
    result is invalid.

    For example: uplift experiment analyze spring, or uplift experiment analyze --data t.csv --arm arm --control none
    --metric bought --metric spend --money spend=CNY --share none=1/2 --share mail=1/2 --out OUT
    """
    from uplift.pipelines.experiment import analyze_workspace
    from uplift.pipelines.experiment_flat import analyze_flat

    if version is not None and experiment_id is None:
        raise ConfigError("--version belongs to an experiment of the workspace: name its ID")
    if data is not None and experiment_id is None:
        metrics = flat["metrics"] or flat["ratios"] or flat["times"] or flat["guardrails"]
        needed = (("--arm", arm), ("--control", control), ("--metric", metrics), ("--out", out))
        absent = [name for name, value in needed if not value]
        if absent or arm is None or control is None or out is None:
            raise ConfigError(f"a flat table needs {', '.join(absent)} too")
        done = analyze_flat(data, arm=arm, control=control, out=out, seed=seed, progress=progress, **flat)
    elif experiment_id is not None and data is None:
        from uplift.config import Workspace

        unfit = given_options(COMMON)
        if unfit:
            raise ConfigError(
                f"{', '.join(unfit)}: for a flat table only; arms, metrics, covariates, segments and the rest of an "
                "experiment of the workspace stand in its definition"
            )
        done = analyze_workspace(
            Workspace.open(workspace_dir), experiment_id, out=out, version=version, seed=seed, progress=progress
        )
    else:
        raise ConfigError("name the ID of an experiment in the workspace, or a flat table with --data; not both")
    show(done.to_dict(), done.to_text(), as_json=as_json)
    if not done.valid:
        sys.exit(GateError.exit_code)


@experiment.command("list", short_help="Definitions, members assigned, last verdicts.")
@common_options
def list_(workspace_dir: str, as_json: bool) -> None:
    """The experiments of the workspace, with members assigned and the last verdict."""
    from uplift.config import Workspace
    from uplift.pipelines.experiment_define import list_experiments

    done = list_experiments(Workspace.open(workspace_dir))
    show(done.to_dict(), done.to_text(), as_json=as_json)
