"""The debugger in the terminal: what `viz.debug` and `python -m viz debug` show, command by command."""

from __future__ import annotations

import cmd
import difflib
import glob
import inspect
import io
import linecache
import os
import pdb
import pprint
import rlcompleter
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, TextIO, TypeAlias

import microgrid as mg
from microgrid import kinds
from microgrid.stepping.debugging import MACHINERY
from microgrid.stepping.steps import brief
from viz.stepping import chains, marked
from viz.stepping.cursor import Cursor, Halt, compiled, computable, one_line
from viz.stepping.recording import Recording
from viz.stepping.screen import Screen, clip, columns, fill, is_terminal
from viz.stepping.view import ROWS, View, bracketed, in_short, number
from viz.words import counted, visible

__microgrid_machinery__ = True

Outcome: TypeAlias = Literal["continue", "step", "quit"]

ALIASES = {
    "s": "step", "n": "next",
    "rs": "back", "rn": "rnext", "rc": "rcontinue",
    "reverse-step": "back", "reverse-next": "rnext", "reverse-continue": "rcontinue",
    "c": "continue", "cont": "continue", "unt": "until", "j": "jump",
    "b": "break", "tb": "tbreak", "cl": "clear",
    "w": "where", "bt": "where", "u": "up", "d": "down",
    "l": "list", "p": "print", "h": "help", "q": "quit", "exit": "quit",
}  # fmt: skip
GROUPS = {
    "go": "step next continue until last",
    "back": "back rnext rcontinue first restart jump",
    "stop": "break tbreak watch clear condition ignore",
    "look": "where up down list source print pp grads",
    "ask": "paths check draw html pdb",
    "end": "help quit",
}
SPECS = ("break", "tbreak", "until", "jump")  # commands that take what `Cursor.find` finds
LISTED = 11  # lines of source, as in pdb


