"""Demos: one idea each, short, deterministic, run by a test. `python -m demos` lists them."""
