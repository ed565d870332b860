"""`python -m viz debug script.py` steps through a script's backward passes; `python -m viz dap` is for editors.

The exit status is the script's: 0 where all went well or the user quit, 1 where it failed, that of its `sys.exit`, 130
after Ctrl-C; 2 for a command line that means nothing, as is usual.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

__microgrid_machinery__ = True

DEBUG = """\
Runs a script, as `python script.py` does, and stops at its first backward pass. `help` there lists the commands; they
are read from the terminal, or from a pipe or a file:

    printf 'until z\\nwhere\\n' | python -m viz debug net.py

`step` at the end of a pass goes on to the next, `continue` to the next with a breakpoint, `quit` ends the script.
The exit status is the script's: 1 where it failed, 0 after `quit`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m viz", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    debug = commands.add_parser(
        "debug",
        help="step through a script's backward passes",
        usage="%(prog)s [-c COMMAND] (SCRIPT | -m MODULE | TAPE.json) [ARGUMENT ...]",
        description=DEBUG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    debug.add_argument(
        "-c", dest="commands", action="append", default=[], metavar="COMMAND", help="run it first; repeatable"
    )
    debug.add_argument("-m", dest="module", action="store_true", help="SCRIPT is a module, as for python -m")
    debug.add_argument("script", metavar="SCRIPT", help="a Python file; or a tape, as Tape.save writes it")
    debug.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="its arguments")
    dap = commands.add_parser("dap", help="speak the Debug Adapter Protocol with an editor, on stdin and stdout")
    dap.add_argument("--port", type=int, help="listen on this port of 127.0.0.1 instead; 0 picks a free one")
    given = parser.parse_args(arguments)
    if given.command == "dap":
        if given.port is not None and not 0 <= given.port <= 65535:
            dap.error(f"argument --port: expected 0 to 65535, got {given.port}")
        from viz.stepping.adapter import serve

        return serve(given.port)
    if not given.module and not os.path.isfile(given.script):
        debug.error(f"{given.script!r} is no file")
    return _debug(given.script, given.arguments, given.module, given.commands)


def _debug(script: str, arguments: Sequence[str], module: bool, commands: Sequence[str]) -> int:
    import microgrid as mg
    from viz.stepping import scripts
    from viz.stepping.recording import Recording, of_tape
    from viz.stepping.terminal import Outcome, Terminal

    tape = None
    if script.endswith(".json") and not module:
        try:
            tape = mg.Tape.load(script)
        except (OSError, ValueError) as error:
            told = str(error).removesuffix(f", at {mg.sites.here()}")  # no line of a user's has asked for it
            sys.stderr.write(f"python -m viz debug: {told}\n")
            return 1
    terminal = Terminal(commands=commands, many=tape is None)
    if tape is not None:
        terminal.interact(of_tape(tape, None))
        return 0
    outcome: Outcome = "step"

    def wanted() -> bool:
        if outcome == "quit":  # it has caught what was to end it
            scripts.leave()
        return outcome == "step" or bool(terminal.passes and terminal.cursor.points)

    def met(recording: Recording) -> None:
        nonlocal outcome
        outcome = terminal.interact(recording, stop=outcome == "step")
        if outcome == "quit":
            scripts.leave(recording.error)

    with scripts.watched(wanted, met) as others:
        try:
            status = scripts.run(script, arguments, module)
        except OSError as error:
            sys.stderr.write(f"python -m viz debug: {error}\n")
            return 1
    if not terminal.passes and not status:
        aside = f" in its main thread: viz.debug(loss) steps in {', '.join(sorted(others))}" if others else ""
        sys.stderr.write(f"{script} ran no backward pass{aside}\n")
    return status


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)
