# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which offer should each member receive?
#
# 从模拟连锁店到发券决策：用 pandas 和 scikit-learn 走完一遍主线。
#
# This notebook walks the main job on a simulated chain: tables, features as of a time, segments, churn, an experiment,
# an uplift model, and offers under a budget. Everything is a pandas frame, a NumPy array or a scikit-learn estimator, so
# any step can be replaced by your own. Because the chain is simulated, the last step can do what no real business can:
# compare the decisions with the truth.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa

from uplift.config import ExperimentSpec, read_spec
from uplift.data import Engine
from uplift.data.simulator import simulate
from uplift.evaluation import UpliftSearchCV, churn_gate, churn_metrics
from uplift.experiments import analyze
from uplift.features import CATALOGUE, build, feature_columns, outcomes, spine_of_members, to_frame
from uplift.learners import ChurnModel, RecencyRule
from uplift.metrics import qini_curve
from uplift.policy import allocate, eligibility, read_offers
from uplift.rules import compile_rule
from uplift.segments import assign_segments, segment_of
from uplift.tracking import log_search

pd.set_option("display.precision", 3)

# %% [markdown]
# ## A chain of 30,000 members
#
# 模拟一家有三万会员的连锁店，四个月的历史。
#
# `simulate` writes a complete workspace: settings, tables as Parquet, definitions of the experiments that were run, and
# a folder `truth/` that no part of the library reads. A real business would run `uplift import` instead.

# %%
folder = tempfile.TemporaryDirectory()
workspace = Path(folder.name) / "chain"
chain = simulate(workspace, members=30_000, months=4, seed=7)
pd.Series(chain.rows, name="rows").to_frame()

# %% [markdown]
# ## Tables
#
# 打开工作区：先检查数据，再用 SQL 查询。
#
# `Engine.open` checks every table first: bad rows are set aside with the reason, a broken table is refused. After that
# the twelve tables of the contract are views for SQL, and money is in cents.

# %%
engine = Engine.open(workspace, threads=1)
engine.query("""
    SELECT date_trunc('month', ordered_at)::DATE AS month, count(*) AS orders,
           count(DISTINCT member_id) AS buyers, round(sum(amount) / 100)::BIGINT AS spend
    FROM orders GROUP BY 1 ORDER BY 1
""").to_pandas()

# %% [markdown]
# ## Features as of a time
#
# 特征只看“当时之前”已经发生并且已经知道的事，不会偷看未来。
#
# A *spine* says which member at which time; `build` adds features that see only what had happened and was known strictly
# before that time. The same function serves training and scoring, so the two cannot differ. `to_frame` makes the `X` that
# models take: numbers with NaN for unknown, text as categories.

# %%
now = chain.as_of
table = build(engine, spine_of_members(engine, now))
X_now = to_frame(table)
X_now[["tenure_days", "days_since_last_order", "orders_90d", "spend_90d", "favourite_category"]].head()

# %%
pd.DataFrame(
    {"feature": f.name, "unit": f.unit, "meaning": f.text_en, "含义": f.text_zh}
    for f in list(CATALOGUE.values())[:6]
)

# %% [markdown]
# ## Segments
#
# 每个会员恰好属于一个分群。
#
# Segments combine value and life cycle. Every member is in exactly one, and the rules are yours to change
# (`segments.yaml`).

# %%
assign_segments(engine, now)

# %% [markdown]
# ## Churn
#
# 流失：先定义“仍活跃”，再看其后 30 天是否一单都没有。
#
# Who is still active (the rule), and who then buys nothing for 30 days (the label)? The model learns at two dates and is
# judged at a later one, and the training labels end before the evaluation begins. It must beat the obvious rule, "the
# longer since the last order, the more at risk".

# %%
HORIZON = 30
test_time = pd.Timestamp(now) - pd.Timedelta(days=HORIZON)
times = [test_time - pd.Timedelta(days=days) for days in (0, HORIZON, HORIZON + 15)]
active = compile_rule("orders_total >= 1 AND days_since_last_order <= 60", feature_columns())

rows = build(engine, pa.concat_tables([spine_of_members(engine, time) for time in times]))
rows = rows.filter(active.evaluate(rows).fillna(False).to_numpy(dtype=bool))
label = outcomes(engine, rows.select(["member_id", "as_of"]), {"churned": ("churned", HORIZON)})

X, y = to_frame(rows), label["churned"].to_numpy()
member = rows["member_id"].to_numpy()
test = (rows["as_of"].to_pandas() == test_time).to_numpy()
names = [name for name in X if X[name][~test].nunique() > 1]

model = ChurnModel(n_estimators=80, random_state=0)
model.fit(X[names][~test], y[~test], groups=member[~test])
rule = RecencyRule().fit(X[names][~test], y[~test])
scored, ruled = (churn_metrics(y[test], m.predict_proba(X[names][test])[:, 1]) for m in (model, rule))
scored

