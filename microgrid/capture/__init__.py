"""Capture: a function recorded once and replayed as code: of arrays in NumPy or C, of Values in Python or by levels.

`compiled` is the call, `recorder` and `scalar_capture` make the record, `array_code`, `native`, `straight_line` and
`levels` write it out.
"""

__microgrid_machinery__ = True
