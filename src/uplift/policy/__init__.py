"""Which offer each member receives: eligibility, allocation, exploration, decisions, and what a policy is worth."""

from uplift.policy.allocation import Allocation, Prices, allocate

__all__ = ["Allocation", "Prices", "allocate"]
