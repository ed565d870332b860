"""Proving: rules on exact numbers and symbols, formulas and chain rules in print, and proofs of equality."""

__microgrid_machinery__ = True
