"""Data whose truth is known: synthetic experiments, and a whole chain of members and campaigns."""

from uplift.data.simulator._industry import INDUSTRIES, LIVES
from uplift.data.simulator.chain import DEFAULT_END, Simulated, simulate
from uplift.data.simulator.worlds import World, make_world

__all__ = ["DEFAULT_END", "INDUSTRIES", "LIVES", "Simulated", "World", "make_world", "simulate"]
