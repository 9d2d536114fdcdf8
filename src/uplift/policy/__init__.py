"""Which offer each member receives: eligibility, allocation, exploration, decisions, and what a policy is worth."""

from uplift.policy.allocation import Allocation, Prices, allocate
from uplift.policy.deciding import Decided, decide
from uplift.policy.decisions import DECISION_COLUMNS, Reasoned, decision_schema, reason
from uplift.policy.exploration import Exploration, Explored, explore, holdout, member_keys, plan_exploration
from uplift.policy.off_policy import OffPolicyValue, off_policy_value
from uplift.policy.offers import Eligibility, Offer, eligibility, read_offers
from uplift.policy.timing import send_times
from uplift.policy.wording import Speaker

__all__ = [
    "DECISION_COLUMNS",
    "Allocation",
    "Decided",
    "Eligibility",
    "Exploration",
    "Explored",
    "OffPolicyValue",
    "Offer",
    "Prices",
    "Reasoned",
    "Speaker",
    "allocate",
    "decide",
    "decision_schema",
    "eligibility",
    "explore",
    "holdout",
    "member_keys",
    "off_policy_value",
    "plan_exploration",
    "read_offers",
    "reason",
    "send_times",
]