# %% [markdown]
# The gate says whether the model may serve, and why.

# %%
churn_gate(scored, ruled)

# %%
model.feature_importance().head(5)

# %% [markdown]
# ## What an experiment found
#
# 实验：随机分组才能回答“券带来了什么”。
#
# Each campaign assigned members at random to a control or to an offer. The definition holds the arms, their shares and the
# metrics. Features are built as of each member's own assignment, outcomes are counted in the 14 days after it.

# %%
experiment = "campaign-2026-06-03"
spec = read_spec(workspace / "experiments" / f"{experiment}.yaml", ExperimentSpec)
shares = {arm.name: arm.share for arm in spec.arms}
spine = engine.query(
    """
    SELECT member_id, assigned_at AS as_of, arm
    FROM assignments WHERE experiment_id = $id ORDER BY member_id
    """,
    {"id": experiment},
)
before = build(engine, spine)
after = outcomes(engine, spine, {"conversion": ("ordered", 14), "margin": ("margin", 14)})
trial = before.to_pandas()
trial["segment"] = segment_of(before, engine=engine).to_pandas()
trial["conversion"] = after["conversion"].to_pandas()
trial["margin"] = after["margin"].to_pandas() / 100  # cents to units
trial.groupby("arm")[["conversion", "margin"]].agg(["mean", "count"])

# %% [markdown]
# `analyze` checks the design before it believes the numbers (are the arms as large as designed, and alike before
# assignment?), narrows intervals with what was known before, and adjusts p-values for the number of comparisons. The first
# metric decides the verdict.

# %%
analysis = analyze(
    trial,
    arm="arm",
    control=spec.control,
    weights=shares,
    metrics=["conversion", "margin"],
    covariates=["days_since_last_order", "orders_90d"],
    metric_specs=[m for m in spec.metrics if m.name in ("conversion", "margin")],
    currency="CNY",
)
analysis

# %% [markdown]
# ## Whom does an offer change?
#
# 增量模型：不是“谁会买”，而是“谁因为券才买”。
#
# `UpliftSearchCV` fits several learners on the same folds, chooses by the out-of-fold value of the decisions they would
# make, and draws predictions towards the plain average effect as far as held-out data demand. The outcome is margin, not
# spend: a discount given to someone who would have bought anyway is a loss. A few large baskets drown small effects, so
# the highest and lowest 1 % of amounts are drawn in. All learners are tried by default; three keep this short. The
# ensemble averages learners by what held-out members say of each, and is kept unless something else is clearly better.

# %%
X = to_frame(before, names)
y = trial["margin"].clip(*trial["margin"].quantile([0.01, 0.99])).to_numpy()
treatment = trial["arm"].to_numpy(dtype=object)

search = UpliftSearchCV(
    ["constant", "ensemble", "DR"],
    folds=3,
    params={"n_estimators": 40, "num_leaves": 4, "min_child_samples": 400},
    n_bootstrap=50,
    random_state=0,
)
search.fit(X, y, treatment, propensity=shares, control="control", groups=trial["member_id"])
columns = ["candidate", "chosen", "value", "value_low", "value_high", "over_single", "qini", "autoc"]
search.leaderboard_[columns].round(3)

# %% [markdown]
# `value` is the extra margin per member if each got the best offer predicted for them; `over_single` is how much of that
# is more than the best single offer for all would bring. The verdict is stricter: it repeats the whole search without
# each fold in turn, so that neither the models nor the choosing have seen the rows it is measured on. When it finds no
# evidence that choosing by member beats the best offer for everybody, it says so. A budget that reaches only some of the
# members is another question: who comes first? That is what the curve below is about.

# %%
print(search.verdict_, search.verdict_zh_, sep="\n")

# %%
search.selected_

# %% [markdown]
# Into MLflow, to be compared with the searches of last month: settings, leaderboard, verdict, folds, and what was chosen as
# a version of a model, in text and JSON, that MLflow can serve. Logging the same search again finds it.
#
# 记录到 MLflow：参数、排行、结论、分折和模型本身；同一次搜索不会重复记录。

# %%
store = f"sqlite:///{workspace / 'mlflow' / 'store' / 'mlflow.db'}"
logged = log_search(search, X, name="quickstart", outcome="margin", to=store)
logged.name, logged.version

# %% [markdown]
# ## A curve
#
# Qini 曲线：按预测从高到低发放，多带来多少毛利。
#
# Members are ranked by the out-of-fold effect of their best offer. The curve shows the extra margin per 1,000 members when
# only the first share of them is treated; the straight line is treating at random. The band is pointwise, 95 %.

# %%
curve = qini_curve(search.effects_, y, treatment, shares, control="control", n_bootstrap=100)

