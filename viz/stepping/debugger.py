"""`viz.debug`: a backward pass to be walked over, back and forth, in the terminal or from an editor."""

from __future__ import annotations

import sys
from typing import Any, TextIO

import microgrid as mg
from viz.stepping.recording import of_tape, recorded

__microgrid_machinery__ = True


def debug(
    loss: mg.Node | mg.Tape,
    *,
    gradient: Any = None,
    params: Any = None,
    dap: int | None = None,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
) -> None:
    r"""Run the backward pass from a loss, and walk over it: `help` lists the commands.

    It stands in the place of `loss.backward()`, and stores the same gradients. The pass is recorded first, so that
    every move is instant, back as well as forward. Names are those of the model's parameters and of your variables.
    `quit`, or `continue` at the end, goes on with the program. A pass that raises stops at the node where it does, and
    raises when you go on.

    Parameters
    ----------
    loss : Value, Tensor or Tape
        A tape, as `mg.record` gives it or `mg.Tape.load` reads it, is walked over as it is.
    gradient : number or array of the loss's shape, optional
        As for `backward`.
    params : Module, or mapping of str to node, optional
        Names, as for `mg.record`; by default the models among your variables.
    dap : int from 0 to 65535, optional
        Wait on this port of 127.0.0.1 for an editor (`attach`), in place of reading commands; 0 picks a free one, and
        a line on stderr says which.
    stdin, stdout : text file, optional
        Where commands come from (those from anything but a terminal are echoed) and where the text goes. At the end
        of the input the program goes on.

    Raises
    ------
    TypeError, ValueError, StaleError
        As `backward`.
    OSError
        If the port is taken.

    Examples
    --------
    >>> import io
    >>> x = mg.Value(3.0)
    >>> debug(x * x, stdin=io.StringIO("p g, x, y\nquit\n"))  # doctest: +ELLIPSIS
    backward from %1: 1 step; `help` lists the commands
    ...
    (viz) p g, x, y
    (1.0, 3.0, 3.0)
    (viz) quit
    >>> x.grad
    6.0
    """
    frame = mg.sites.user_frame(sys._getframe(1))
    if isinstance(loss, mg.Tape):
        recording = of_tape(loss, frame)
    else:
        recording = recorded(loss, gradient, params, frame)
    if dap is not None:
        from viz.stepping.adapter import attach  # here: few programs need it

        attach(recording, dap)
    else:
        from viz.stepping.terminal import Terminal  # here: pdb and readline take a while to import

        Terminal(stdin, stdout).interact(recording)
    if recording.error is not None:
        raise recording.error
