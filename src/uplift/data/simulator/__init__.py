"""Data whose truth is known: synthetic experiments, and a whole chain of members and campaigns."""

from uplift.data.simulator.worlds import World, make_world

__all__ = ["World", "make_world"]
