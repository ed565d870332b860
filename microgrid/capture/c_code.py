"""A program in C: loops and products in their order, and the memory between them.

What C cannot do (einsum, say, or an index by arrays) is left to NumPy, and the C falls into segments around it. Arrays
between the loops stand in one block of memory, in which they follow each other as soon as they are needed no longer.
"""

from __future__ import annotations

from typing import NamedTuple

from microgrid.capture.c_loops import Nest
from microgrid.capture.c_numbers import FUNCTIONS, HEADER, PRODUCTS
from microgrid.capture.c_schedule import Part, Schedule, long_axes, over
from microgrid.capture.c_steps import LARGE, SMALL, TYPES, Access, CannotWriteError, Steps, blas_strides, code_of, parts

__microgrid_machinery__ = True

NEAR = 16 << 10  # bytes of a factor that the nearest cache holds with all else
LINE = 64  # bytes of a line of the cache


class Segment:
    """C between two calls of NumPy: its functions, and the arrays that it is given."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls: list[str] = []  # and comments before them
        self.given: list[str] = []  # the names of its arrays in Python
        self.checked: dict[int, tuple[str, tuple[int, ...]]] = {}  # by place, of what comes from outside: type, shape

    def place(self, name: str) -> str:
        """The address of an array."""
        if name not in self.given:
            self.given.append(name)
        return f"a[{self.given.index(name)}]"


class Code:
    """The program in C.

    Attributes
    ----------
    source, text : str
        With the user's lines as comments, and without, as it is compiled.
    run : list of Segment or int
        What is to be done: C, or the line that NumPy does.
    room : int
        Bytes of memory between the loops.
    """

    def __init__(self, steps: Steps, layout: Layout | None, integer: str) -> None:
        self.steps, self.schedule = steps, Schedule(steps)
        self.stored = self._stored()
        self.room, self.start = self._memory()
        self.loops: list[str] = []
        self.products: list[str] = []
        self.run: list[Segment | int] = []
        self._names: dict[str, str] = {}  # of the functions, by their text
        self._write()
        segments = [x for x in self.run if isinstance(x, Segment)]
        if not segments:
            raise CannotWriteError("nothing of it is for C")
        entries = [line for segment in segments for line in _entry(segment, layout)]
        check = "" if layout is None else CHECK.format(**layout._asdict())
        known = GIVEN.replace("INTEGER", integer)
        lines = [HEADER, known, FUNCTIONS, *self.loops, PRODUCTS, *self.products, SETUP, check, *entries]
        self.source = "\n".join(self.loops + self.products + entries) + "\n"
        code = "\n".join(lines).splitlines()
        self.text = "\n".join(line for line in code if not line.lstrip().startswith("//")) + "\n"

    # ----------------------------------------------------------------------------------------------------- memory

    def _stored(self) -> set[int]:
        """The lines whose numbers are needed after their loop."""
        part_of, kind = self.schedule.part_of, self.schedule.kind
        stored = set(self.steps.outputs) | {line for line in part_of if kind[line] != "elementwise"}
        for line, needs in self.schedule.needs.items():
            stored.update(x for x in needs if part_of[x] != part_of[line])
        return stored

    def _memory(self) -> tuple[int, dict[int, int]]:
        """How much is needed, and where in it each line stands."""
        last: dict[int, int] = {}
        for line, needs in self.schedule.needs.items():
            for x in needs:
                last[x] = max(last.get(x, 0), self.schedule.part_of[line])
        live: list[tuple[int, int, int]] = []  # start, end, the last part that reads it
        start: dict[int, int] = {}
        room = 0

        def take(size: int, until: int) -> int:
            at = 0
            for begun, ended, _ in sorted(live):
                if begun - at >= size:
                    break
                at = max(at, ended)
            live.append((at, at + size, until))
            return at

        for place, part in enumerate(self.schedule.parts):
            for line in part.lines:
                if part.kind != "numpy" and line in self.stored and line not in self.steps.outputs:
                    start[line] = take(_rounded(self.steps.numbers[line].nbytes), last[line])
            room = max([room, *(ended for _, ended, _ in live)])
            live = [x for x in live if x[2] > place]
        return room, start

    def name(self, line: int) -> str:
        """What a line's numbers are called in Python."""
        if line in self.steps.outputs:
            return f"o{self.steps.outputs.index(line)}"
        kind = self.schedule.kind[line]
        if kind == "input":
            return str(self.steps.lines[line].arguments[0])
        return f"k{line}" if kind == "constant" else f"v{line}" if kind == "numpy" else "room"

    # ---------------------------------------------------------------------------------------------------- writing

    def _write(self) -> None:
        for part in self.schedule.parts:
            if part.kind == "numpy":
                self.run.append(part.lines[0])
                continue
            if not self.run or not isinstance(self.run[-1], Segment):
                self.run.append(Segment(len(self.run)))
            segment = self.run[-1]
            assert isinstance(segment, Segment)
            function = Function(self, segment)
            if part.kind == "loop":
                function.loop(part)
            elif part.kind == "join":
                function.join(part.lines[0])
            else:
                function.product(part.lines[0], self._product(part.lines[0]))
            comments = dict.fromkeys(self.steps.lines[line].comment for line in part.lines)
            segment.calls += [f"// {_harmless(comment)}" for comment in comments if comment]
            segment.calls.append(f"{self._named(part.kind, function)}({function.given()});")

    def _named(self, kind: str, function: Function) -> str:
        """The function's name; those that are alike, of layers of one size, say, are one."""
        text = function.text()
        if text not in self._names:
            self._names[text] = f"{kind}_{len(self._names)}"
            into = self.products if kind == "product" else self.loops
            into.append(f"APART void {self._names[text]}{text}")
        return self._names[text]

    def _product(self, line: int) -> Product:
        x, y = self.steps.lines[line].arguments
        sizes = (x.shape[0], y.shape[1], x.shape[1])
        return Product(sizes, self.steps.access[x.line], self.steps.access[y.line], x.dtype.itemsize)


