"""Loops in C: each reads a number once, computes in registers, and stores only what is needed after it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from microgrid.capture.c_schedule import Part, over
from microgrid.capture.c_steps import LOGICAL, ORDERED, TYPES, Access, CannotWriteError, code_of, contiguous
from microgrid.capture.tracing import Traced
from microgrid.shapes import axes_of

if TYPE_CHECKING:
    from microgrid.capture.c_code import Function

__microgrid_machinery__ = True

BLOCK = 512  # numbers summed up before they join the sums of other blocks: so long sums lose no digits

LOCAL = {**TYPES, "b1": "_Bool"}
ORDER = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=",
         "logical_and": "&", "logical_or": "|"}  # fmt: skip
OPERATIONS = {
    "add": "{0} + {1}", "subtract": "{0} - {1}", "multiply": "{0} * {1}", "divide": "{0} / {1}", "negative": "-{0}",
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}", "minimum": "{0} < {1} || {0} != {0} ? {0} : {1}",
    "square": "{0} * {0}", "copy": "{0}", "reciprocal": "1 / {0}", "sign": "({0} > 0) - ({0} < 0)",
}  # fmt: skip
SINGLE = {"sqrt": "sqrtf", "fabs": "fabsf"}  # of float32; the others are computed in float64 and rounded
CALLS = {"exp": "exp_", "log": "log_", "log1p": "log1p_", "expm1": "expm1_", "tanh": "tanh_", "sqrt": "sqrt",
         "absolute": "fabs", "sin": "sin", "cos": "cos", "tan": "tan", "power": "pow",
         "power_of_one": "power_"}  # fmt: skip
POWERS = {2.0: "square", 1.0: "copy", -1.0: "reciprocal", 0.5: "sqrt"}  # what NumPy makes of these exponents
START = {"sum": "0", "prod": "1", "max": "-INFINITY", "min": "INFINITY"}
COMBINED = {"sum": "{0} + {1}", "prod": "{0} * {1}", "max": "{1} > {0} || {1} != {1} ? {1} : {0}",
            "min": "{1} < {0} || {1} != {1} ? {1} : {0}"}  # fmt: skip
SYMBOL = {"sum": "+"}  # the order of the others is kept


class Nest:
    """Loops in each other, over the axes of a form, and what is done inside."""

    def __init__(self, function: Function, part: Part) -> None:
        self.function, self.steps, self.part = function, function.steps, part
        self.loads: dict[Access, str] = {}
        self.names: dict[int, str] = {}  # by line: what its number is called, at one place
        self.accesses: list[Access] = []
        self.statements: list[Callable[[Axes], str]] = []
        self.reductions: list[tuple[int, Access, str]] = []  # the line, where it stands, what is summed

    def operand(self, x: Any, shape: Sequence[int], code: str) -> str:
        """A number of this type: a literal, what the loop computed before, or what it loads."""
        if not isinstance(x, Traced):
            return literal(x, code)
        access = over(shape, self.steps.access[x.line], x.shape)
        if access.line in self.steps.literals:
            return literal(self.steps.literals[access.line], code)
        own = code_of(x.dtype)
        if access.line in self.part.lines:
            name = self.names[access.line]
        else:
            if access not in self.loads:
                self.loads[access] = f"x{len(self.loads)}"
                self.accesses.append(access)
                pointer, name = self.function.pointer(access.line), self.loads[access]
                self.statements.append(lambda axes: f"const {LOCAL[own]} {name} = {pointer}[{axes.index(access)}];")
            name = self.loads[access]
        return name if own == code else f"({LOCAL[code]}){name}"

    def step(self, line: int) -> None:
        if self.function.kind[line] == "reduction":
            self.reduce(line)
            return
        number, code = self.steps.numbers[line], code_of(self.steps.numbers[line].dtype)
        text = self.expression(line, number.shape, code)
        name = self.names[line] = f"v{len(self.names)}"
        self.statements.append(lambda axes: f"const {LOCAL[code]} {name} = {text};")
        if line in self.function.code.stored:
            self.store(line, over(number.shape, self.steps.access[line], number.shape), name)

    def store(self, line: int, access: Access, text: str) -> None:
        pointer = self.function.pointer(line, written=True)
        self.accesses.append(access)
        self.statements.append(lambda axes: f"{pointer}[{axes.index(access)}] = {text};")

    def copy(self, x: Traced, access: Access) -> None:
        self.store(access.line, access, self.operand(x, x.shape, code_of(x.dtype)))

    def reduce(self, line: int) -> None:
        said, number = self.steps.lines[line], self.steps.numbers[line]
        x, words = said.arguments[0], dict(said.words)
        text = self.operand(x, x.shape, code_of(number.dtype))
        gone = axes_of(x.ndim, words["axis"])
        kept = contiguous([1 if a in gone else n for a, n in enumerate(x.shape)])
        strides = tuple(0 if a in gone else s for a, s in enumerate(kept))
        access = over(x.shape, Access(line, 0, strides), x.shape)
        self.accesses.append(access)
        self.function.pointer(line, written=True)
        self.reductions.append((line, access, text))

    def expression(self, line: int, shape: Sequence[int], code: str) -> str:
        function, arguments = self.steps.lines[line].function, self.steps.lines[line].arguments
        if function in ORDERED:
            common = code_of(np.result_type(*(x.dtype if isinstance(x, Traced) else x for x in arguments)))
            if not common:
                raise CannotWriteError("numbers of such types are not compared in C")
            return f" {ORDER[function]} ".join(self.operand(x, shape, common) for x in arguments)
        if function in LOGICAL:
            return f" {ORDER[function]} ".join(f"({self.truth(x, shape)})" for x in arguments)
        if function == "where":
            c, x, y = arguments
            return f"{self.truth(c, shape)} ? {self.operand(x, shape, code)} : {self.operand(y, shape, code)}"
        if function == "astype" and code == "b1":
            return self.truth(arguments[0], shape)
        if function == "astype":
            return self.operand(arguments[0], shape, code)
        given = [self.operand(x, shape, code) for x in arguments]
        if function == "power":
            function = self.power(arguments[1])
        if function in OPERATIONS:
            return OPERATIONS[function].format(*given)
        call = CALLS[function]
        if code == "f8" or call in SINGLE:
            return f"{call if code == 'f8' else SINGLE[call]}({', '.join(given[:1] if call in SINGLE else given)})"
        return f"(float){call}({', '.join(f'(double){x}' for x in given)})"

    def power(self, exponent: Any) -> str:
        """What NumPy makes of a power: with one exponent for all numbers, some exponents are other functions."""
        if isinstance(exponent, Traced):
            if exponent.size != 1:
                return "power"
            exponent = self.steps.literals.get(self.steps.access[exponent.line].line)
        return "power_of_one" if exponent is None else POWERS.get(float(exponent), "power")

    def truth(self, x: Any, shape: Sequence[int]) -> str:
        if not isinstance(x, Traced):
            return "1" if x else "0"
        code = code_of(x.dtype)
        text = self.operand(x, shape, code)
        return text if code == "b1" else f"{text} != 0"

    # ------------------------------------------------------------------------------------------------------- text

    def text(self) -> list[str]:
        """The loops: where a sum begins, what is done at each place, and where partial sums join the whole."""
        axes = Axes(self.part.shape, self.accesses)
        *outer, n = axes.sizes or [1]
        # a reduction along the innermost loop goes on in a register, any other in its array
        inner = {line: access for line, access, _ in self.reductions if axes.sizes and not axes.strides[access][-1]}
        blocked = n > 2 * BLOCK and bool(inner) and all(map(self.blockable, inner))

        loops = [f"for (long i{axis} = 0; i{axis} < {size}; i{axis}++) {{" for axis, size in enumerate(outer)]
        begin, end = ("begun", f"(begun + {BLOCK} < {n} ? begun + {BLOCK} : {n})") if blocked else ("0", str(n))
        if blocked:
            loops.append(f"for (long begun = 0; begun < {n}; begun += {BLOCK}) {{")
        body = [f"{self.type_of(line)} {self.sum(line)} = {self.start_of(line)};" for line in inner]
        if axes.sizes:
            i = f"i{len(outer)}"
            body += self.pragma(list(inner))
            body.append(f"for (long {i} = {begin}; {i} < {end}; {i}++) {{")
        body += [_indented(statement(axes), bool(axes.sizes)) for statement in self.statements]
        for line, access, text in self.reductions:
            here = self.sum(line) if line in inner else self.place(line, access, axes)
            body.append(_indented(f"{here} = {self.combined(line, here, text)};", bool(axes.sizes)))
        body += ["}"] * bool(axes.sizes)
        many = math.prod(outer) > 2 * BLOCK
        parts = {line: x for line, x in inner.items() if many and self.blockable(line) and not any(axes.strides[x])}
        for line, access in inner.items():
            here = f"part_{self.sum(line)}" if line in parts else self.place(line, access, axes)
            body.append(f"{here} = {self.combined(line, here, self.sum(line))};")
        step, rows = max(BLOCK // max(math.prod(outer[1:]), 1), 1), outer[0] if outer else 1
        if parts:
            loops[0] = f"for (long i0 = first; i0 < (first + {step} < {rows} ? first + {step} : {rows}); i0++) {{"

        lines = [_indented(line, depth) for depth, line in enumerate(loops)]
        lines += [_indented(line, len(loops)) for line in body]
        lines += [_indented("}", depth) for depth in reversed(range(len(loops)))]
        if parts:
            lines = [f"for (long first = 0; first < {rows}; first += {step}) {{", *self.summed(lines, parts, axes), "}"]
        return [_indented(line, 1) for line in [*(self.begun(line) for line, _, _ in self.reductions), *lines]]

    def summed(self, lines: Sequence[str], parts: dict[int, Access], axes: Axes) -> list[str]:
        """Loops over some rows, around them the sums that begin and then join those of all rows."""
        begun = [f"{self.type_of(line)} part_{self.sum(line)} = {self.start_of(line)};" for line in parts]
        ended = [(self.place(line, access, axes), f"part_{self.sum(line)}") for line, access in parts.items()]
        return [_indented(x, 1) for x in [*begun, *lines, *(f"{here} = {here} + {part};" for here, part in ended)]]

    def pragma(self, lines: Sequence[int]) -> list[str]:
        """What lets the innermost loop take many places at once; not where a reduction must keep its order."""
        if not all(map(self.blockable, lines)):
            return []
        return [
            "#pragma omp simd"
            + "".join(f" reduction({SYMBOL[self.function_of(line)]}:{self.sum(line)})" for line in lines)
        ]

    def function_of(self, line: int) -> str:
        return self.steps.lines[line].function

    def blockable(self, line: int) -> bool:
        """Whether parts of a reduction may be made first."""
        return self.function_of(line) in SYMBOL

    def type_of(self, line: int) -> str:
        return LOCAL[code_of(self.steps.numbers[line].dtype)]

    def start_of(self, line: int) -> str:
        """What a reduction begins with."""
        words, code = dict(self.steps.lines[line].words), code_of(self.steps.numbers[line].dtype)
        return literal(words["initial"], code) if "initial" in words else START[self.function_of(line)]

    def combined(self, line: int, so_far: str, x: str) -> str:
        return COMBINED[self.function_of(line)].format(so_far, x)

    def begun(self, line: int) -> str:
        pointer, n = self.function.pointer(line), self.steps.numbers[line].size
        return f"for (long i = 0; i < {n}; i++) {pointer}[i] = {self.start_of(line)};"

    def sum(self, line: int) -> str:
        """The register in which a reduction goes on."""
        return f"s{self.function.pointer(line)[1:]}"

    def place(self, line: int, access: Access, axes: Axes) -> str:
        return f"{self.function.pointer(line)}[{axes.index(access)}]"


def _indented(line: str, depth: int) -> str:
    return "    " * depth + line


class Axes:
    """The loops in the order that goes through memory most evenly, neighbours joined where all arrays allow it."""

    def __init__(self, shape: Sequence[int], accesses: Sequence[Access]) -> None:
        distinct = list(dict.fromkeys(accesses))
        order = sorted(range(len(shape)), key=lambda axis: -sum(abs(x.strides[axis]) for x in distinct))
        sizes = [shape[axis] for axis in order]
        strides = [[x.strides[axis] for axis in order] for x in distinct]
        axis = 0
        while axis + 1 < len(sizes):
            if all(s[axis] == s[axis + 1] * sizes[axis + 1] for s in strides):
                for s in strides:
                    del s[axis]
                sizes[axis : axis + 2] = [sizes[axis] * sizes[axis + 1]]
            else:
                axis += 1
        self.sizes = sizes
        self.strides = dict(zip(distinct, strides, strict=True))

    def index(self, access: Access) -> str:
        terms = [f"i{axis} * {s}" if s != 1 else f"i{axis}" for axis, s in enumerate(self.strides[access]) if s]
        return " + ".join(([str(access.start)] if access.start else []) + terms) or "0"


def literal(x: Any, code: str) -> str:
    """A number of this type as C writes it."""
    if code[0] in "ib":
        if isinstance(x, float) or not -(2**63) < x < 2**63:
            raise CannotWriteError(f"{x} as a whole number")
        return str(int(x)) if -(2**31) < x < 2**31 else f"{x}ll"
    with np.errstate(all="ignore"):
        x = float(np.float32(x)) if code == "f4" else float(x)
    if x != x:
        return "NAN"
    if math.isinf(x):
        return "INFINITY" if x > 0 else "-INFINITY"
    text = x.hex() if x != int(x) or abs(x) > 2**53 or (x == 0 and math.copysign(1, x) < 0) else f"{x:.1f}"
    text = f"({text})" if text.startswith("-") else text
    return f"{text[:-1]}f)" if code == "f4" and text.endswith(")") else f"{text}f" if code == "f4" else text
