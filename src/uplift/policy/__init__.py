"""Which offer each member receives: eligibility, allocation, exploration, decisions, and what a policy is worth."""

from uplift.policy.allocation import Allocation, Prices, allocate
from uplift.policy.deciding import Decided, decide
from uplift.policy.eligibility import Eligibility, Offer, eligibility, read_offers
from uplift.policy.exploration import Exploration, Explored, explore, holdout, member_keys, plan_exploration
from uplift.policy.off_policy import OffPolicyValue, off_policy_value

__all__ = [
    "Allocation",
    "Decided",
    "Eligibility",
    "Exploration",
    "Explored",
    "OffPolicyValue",
    "Offer",
    "Prices",
    "allocate",
    "decide",
    "eligibility",
    "explore",
    "holdout",
    "member_keys",
    "off_policy_value",
    "plan_exploration",
    "read_offers",
]