def _rounded(size: int) -> int:
    return -(-max(size, 1) // LINE) * LINE


def _harmless(comment: str) -> str:
    """A user's line that stays a comment: no end of a line in it, and no way to go on to the next."""
    text = " ".join(comment.split())
    return "".join(c if c.isprintable() else "?" for c in text).rstrip("\\/? ")


class Product:
    """How C = A B, (M, K) by (K, N), is done inline: as it stands, or as C^T = B^T A^T; with B copied, or not."""

    def __init__(self, sizes: tuple[int, int, int], x: Access, y: Access, size: int) -> None:
        m, n, k = sizes
        lanes = LINE // size
        (a_i, a_k), (b_k, b_j) = x.strides, y.strides
        ways = [
            (m, n, (x, a_i, a_k), (y, b_k, b_j), (n, 1)),
            (n, m, (y, b_j, b_k), (x, a_k, a_i), (1, n)),
        ]
        costs = []
        for rows, columns, _, (_, step, along), (_, apart) in ways:
            packs = columns % lanes != 0 or along != 1 or k * abs(step) * size > NEAR
            cost = rows * k * -(-columns // lanes) + packs * 2 * k * columns + (apart != 1) * 2 * rows * columns
            costs.append((cost, packs))
        swapped = costs[1][0] < costs[0][0]
        self.M, self.N, self.A, self.B, self.C = ways[swapped]
        self.K, self.size = k, m * n * k
        self.packs = costs[swapped][1]


class Function:
    """One function in C."""

    def __init__(self, code: Code, segment: Segment) -> None:
        self.code, self.steps, self.segment = code, code.steps, segment
        self.kind = code.schedule.kind
        self.pointers: dict[int, bool] = {}  # by line, in the order of the parameters: whether it is written
        self.body: list[str] = []

    def text(self) -> str:
        """All but its name."""
        types = [TYPES[code_of(self.steps.numbers[line].dtype)] for line in self.pointers]
        heads = [
            f"{'' if written else 'const '}{type_} *restrict p{place}"
            for place, (type_, written) in enumerate(zip(types, self.pointers.values(), strict=True))
        ]
        return "\n".join([f"({', '.join(heads)})", "{", *self.body, "}"])

    def given(self) -> str:
        """What it is called with."""
        return ", ".join(f"(void *){self.address(line)}" for line in self.pointers)

    def address(self, line: int) -> str:
        name = self.code.name(line)
        place = self.segment.place(name)
        if self.kind[line] in ("input", "numpy"):
            number = self.steps.numbers[line]
            self.segment.checked[self.segment.given.index(name)] = (code_of(number.dtype), number.shape)
        return f"({place} + {self.code.start[line]})" if name == "room" else place

    def pointer(self, line: int, written: bool = False) -> str:
        self.pointers[line] = self.pointers.get(line, False) or written
        return f"p{list(self.pointers).index(line)}"

    def place(self, access: Access) -> str:
        """Where numbers begin that are read."""
        return self.pointer(access.line) + (f" + {access.start}" if access.start else "")

    # ------------------------------------------------------------------------------------------------------ parts

    def loop(self, part: Part) -> None:
        nest = Nest(self, part)
        for line in part.lines:
            nest.step(line)
        self.body += nest.text()

    def join(self, line: int) -> None:
        target = self.pointer(line, written=True)
        if self.steps.lines[line].function == "scatter":
            self.body.append(f"    memset({target}, 0, {self.steps.numbers[line].nbytes});")
        for access, x in parts(self.steps, line):
            nest = Nest(self, Part("loop", [], long_axes(x.shape)))
            nest.copy(x, over(x.shape, access, x.shape))
            self.body += ["    {", *nest.text(), "    }"]

    def product(self, line: int, product: Product) -> None:
        type_ = TYPES[code_of(self.steps.numbers[line].dtype)]
        c = self.pointer(line, written=True)
        if product.size <= LARGE or not self.steps.blas:
            test = f"if (QUICK({product.size}l))\n        " if product.size > SMALL and self.steps.blas else ""
            self.body.append(f"    {test}{self.inline(product, type_, c)}")
        if product.size > SMALL and self.steps.blas:
            other = "    else\n    " if product.size <= LARGE else ""
            self.body.append(f"{other}    {self.large(line, type_, c)}")

    def inline(self, product: Product, type_: str, c: str) -> str:
        (x, a_i, a_k), (y, b_k, b_j) = product.A, product.B
        a, b = (self.place(z) for z in (x, y))
        function, steps = ("packed", f"{b_k}, {b_j}") if product.packs else ("product", f"{b_k}")
        c_i, c_j = product.C
        sizes = f"{product.M}, {product.N}, {product.K}"
        return f"{function}_{type_}({sizes}, {a}, {a_i}, {a_k}, {b}, {steps}, {c}, {c_i}, {c_j});"

    def large(self, line: int, type_: str, c: str) -> str:
        given, (m, n) = [], self.steps.numbers[line].shape
        flags = []
        for x in self.steps.lines[line].arguments:
            access = self.steps.access[x.line]
            found = blas_strides(access, x.shape)
            assert found is not None
            flags.append("112" if found[0] else "111")
            given.append(f"{self.place(access)}, {found[1]}")
        k = self.steps.lines[line].arguments[0].shape[1]
        return f"gemm_{type_}(101, {flags[0]}, {flags[1]}, {m}, {n}, {k}, 1, {given[0]}, {given[1]}, 0, {c}, {n});"


# ----------------------------------------------------------------------------------------------------- the entrances


class Layout(NamedTuple):
    """Where CPython and NumPy keep things: bytes from the beginning of an object."""

    items: int  # of a tuple: its first item
    kind: int  # of any object: its type
    data: int  # of an array: the address of its numbers; what follows it is NumPy's, the same since 1.7


GIVEN = """\
typedef INTEGER integer;
static int threads = 1; /* of the BLAS */
#define GEMM(T) static void (*gemm_##T)(int, int, int, integer, integer, integer, T, const T *, integer, const T *, \\
                                        integer, T, T *, integer) __attribute__((unused));
GEMM(double)
GEMM(float)
static const char *known[6]; /* the type of arrays, and the descriptions of the types of their numbers */
"""

SETUP = """\
void setup(void *const *given)
{
    gemm_double = (void (*)())given[0];
    gemm_float = (void (*)())given[1];
    for (int i = 0; i < 6; i++) known[i] = given[2 + i];
    threads = (int)(intptr_t)given[8];
}
"""

CHECK = """\
/* the address of an array's numbers, or 0 where it is no plain array of this type and shape */
APART char *numbers(const char *array, const int type, const int axes, const long *shape)
{{
    const char *fields = array + {data};
    long *sizes;
    int ndim, flags;
    char *data, *kind, *description;
    memcpy(&kind, array + {kind}, sizeof kind);
    if (kind != known[0]) return 0;
    memcpy(&data, fields, sizeof data);
    memcpy(&ndim, fields + 8, sizeof ndim);
    memcpy(&sizes, fields + 16, sizeof sizes);
    memcpy(&description, fields + 40, sizeof description);
    memcpy(&flags, fields + 48, sizeof flags);
    if (ndim != axes || description != known[type] || (flags & 0x101) != 0x101) return 0;
    for (int i = 0; i < axes; i++) if (sizes[i] != shape[i]) return 0;
    return data;
}}
"""


def _entry(segment: Segment, layout: Layout | None) -> list[str]:
    """The function that is called with the addresses of all arrays; and the one with a tuple of them, which checks."""
    n = segment.number
    lines = [f"void run_{n}(char *const *a)", "{", *(f"    {call}" for call in segment.calls), "}"]
    if layout is None:
        return lines
    lines += [f"int call_{n}(const char *given)", "{", f"    char *a[{len(segment.given)}], *array;"]
    for place in range(len(segment.given)):
        lines.append(f"    memcpy(&array, given + {layout.items + 8 * place}, sizeof array);")
        if place in segment.checked:
            code, shape = segment.checked[place]
            sizes = f"(const long[]){{{', '.join(map(str, shape))}}}" if shape else "0"
            known = 1 + list(TYPES).index(code)
            lines.append(f"    if (!(a[{place}] = numbers(array, {known}, {len(shape)}, {sizes}))) return {place + 1};")
        else:
            lines.append(f"    memcpy(&a[{place}], array + {layout.data}, sizeof array);")
    return [*lines, f"    run_{n}(a);", "    return 0;", "}"]