figure, axes = plt.subplots(figsize=(6, 3.6), dpi=80)
axes.fill_between(curve.q, curve.low, curve.high, alpha=0.2, linewidth=0)
axes.plot(curve.q, curve.value, label="ranked by the model")
axes.plot(curve.q, curve.random, "--", color="grey", label="at random")
axes.set(xlabel="share of members treated", ylabel="extra margin per 1,000 members")
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
curve.area

# %% [markdown]
# ## Offers under a budget
#
# 预算内的最优分配；谁不能收到哪张券，有明确的原因。
#
# Offers carry rules: who may have them, who must not, how long to wait after a purchase. Unknown is never a yes.
# `eligibility` judges every pair of member and offer and keeps the reason.

# %%
offers = read_offers(engine.query("SELECT * FROM offers"), feature_columns(), wanted=search.arms_)
judged = eligibility(
    offers,
    table,
    as_of=now,
    consent=X_now["consent_marketing"],
    days_since_purchase=X_now["days_since_last_order"],
)

reasons = judged.to_pandas()
reasons["offer"] = reasons["offer"].map(dict(enumerate(offer.offer_id for offer in offers)))
reasons.pivot(index="reason", columns="offer", values="members").fillna(0).astype(int)

# %% [markdown]
# A pair is worth the extra margin predicted for it, less what the offer costs: the contact, and the gift or bonus for
# those who redeem it. `allocate` gives each member at most one offer so that the total is largest within the budget;
# `bound` says what no plan whatever can exceed.

# %%
ids = [offer.offer_id for offer in offers]
touched = engine.query("SELECT offer_id, redeemed_at IS NOT NULL AS redeemed FROM touches").to_pandas()
rate = touched.groupby("offer_id")["redeemed"].mean().reindex(ids).to_numpy()
cost = np.array([o.cost_contact for o in offers]) + rate * np.array([o.cost_redeem for o in offers])

order = [list(search.arms_).index(offer_id) for offer_id in ids]
effect = search.predict(X_now[names])[:, order]
BUDGET = 400
plan = allocate(effect - cost, cost, eligible=judged.mask, budget=BUDGET)
plan

# %%
pd.DataFrame(
    {
        "offer": [offer.name_en for offer in offers],
        "优惠": [offer.name_zh for offer in offers],
        "cost each": cost.round(2),
        "members": plan.counts,
    }
)

# %% [markdown]
# ## The truth
#
# 只有模拟数据才有“真相”：真实世界里看不到同一个人发券与不发券的两个结果。
#
# Simulated members have a true effect of every offer, kept in `truth/`, which the library never reads. Real data have no
# such table: there one keeps a random part of the members aside, and measures. Three plans with the same budget and the
# same eligibility: the allocation, the best single offer to members in random order, and random offers to random members.
# The money reaches only some of the members, so who gets an offer counts, not only which.
#
# This is one experiment of one simulated chain, chosen because it shows each step at work. It illustrates and proves
# nothing: another seed or another campaign can favour the single offer.

# %%
truth = pd.read_parquet(workspace / "truth" / "effects.parquet")
truth = truth[truth["experiment_id"].isna()]  # as of the end; the other rows belong to the experiments
truth = truth.pivot(index="member_id", columns="offer_id", values="effect_margin") / 100
true_effect = truth.loc[table["member_id"].to_pylist(), ids].to_numpy()
rng = np.random.default_rng(0)


def within_budget(offer):
    """Serve members in random order until the budget is spent; −1 is no offer."""
    turn = rng.permutation(len(offer))
    price = np.where(offer >= 0, cost[offer], 0)
    served = np.empty(len(offer), dtype=bool)
    served[turn] = np.cumsum(price[turn]) <= BUDGET
    return np.where(served, offer, -1)


def worth(offer):
    given = np.flatnonzero(offer >= 0)
    margin, spent = true_effect[given, offer[given]].sum(), cost[offer[given]].sum()
    return {"members": len(given), "cost": spent, "true extra margin": margin, "net": margin - spent}


best = int(np.argmax(search.constant_[order] - cost))
single = np.where(judged.mask[:, best], best, -1)
drawn = np.where(judged.mask, rng.random(judged.mask.shape), -1)
random = np.where(judged.mask.any(axis=1), drawn.argmax(axis=1), -1)

plans = {
    "allocation": plan.offer,
    f"single: {ids[best]}": within_budget(single),
    "random": within_budget(random),
}
pd.DataFrame({name: worth(offer) for name, offer in plans.items()}).T.round(0).astype(int)

# %%
engine.close()
folder.cleanup()

# %% [markdown]
# ## Where next
#
# 接下来：命令行 `uplift demo` 做同样的事，并留下报告与可追溯的决策。
#
# The command line does all this with records: `uplift train`, `uplift recommend` and `uplift report` keep every model,
# decision and reason. The guides are in `docs/`.
