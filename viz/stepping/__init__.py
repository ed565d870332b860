"""Stepping: a backward pass in the terminal, on a page, and in an editor by the Debug Adapter Protocol."""

__microgrid_machinery__ = True
