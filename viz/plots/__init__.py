"""Plots: networks, boundaries, gradients, training curves and confusion, drawn by matplotlib."""

__microgrid_machinery__ = True
