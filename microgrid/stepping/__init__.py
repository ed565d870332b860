"""Stepping: a backward pass node by node: as steps and tapes, in words, and as frames on the user's lines."""

__microgrid_machinery__ = True