class Terminal(cmd.Cmd):
    """A debugger over recorded passes, by commands.

    Parameters
    ----------
    stdin, stdout : text file, optional
        By default the process's. What is read from anything but a terminal is echoed, so that the output reads as a
        session.
    commands : sequence of str
        Run before any that is read.
    many : bool
        Whether other passes may follow, as in a script: `step` at the end of one goes on to the next.
    """

    identchars = cmd.Cmd.identchars + "-"
    prompt = "(viz) "

    def __init__(
        self,
        stdin: TextIO | None = None,
        stdout: TextIO | None = None,
        commands: Sequence[str] = (),
        many: bool = False,
    ) -> None:
        asks = stdin is None and stdout is None and _someone_types()
        if stdin is None and (sys.stdin is None or sys.stdin.closed):
            stdin = io.StringIO()
        super().__init__(stdin=stdin, stdout=stdout)
        self.use_rawinput = asks
        self.screen = Screen(sys.stdout if stdout is None else stdout)
        self.cmdqueue = list(commands)
        self._unread = len(self.cmdqueue)
        self.many, self.passes = many, 0
        self.outcome: Outcome = "quit"

    def interact(self, recording: Recording, stop: bool = True) -> Outcome:
        """Let the user walk over a recorded pass; what is to happen next: go on, stop at the next pass, or quit.

        Without `stop` only a breakpoint or a watch stops it.
        """
        self.passes += 1
        self.recording = recording
        lost: list[str] = []
        if self.passes == 1:
            self.cursor = Cursor(*recording[:5])
        else:
            lost = self.cursor.load(*recording[:5])
        self.view = View(self.screen, self.cursor)
        halt = self.cursor.arrive()
        if halt.reason == "start" and not stop and len(self.tape):
            halt = self.cursor.run()
        if not stop and halt.reason in ("start", "end"):
            return "continue"
        self.outcome = "quit"
        try:
            self._say("\n" * (self.passes > 1) + self._title())
            for note in lost:
                self._say(note)
            self._halted(halt)
            self._loop()
        except BrokenPipeError:  # nobody reads any more
            self.outcome = "quit"
        return self.outcome

    def ask(self, recording: Recording, cursor: Cursor, command: str) -> None:
        """One command, over a pass that something else walks over."""
        self.recording, self.cursor = recording, cursor
        self.view = View(self.screen, cursor)
        self._come_to_rest()
        self.onecmd(command)

    def _title(self) -> str:
        what = f"backward from {visible(self.tape.labels[self.tape.root])}: {counted(len(self.tape), 'step')}"
        return f"{what}; `help` lists the commands" if self.passes == 1 else f"pass {self.passes}, {what}"

    def _loop(self) -> None:
        while True:
            try:
                return self.cmdloop()
            except KeyboardInterrupt:
                self._say("--KeyboardInterrupt--")
            except UnicodeDecodeError as error:
                return self._error(f"the commands are no text: {error}")
            except ValueError:
                if not self.stdin.closed:
                    raise
                return None  # by `p exit()`, which closes it
            except NotImplementedError:  # a notebook that is run by a program
                return self._error(
                    "nobody can type here: viz.page(loss) shows the steps, viz.debug(loss, stdin=file) reads commands"
                )

    @property
    def tape(self) -> mg.Tape:
        """What is walked over."""
        return self.cursor.tape

    # ------------------------------------------------------------------ reading commands

    def parseline(self, line: str) -> tuple[str | None, str | None, str]:
        """As `cmd.Cmd` has it, with aliases."""
        name, rest, line = super().parseline(line)
        return ALIASES.get(name or "", name), rest, line

    def precmd(self, line: str) -> str:
        """Echo what no terminal has shown."""
        if self._unread:
            self._unread -= 1
            self._say(f"{self.prompt}{visible(line)}")
        elif not self.use_rawinput and not is_terminal(self.stdin) and line != "EOF":
            self._say(visible(line))
        return line

    def onecmd(self, line: str) -> bool:
        """Run a command; what the user got wrong is one line."""
        try:
            return bool(super().onecmd(line))
        except (BrokenPipeError, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as error:  # `p exit()` ends nothing, as in pdb
            told = str(error) if type(error) in (ValueError, KeyError) else f"{type(error).__name__}: {error}"
            self._error(told.strip('"'))
            return False

    def default(self, line: str) -> None:
        """Say that there is no such command, and what comes close."""
        name = line.split()[0]
        close = difflib.get_close_matches(name, [*self.commands(), *ALIASES], 1)
        hint = f"did you mean `{ALIASES.get(close[0], close[0])}`?" if close else "`help` lists them, `p EXPR` prints"
        self._error(f"there is no command {name}: {hint}")

    def emptyline(self) -> bool:
        """The last command again."""
        return super().emptyline() if self.lastcmd else False

    @classmethod
    def commands(cls) -> list[str]:
        """The names of all."""
        return " ".join(GROUPS.values()).split()

    def completenames(self, text: str, *ignored: Any) -> list[str]:
        """Commands that begin so."""
        return [name for name in self.commands() if name.startswith(text)]

    def completedefault(self, *given: Any) -> list[str]:
        """What the command takes that begins so."""
        text, line, _, end = given
        head, _, typed = line[:end].lstrip().partition(" ")
        command, typed = ALIASES.get(head, head), typed.lstrip()
        if command in ("print", "pp") or " if " in typed or (command == "condition" and " " in typed):
            return self._completed_expression(text)
        word = typed if command in SPECS else typed[len(typed.rstrip()) :] or typed.split()[-1] if typed else ""
        word = "" if word.isspace() else word
        begun = len(word) - len(text)  # readline begins a word anew after `:` and `%`
        return [whole[begun:] for whole in self._arguments(command, word) if whole.startswith(word)]

    def _completed_expression(self, text: str) -> list[str]:
        """Names, or attributes of one, that begin so."""
        completer = rlcompleter.Completer(self.cursor.scope(self.looked_at if self.cursor.step else None))
        return completer.attr_matches(text) if "." in text else completer.global_matches(text)

    def _arguments(self, command: str, word: str) -> list[str]:
        """All that a command takes, or of files those that begin with a word."""
        labels = list(self.tape.labels.values())
        if command in SPECS:
            return [*labels, *self.cursor.specs()]
        if command in ("clear", "condition", "ignore"):
            return [str(point.number) for point in self.cursor.points]
        if command in ("draw", "html"):
            return [path + os.sep * os.path.isdir(path) for path in glob.glob(f"{glob.escape(word)}*")]
        if command == "pdb":
            return [c.slot.partition("[")[0] for c in self.looked_at.contributions] if self.cursor.step else []
        if command == "source":
            return [name for name, rule in vars(mg.rules).items() if isinstance(rule, type)]
        return {"watch": labels, "paths": labels, "grads": ["all", *labels], "help": self.commands()}.get(command, [])

    # ------------------------------------------------------------------ what a stop looks like

    def _say(self, text: str = "") -> None:
        self.screen.print(text)

    def _error(self, text: str) -> None:
        self.screen.wrapped(f"*** {one_line(text)}", "", "red")

    def _come_to_rest(self) -> None:
        """The step that is looked at is the one that the cursor has come to; `up` and `down` look at others."""
        self._chain: list[chains.Link] | None = None
        self._level = 0
        self._next_line: int | None = None

    def _halted(self, halt: Halt) -> None:
        self._come_to_rest()
        for note in halt.notes:
            self.screen.wrapped(visible(note), "", "red" if halt.reason == "error" else "green")
        self.view.stop(self.cursor.step)

    @property
    def looked_at(self) -> mg.Step:
        """The step that commands are about."""
        step = self.cursor.step
        if step is None:
            raise ValueError("this is the end of the pass: `back` or `jump` to a step first")
        return self._links()[-self._level].step if self._level else step

    def _links(self) -> list[chains.Link]:
        if self._chain is None:
            assert self.cursor.step is not None
            self._chain = chains.chain(self.tape, self.cursor.step)
        return self._chain

    # ------------------------------------------------------------------ moving on

    def do_step(self, arg: str) -> bool | None:
        """step [N], s: on by one node, or by N.

        At the end of a script's pass: on to its next pass.
        """
        count = _count(arg)
        if self.cursor.step is None and self.many:
            self.outcome = "step"
            return True
        self._halted(self.cursor.steps(count))
        return None

    def do_next(self, arg: str) -> bool | None:
        """next [N], n: on over a module's call.

        One node, where the node was made outside modules.
        """
        if self.cursor.step is None:
            return self.do_step("")
        self._repeat(arg, self.cursor.over)
        return None

    def do_continue(self, arg: str) -> bool | None:
        """continue, c: on to a breakpoint, watch or the end.

        From the end of the pass: on with the program.
        """
        if self.cursor.step is None:
            self.outcome = "continue"
            return True
        self._halted(self.cursor.run())
        return None

    def do_until(self, arg: str) -> None:
        """until TARGET, unt: on to a node, or a step.

        TARGET: a node (z, %7), a step's number (12), or whatever `break` takes (op:sigmoid, line 5).
        """
        self._needed(arg, "until what? A node (z, %7), a step's number, op:sigmoid, line 5, ...")
        self._halted(self.cursor.until(arg.strip()))

    def do_last(self, arg: str) -> None:
        """last: to the last step."""
        self.do_jump(str(len(self.tape)))

    # ------------------------------------------------------------------ moving back

    def do_back(self, arg: str) -> None:
        """back [N], rs, reverse-step: back by one node.

        Or by N.
        """
        self._halted(self.cursor.steps(-_count(arg)))

    def do_rnext(self, arg: str) -> None:
        """rnext [N], rn, reverse-next: back over a module's call.

        One node back, where the node was made outside modules.
        """
        self._repeat(arg, lambda: self.cursor.over(-1))

    def do_rcontinue(self, arg: str) -> None:
        """rcontinue, rc: back to a breakpoint or watch.

        Also reverse-continue. A watch stops where its gradient is as it was before the change.
        """
        self._halted(self.cursor.run(-1))

    def do_first(self, arg: str) -> None:
        """first: to the first step."""
        self.do_jump("1")

    def do_restart(self, arg: str) -> None:
        """restart: from the loss again.

        The breakpoints stay; their hits are forgotten.
        """
        for point in self.cursor.points:
            point.hits = 0
        self.do_first("")

    def do_jump(self, arg: str) -> None:
        """jump I, j: straight to step I.

        Whatever stands between; -1 is the last. I may also be a node (z, %7), op:sigmoid, line 5, ...
        """
        self._needed(arg, f"jump where? The pass has steps 1 to {len(self.tape)}")
        self._halted(self.cursor.jump(arg.strip()))

    def _repeat(self, arg: str, move: Callable[[], Halt]) -> None:
        for _ in range(_count(arg)):
            halt = move()
            if halt.reason != "step":
                break
        self._halted(halt)

    # ------------------------------------------------------------------ stopping

    def do_break(self, arg: str) -> None:
        """break [SPEC [if COND]], b: stop before such steps.

        Alone: list what there is. SPEC is one of

            z, %7              a node, by its name or number
            op:sigmoid         an operation
            line 5, net.py:5   made on that line
            module:layers.0    made in that module
            nonfinite          nan or inf flows

        COND is Python over the step: step, node, g, z, x, y, grads and your
        own variables, as in `break op:sigmoid if abs(g) < 1e-3`.
        """
        if not arg.strip():
            for point in self.cursor.points:
                self._say(f"{point.number:3}  {point}")
            if not self.cursor.points:
                self._say("no breakpoints: `break z` sets one, `watch w` stops where a gradient changes")
            return
        self._set(arg, temporary=False)

    def do_tbreak(self, arg: str) -> None:
        """tbreak SPEC [if COND], tb: stop there once.

        As break, and gone when it has stopped.
        """
        self._needed(arg, "break where? A node (z, %7), op:sigmoid, line 5, net.py:5, module:layers.0, nonfinite")
        self._set(arg, temporary=True)

    def _set(self, arg: str, temporary: bool) -> None:
        spec, condition = _with_condition(arg)
        point = self.cursor.add(spec, condition, temporary)
        steps = [index + 1 for index in point.steps]
        text = ", ".join(map(str, steps[:6])) + (", ..." if len(steps) > 6 else "")
        where = f"step{'s' * (len(steps) > 1)} {text}" if steps else "nowhere in this pass"
        self._say(f"breakpoint {point.number}, {visible(point.spec)}: {where}")

    def do_watch(self, arg: str) -> None:
        """watch NODE [if COND]: stop when NODE.grad changes.

        It says from what to what, going back too.
        """
        self._needed(arg, "watch which node? Give its name, or its number as in %7")
        point = self.cursor.watch(*_with_condition(arg))
        self._say(f"watch {point.number}: {visible(point.spec)}.grad changes in {counted(len(point.steps), 'step')}")

    def do_clear(self, arg: str) -> None:
        """clear [NUMBER ...], cl: delete breakpoints.

        And watches; all of them, without a number.
        """
        points = [self.cursor.point(number) for number in arg.replace(",", " ").split()] or list(self.cursor.points)
        for point in points:
            self.cursor.points.remove(point)
        self._say(f"deleted {', '.join(str(point.number) for point in points)}" if points else "there are none")

    def do_condition(self, arg: str) -> None:
        """condition NUMBER [COND]: stop only if COND.

        Without COND, always.
        """
        number, _, condition = arg.strip().partition(" ")
        point = self.cursor.point(number)
        point.only_if(condition)
        when = f"only if {visible(point.condition)}" if point.condition else "always"
        self._say(f"breakpoint {point.number} stops {when}")

    def do_ignore(self, arg: str) -> None:
        """ignore NUMBER [COUNT]: pass it over COUNT times.

        0 times, without COUNT.
        """
        number, _, count = arg.strip().partition(" ")
        point = self.cursor.point(number)
        point.ignored = _count(count, least=0, otherwise=0)
        self._say(f"breakpoint {point.number} will be passed over {counted(point.ignored, 'time')}")

    # ------------------------------------------------------------------ looking

    def do_where(self, arg: str) -> None:
        """where, w, bt: the chain from the loss to here.

        With the product of local derivatives so far. Where a node has several consumers, the chain takes the one that
        gives most; `paths NODE` shows them all.
        """
        step = self.cursor.step
        if step is None:
            raise ValueError("this is the end of the pass: `back` or `jump` to a step first")
        links = self._links()
        arrays = isinstance(self.tape.seed, mg.Summary) or hasattr(self.tape.seed, "shape")
        rows = [(links[0].step if links else step, f"{number(self.tape.seed)}")]
        following = [*(link.step for link in links[1:]), *([step] if links else [])]
        for link, below, product in zip(links, following, chains.products(self.tape, links), strict=True):
            if product is None:
                arrays = True
                rows.append((below, f"* {link.contribution.formula}"))
            else:
                rows.append((below, f"* {brief(link.contribution.local)} = {brief(product)}"))
        selected = rows[-1 - self._level][0].index
        title = f"from {visible(self.cursor.root)} to {visible(step.label)}"
        self.view.table(rows, selected, "times the derivative" if arrays else "product of derivatives", title)
        count = chains.paths(self.tape, step.node, most=0).count
        if count > 1:
            name = visible(step.label)
            self._say(
                f"  one of {count:,} paths; together {self.view.d(step.label)} = {number(step.upstream)}: paths {name}"
            )

    def do_up(self, arg: str) -> None:
        """up [N], u: look at the consumer, nearer the loss.

        The place in the pass stays.
        """
        self._look(_count(arg))

    def do_down(self, arg: str) -> None:
        """down [N], d: look at the input again."""
        self._look(-_count(arg))

    def _look(self, levels: int) -> None:
        self._next_line = None
        if self.cursor.step is None:
            raise ValueError("this is the end of the pass: `back` or `jump` to a step first")
        highest = len(self._links())
        level = min(max(self._level + levels, 0), highest)
        if level == self._level:
            raise ValueError("this is the loss" if levels > 0 else "this is the step where the pass stands")
        self._level = level
        step = self.looked_at
        self._say()
        self.view.table([(step, in_short(step.upstream))], step.index, self.view.d("node"), self.view.place(step))
        self.view.about(step)

    def do_list(self, arg: str) -> None:
        """list [FIRST[, LAST]], l: your source around here.

        Again: the lines that follow; `list .`: here again. `->` is this node's line, `.` one that made nodes, `B` one
        with a breakpoint.
        """
        site = self.looked_at.source
        if site is None:
            raise ValueError("where this node was made was not recorded (mg.record_sites)")
        lines = linecache.getlines(site.file)
        if not lines:
            raise ValueError(f"the source of {visible(os.path.basename(site.file))} is not to be had")
        if arg.strip() in ("", "."):
            again = self._next_line is not None and not arg.strip()
            first = self._next_line if again and self._next_line else max(1, site.line - LISTED // 2)
            last = first + LISTED - 1
        else:
            first, last = _lines(arg)
        if first > len(lines):
            raise ValueError(f"{visible(os.path.basename(site.file))} has {len(lines)} lines")
        stops = {
            source.line
            for point in self.cursor.points
            if point.watched is None
            for source in (self.tape[index].source for index in point.steps)
            if source is not None and source.file == site.file
        }
        made = {step.source.line for step in self.tape if step.source and step.source.file == site.file}
        for line in range(first, min(last, len(lines)) + 1):
            mark = "->" if line == site.line else "B" if line in stops else "." if line in made else ""
            text = visible(lines[line - 1].rstrip().expandtabs())
            text = clip(f"{mark:>4} {line:4}  {text}".rstrip(), self.screen.width)
            self._say(self.screen.paint(text, "bold") if mark == "->" else text)
        self._next_line = min(last, len(lines)) + 1

    def do_source(self, arg: str) -> None:
        """source [RULE | EXPR]: the rule, as rules.py has it.

        By default the one that is differentiated here. Of an expression, where the function or class is written that it
        gives, or the class of the object.
        """
        name = arg.strip()
        rule = getattr(mg.rules, name, None) if name else self.looked_at.rule
        if name and rule is None:
            rule = next((step.rule for step in self.tape if step.op == name), None)
        if not isinstance(rule, type):
            rule = self._object(name)
        try:
            lines, first = inspect.getsourcelines(rule)
        except (OSError, TypeError):
            called = getattr(rule, "__name__", type(rule).__name__)
            raise ValueError(f"the source of {visible(called)} is not to be had") from None
        for place, line in enumerate(lines, max(first, 1)):
            self._say(clip(f"{place:5}  {visible(line.rstrip().expandtabs())}".rstrip(), self.screen.width))

    def _object(self, name: str) -> Any:
        """What an expression gives, if it has a source; else its class."""
        try:
            found = self._evaluated(name)
        except Exception:
            close = difflib.get_close_matches(name, dir(mg.rules), 3)
            known = f"; there is {', '.join(close)}" if close else ""
            raise ValueError(f"there is no rule {visible(name) or 'here'}{known}") from None
        has_source = inspect.isroutine(found) or inspect.isclass(found) or inspect.ismodule(found)
        return found if has_source else type(found)

    def do_print(self, arg: str) -> None:
        """print EXPR, p: the value of an expression.

        Python, over step, node, g, z and the rule's inputs (x, y), tape, grads, and your own variables; the rule's
        letters go before yours.
        """
        self._needed(arg, "print what? An expression, over step, node, g, z, x, y, grads and your variables")
        told = repr(self._evaluated(arg))
        self._say(told)

    def do_pp(self, arg: str) -> None:
        """pp EXPR: print, laid out over lines."""
        self._needed(arg, "print what? An expression, over step, node, g, z, x, y, grads and your variables")
        self._say(pprint.pformat(self._evaluated(arg), width=self.screen.width))

    def _evaluated(self, arg: str) -> Any:
        step = self.looked_at if self.cursor.step is not None else None
        try:
            return eval(compiled(arg), self.cursor.scope(step))
        except ValueError as error:
            raise ValueError(str(error)) from None
        except (AttributeError, NameError) as error:
            if step is not None:
                raise
            raise ValueError(f"{error}: this is the end of the pass, where step is None: `back` to one first") from None

    def do_grads(self, arg: str) -> None:
        """grads [all | NODE ...]: the gradients so far.

        Of the nodes that have names; of all, or of these.
        """
        index = self.cursor.index
        gradients = self.tape.before(index)
        labels = list(gradients)
        if arg.strip() and arg.strip() != "all":
            labels = [self.tape.labels[self.cursor.node(name)] for name in arg.split()]
        elif not arg.strip():
            labels = [label for label in labels if not label.startswith("%")] or labels
        rows = [(label, self.view.so_far(label, index, gradients)) for label in labels]
        self.view.gradients(rows, most=len(rows) if arg.strip() else 4 * ROWS)

    # ------------------------------------------------------------------ asking

    def do_paths(self, arg: str) -> None:
        """paths [NODE]: every path from the loss to NODE.

        With its product of local derivatives, and their sum: the gradient. By default to the node of this step.
        """
        node = self.cursor.node(arg) if arg.strip() else self.looked_at.node
        label = self.tape.labels[node]
        found = chains.paths(self.tape, node)
        if not found.count:
            raise ValueError(f"no path leads from {visible(self.cursor.root)} to {visible(label)}")
        total = None
        for path in found.shown:
            names = [
                visible(self.tape.labels[self.tape.root]),
                *(visible(link.contribution.label) for link in path.links),
            ]
            self.screen.wrapped(" -> ".join(names), "  ")
            locals_ = [link.contribution.local for link in path.links]
            if path.value is None:
                self.screen.wrapped(chains.UNKNOWN, "      ")
            elif any(local is None for local in locals_):
                words = " . ".join(link.contribution.formula for link in path.links)
                self.screen.wrapped(f"{words}  =  {number(path.value)}", "      ")
            else:
                factors = [brief(self.tape.seed), *(bracketed(local) for local in locals_)]
                self.screen.wrapped(f"{' * '.join(factors)}  =  {number(path.value)}", "      ")
            total = path.value if total is None or path.value is None else total + path.value
        if found.count > len(found.shown):
            self._say(f"  ... and {found.count - len(found.shown):,} more paths")
        several = "sum of " if found.count > 1 else ""
        self._say(f"  {several}{counted(found.count, 'path')}: {self.view.d(label)} = {number(found.gradient)}")

    def do_check(self, arg: str) -> None:
        """check: this rule against a finite difference.

        Here, with the numbers that it met.
        """
        step = self.looked_at
        found = chains.differences(step)
        if not found:
            raise ValueError("nothing here takes a gradient")
        rule = f"{visible(step.op)}.wrt_"
        width = max(columns(rule + d.contribution.slot) for d in found[:ROWS])
        for d in found[:ROWS]:
            name = rule + d.contribution.slot.partition("[")[0]
            element = f"[{', '.join(map(str, d.place))}]" if d.place else ""
            of = f" (element {element}, the worst of {d.moved} of {d.elements})" if d.elements > 1 else ""
            if d.agrees:
                verdict = "agree"
            elif not d.is_taken:
                verdict = "nothing to compare, the value is not finite around here"
            elif d.at_a_kink:
                verdict = f"a kink: {d.left:.6g} on the left, {d.right:.6g} on the right, and the rule chooses"
            else:
                verdict = "THEY DIFFER"
            line = f"{fill(name, width)}  rule {d.told:.7g}, difference {d.found:.7g}: {verdict}{of}"
            self.screen.wrapped(line, "  ", *["red"] * verdict.isupper())
        if len(found) > ROWS:
            rest = found[ROWS:]
            self._say(f"  ... and {len(rest)} more, of which {sum(d.agrees for d in rest)} agree")

    def do_draw(self, arg: str) -> None:
        """draw [FILE]: the picture, this node marked.

        svg, png, pdf or dot, by the name of FILE; step-3.svg by default. A folder
        that is missing is made.
        """
        step = self.looked_at if self.cursor.step is not None else None
        name = arg.strip() or f"step-{self._standing()}.svg"
        made = _made_for(name)
        self._say(f"wrote {visible(str(marked.save(self.recording, step, name)))}{made}")

    def do_html(self, arg: str) -> None:
        """html [FILE]: the page of this pass.

        At this step; step-3.html by default. It is one file, to be opened in a
        browser. A folder that is missing is made.
        """
        from viz.stepping.stepper import page  # here, since it asks for the pictures

        name = arg.strip() or f"step-{self._standing()}.html"
        if not name.lower().endswith((".html", ".htm")):
            raise ValueError(f"the page is written to a file that ends in .html, got {visible(name)}")
        made = _made_for(name)
        made_page = page(self.tape, params=self.recording.models)
        written = visible(str(made_page.save(name)))
        place = self._standing()
        cut = f", which has steps 1 to {made_page.steps:,}" if place > made_page.steps else ""
        self._say(f"wrote {written}{made}{cut}, to be opened at {written}#{min(place, made_page.steps)}")

    def _standing(self) -> int:
        """The number of the step that is looked at; after the last, of the one that would follow."""
        return (self.looked_at.index if self.cursor.step is not None else self.cursor.index) + 1

    def do_pdb(self, arg: str) -> None:
        """pdb [INPUT]: real pdb inside this node's rule.

        In its derivative by that input (x, y), by default the first; its locals are g, z and the inputs.
        """
        step = self.looked_at
        met = computable(step)
        if met is None or met.rule is None:
            raise ValueError(chains.UNKNOWN)
        wanted = arg.strip().removeprefix("wrt_")
        chosen = [
            c for c in step.contributions if not wanted or c.slot.partition("[")[0] == wanted or c.label == wanted
        ]
        if not chosen:
            known = ", ".join(dict.fromkeys(c.slot.partition("[")[0] for c in step.contributions))
            raise ValueError(
                f"{visible(step.op)} has no derivative by {visible(wanted) or 'anything'} here; it has {known}"
            )
        wrt = met.rule.wrt[0 if met.rule.variadic else chosen[0].position]
        assert wrt is not None
        kind = kinds.kind_of(met.z)
        arguments, parameters = kind.arguments([met.g, met.z, *met.inputs]), kind.parameters(met.parameters)
        raw = self.use_rawinput
        stdin, stdout = (None, None) if raw else (self.stdin, self.stdout)
        inner = _Inner(stdin=stdin, stdout=stdout, nosigint=True, readrc=False, skip=(*MACHINERY, "bdb"))
        inner.echo = self.precmd
        tracer = sys.gettrace()
        try:
            share = inner.runcall(wrt, *arguments, **parameters)
        except (ArithmeticError, ValueError) as error:
            self._say(f"it raised {type(error).__name__}: {error}; the walk then takes IEEE's numbers")
            return
        finally:
            sys.settrace(tracer)
        if share is not None:  # else the user has quit
            self._say(f"{visible(step.op)}.{wrt.__name__} gave {one_line(repr(share))}")

    # ------------------------------------------------------------------ the end

    def do_help(self, arg: str) -> None:
        """help [COMMAND], h, ?: what a command does."""
        name = ALIASES.get(arg.strip(), arg.strip())
        if name:
            function = getattr(self, f"do_{name}", None)
            if function is None or name == "EOF":
                raise ValueError(f"there is no command {visible(name)}: `help` lists them")
            self._say((inspect.getdoc(function) or "").replace(": ", "\n\n", 1))
            return
        for title, listed in GROUPS.items():
            for position, command in enumerate(listed.split()):
                usage, _, does = (
                    (inspect.getdoc(getattr(self, f"do_{command}")) or "").partition("\n")[0].partition(": ")
                )
                head = fill(title if not position else "", 6)
                does = clip(does.removesuffix("."), self.screen.width - 35)
                self._say(f"{self.screen.paint(head, 'bold')}{fill(usage, 28)} {does}")
        self._say("an empty line repeats the last command")

    def do_quit(self, arg: str) -> bool:
        """quit, q, exit: leave.

        A script that the debugger runs ends here; after viz.debug the program goes on.
        """
        self.outcome = "quit"
        return True

    def do_EOF(self, arg: str) -> bool:  # noqa: N802 (cmd.Cmd's word for the end of the input)
        """The end of the input: quit."""
        self._say()
        return self.do_quit("")

    @staticmethod
    def _needed(arg: str, question: str) -> None:
        if not arg.strip():
            raise ValueError(question)


class _Inner(pdb.Pdb):
    """pdb that echoes what no terminal has shown."""

    echo: Callable[[str], str]

    def precmd(self, line: str) -> str:
        return super().precmd(self.echo(line))


def _someone_types() -> bool:
    """Whether commands come from a terminal, or from the prompt of a notebook."""
    return (is_terminal(sys.stdin) and is_terminal(sys.stdout)) or "ipykernel" in sys.modules


def _made_for(name: str) -> str:
    """That a folder is made for a file, where it is missing."""
    folder = os.path.dirname(name)
    return "" if not folder or os.path.isdir(folder) else f" (and made the folder {visible(folder)})"


def _count(arg: str, least: int = 1, otherwise: int = 1) -> int:
    text = arg.strip()
    if not text:
        return otherwise
    if not text.isdecimal() or int(text) < least:
        raise ValueError(f"expected a number of at least {least}, got {visible(text)}")
    return int(text)


def _with_condition(arg: str) -> tuple[str, str]:
    """What stands before `if` (or, as in pdb, a comma), and the condition after it."""
    spec, found, condition = f" {arg} ".partition(" if ")
    if not found:
        spec, found, condition = arg.partition(",")
    if found and not condition.strip():
        raise ValueError("a condition is missing after `if`")
    return spec.strip(), condition.strip()


def _lines(arg: str) -> tuple[int, int]:
    """The first and last line of `list 5, 9`; `list 5` is around line 5, `list 5, 3` the three after it, as in pdb."""
    first, comma, last = (part.strip() for part in arg.partition(","))
    if not first.isdecimal() or (comma and not last.isdecimal()):
        raise ValueError(f"expected numbers of lines, as in `list 5, 20`, got {visible(arg.strip())}")
    if not comma:
        return max(1, int(first) - LISTED // 2), max(1, int(first) - LISTED // 2) + LISTED - 1
    begin, end = max(1, int(first)), int(last)
    return begin, end if end >= begin else begin + end
