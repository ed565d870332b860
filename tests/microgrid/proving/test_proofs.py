"""`prove` as users meet it: what it takes, what it says, and that the time limit holds."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy

import microgrid as mg
from microgrid.proving import background, deciding

x, y = mg.symbols("x y")
p = mg.symbols("p", positive=True)


def test_verdicts_as_users_read_them() -> None:
    """Only a proof is true. A refutation shows the point and both sides; what is undecided, why."""
    good = mg.prove(mg.exp(x) * mg.exp(y), mg.exp(x + y))
    assert (bool(good), str(good), good.verdict, good.point, good.sides) == (True, "proved", "proved", {}, None)
    bad = mg.prove(abs(x), x)
    assert not bad
    assert bad.point[x.data] < 0
    assert bad.sides is not None
    assert bad.sides[0] == -bad.sides[1]
    assert str(bad).startswith("refuted at x = -")
    assert "left side" in repr(bad)
    unknown = mg.prove(mg.log(x * x), 2 * mg.log(x))
    assert not unknown
    assert str(unknown).startswith("undecided at x = -")
    assert "only the left side is a real number" in str(unknown)
    assert "for these constants" in str(mg.prove(1, 2))
    assert "refuted in entry [1, 0]" in str(mg.prove([[x, x], [y, y]], [[x, x], [x, y]]))


def test_sides_that_print_alike() -> None:
    """Where the sides differ in digits that a float has not, the text says so, and not that 1.0 differs from 1.0."""
    near = mg.prove(mg.exp(x), mg.exp(x) + sympy.Rational(1, 10**90))
    assert near.verdict == "refuted"
    assert "differ, though both are near" in str(near)


SIDES: list[tuple[Any, Any]] = [
    (mg.Value(0.5) * x, x.data / 2), (0.1 * x.data, x / 10), (x * Fraction(1, 3), x / 3),
    (np.float64(0.5), Fraction(1, 2)),
    (mpmath.mpf("0.25"), 0.25), (np.array([0.5, 1.5]), [Fraction(1, 2), Fraction(3, 2)]), ((x, y), [x.data, y.data]),
    (sympy.Matrix([[x.data, 1]]), [[x, 1]]), (mg.Tensor([1.0, 2.0]), [1, 2]), ([], []),
    ([[]], [[]]), (2, 2.0),
]  # fmt: skip


@pytest.mark.parametrize(("lhs", "rhs"), SIDES, ids=lambda side: repr(side)[:30])
def test_what_sides_may_be(lhs: Any, rhs: Any) -> None:
    """Values, expressions, numbers, and nested lists of them; a float means the decimal that it prints as."""
    assert mg.prove(lhs, rhs)


def test_assumptions() -> None:
    """Relations of Values or of SymPy, one or several; pairs for equations."""
    y1, y2 = mg.symbols("y1 y2", positive=True)
    assert mg.prove(abs(x), x, x > 0)
    assert mg.prove(abs(x), -x, [x < 0])
    assert mg.prove(x + y1 + y2, x + 1, (y1 + y2, 1))
    assert mg.prove(x + y1 + y2, x + 1, [(y1 + y2, 1), x > 0])
    assert mg.prove(x + y1 + y2, x + 1, [sympy.Eq(y1.data + y2.data, 1)])
    assert mg.prove(mg.log(x * (1 - x)), mg.log(x) + mg.log(1 - x), [x > 0, x < 1])
    assert mg.prove(x, x, p > 0)  # true already
    assert mg.prove(x, 1, (x, 1))
    assert mg.prove(x.data * y, y, [(x.data, 1)])
    assert mg.prove(x, 0.5, [(0.5, x)])


@pytest.mark.slow
def test_the_limit_holds_for_shared_parts() -> None:
    """An expression of some dozens of parts, 3^40 written out, is not walked as a tree before the limit counts."""
    e = sympy.Symbol("e", real=True)
    for _ in range(40):
        e = sympy.Add(e, sympy.Mul(sympy.sin(e, evaluate=False), e, evaluate=False), evaluate=False)
    for equation in ([e, e * 2], [x, x, [(e, 0.5)]]):
        begun = time.monotonic()
        proof = mg.prove(*equation, timeout=1.5)
        assert (proof.verdict, proof.reason) == ("undecided", "no decision within 1.5 s")
        assert time.monotonic() - begun < 5


ERRORS: list[tuple[type[Exception], str, tuple[Any, ...], dict[str, Any]]] = [
    (ValueError, r"two symbols are called x, of which .* assumed \(real=True; positive=True, real=True\)",
     (x, mg.symbols("x", positive=True)), {}),
    (ValueError, r"two symbols are called x, .* \(real=True; nothing\)", (y, y, sympy.Symbol("x") + x.data > 0), {}),
    (ValueError, r"lhs has shape \(2,\), rhs \(3,\)", ([x, y], [x, y, x]), {}),
    (ValueError, r"lhs has shape \(2,\), rhs \(\)", ([x, y], x), {}),
    (ValueError, "rows of different lengths", ([[x], [x, y]], [[x], [x]]), {}),
    (ValueError, "rows of different lengths", ([x, [y]], [x, y]), {}),
    (TypeError, "lhs: expected a Value, a SymPy expression or a number, got str", ("x", x), {}),
    (TypeError, "rhs: expected .* got NoneType", (x, None), {}),
    (TypeError, "rhs: expected .* got bool", (x, True), {}),
    (TypeError, "rhs: expected .* got complex", (x, 1j), {}),
    (TypeError, "rhs: expected .* got StrictGreaterThan", (x, x > 0), {}),
    (ValueError, "finite number, got nan", (x, float("nan")), {}),
    (TypeError, "symbol z stands for no real number", (sympy.Symbol("z", imaginary=True), x), {}),
    (TypeError, "symbol z stands for no real number", (sympy.Symbol("z", commutative=False), x), {}),
    (TypeError, "`==` of two expressions", (x, y, x == y), {}),
    (TypeError, "expected relations, got Value|expected relations, got GeneralValue", (x, y, x), {}),
    (TypeError, "expected relations such as x > 0", (x, y, ["x > 0"]), {}),
    (TypeError, "expected relations, got str", (x, y, "x > 0"), {}),
    (ValueError, "contradict each other", (x, x, [x > 1, x < 0]), {}),
    (ValueError, "timeout: expected seconds > 0, got 0", (x, x), {"timeout": 0}),
    (ValueError, "timeout: expected seconds > 0, got -1", (x, x), {"timeout": -1}),
    (ValueError, "timeout: expected seconds > 0, got nan", (x, x), {"timeout": float("nan")}),
    (TypeError, "timeout: expected seconds, got str", (x, x), {"timeout": "1"}),
    (TypeError, "timeout: expected seconds, got NoneType", (x, x), {"timeout": None}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "arguments", "keywords"), ERRORS, ids=[error[1][:30] for error in ERRORS])
def test_errors_are_the_users(kind: Any, text: str, arguments: Any, keywords: Any) -> None:
    with pytest.raises(kind, match=text + r".*, at test_proofs\.py:\d+"):
        mg.prove(*arguments, **keywords)


def test_without_sympy() -> None:
    """Each function that needs SymPy says which extra brings it; the engine itself works without."""
    program = """
import sys
sys.modules["sympy"] = None
import microgrid as mg
v = mg.Value(2.0, name="v")
print(mg.formula(v * 3), mg.latex(v / 3))
for call in (lambda: mg.symbols("x"), lambda: mg.prove(1, 1), lambda: mg.expression(v), lambda: mg.derive(v * v, v)):
    try:
        call()
    except ImportError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    first, *others = done.stdout.splitlines()
    assert first == r"v*3 \frac{v}{3}"
    assert [line.partition(":")[0] for line in others] == ["symbols", "prove", "expression", "derive"]
    assert all('pip install "microgrid[proofs]"' in line for line in others)


# --------------------------------------------------------------------------------------------- the time limit


def stuck() -> tuple[Any, Any]:
    """An identity that keeps the algebra busy for minutes: (S + 1)^30 (S - 1)^30 = (S^2 - 1)^30, S a sum of eight."""
    S = sum(sympy.exp(name) for name in sympy.symbols("a:8", real=True))
    return (S + 1) ** 30 * (S - 1) ** 30, (S**2 - 1) ** 30


def test_the_limit_holds() -> None:
    """What takes minutes is undecided, and the next question is answered."""
    assert mg.prove(x, x, timeout=30)  # so that the process stands
    late = mg.prove(*stuck(), timeout=0.3)
    assert str(late) == "undecided: no decision within 0.3 s"
    assert mg.prove(x + x, 2 * x, timeout=30)


def test_a_limit_too_short_to_start_in() -> None:
    """The process goes on starting, and is there for a later question."""
    background.close()
    assert mg.prove(x, x, timeout=1e-6).verdict == "undecided"
    assert mg.prove(x, x, timeout=60)


def test_the_process_may_die() -> None:
    """One that was killed while it waited is replaced."""
    assert mg.prove(x, x)
    for worker in background._idle:
        worker._process.kill()
        worker._process.wait()
    assert mg.prove(x + x, 2 * x)


def test_a_call_in_another_process() -> None:
    """Results, errors of the user's, and what cannot be sent."""
    s = sympy.Symbol("s", real=True)
    assert background.call(deciding.decide, [(s, s)], [], timeout=60).verdict == "proved"
    with pytest.raises(ValueError, match="contradict"):
        background.call(deciding.decide, [(s, s)], [s > 1, s < 0], timeout=60)
    with pytest.raises(background.FailedError, match="TypeError"):
        background.call(deciding.decide, timeout=60)
    with pytest.raises(background.FailedError, match="does not pickle"):
        background.call(deciding.decide, lambda: 0, timeout=60)
    with pytest.raises(background.FailedError, match="is not SymPy's"):
        background.call(deciding.decide, ERRORS[0][0], Mine(), timeout=60)


class Mine:
    """A class of the user's: to unpickle it would import the user's module."""


def test_a_process_that_ends_while_it_is_asked() -> None:
    """A worker that dies in the middle of its work is an undecided question, not a hang."""
    worker = background._taken()
    killer = threading.Timer(0.2, worker._process.kill)
    killer.start()
    request = pickle.dumps(("microgrid.proving.deciding", "decide", ([stuck()], [])))
    with pytest.raises(background.FailedError, match="its process ended"):
        worker.ask(request, time.monotonic() + 60)
    killer.join()
    assert mg.prove(x, x)


def test_several_threads() -> None:
    """Each has a process of its own while it waits; the answers are not mixed up."""
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda n: mg.prove(x + n % 2, x, timeout=60).verdict, range(9)))
    assert found == ["proved", "refuted"] * 4 + ["proved"]
    background.close()


def test_signals_threads_and_streams_are_left_alone() -> None:
    """Handlers, threads and what is printed are the same after a proof as before it."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), threading.active_count()
    assert mg.prove(x, x)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), threading.active_count()) == before


def test_a_program_ends_and_so_does_its_process() -> None:
    """Nothing is left behind, and the user's main module ran once."""
    program = """
import microgrid as mg
from microgrid.proving import background
print("main")
x = mg.symbols("x")
assert mg.prove(x + x, 2 * x, timeout=60)
print(background._idle[0]._process.pid)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    main, pid = done.stdout.split()
    assert (main, done.stderr) == ("main", "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_a_fork() -> None:
    """The process stays its parent's: the child starts one of its own, and both get their answers."""
    assert mg.prove(x, x)
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if mg.prove(x + x, 2 * x, timeout=60) else 2
            background.close()
        finally:
            os._exit(code)
    assert mg.prove(x * x, x**2)
    assert os.waitpid(child, 0)[1] == 0


def test_expressions_too_deep_for_sympy() -> None:
    """Neither a RecursionError nor a wrong answer: undecided, and in a graph an error of the user's."""
    deep = x.data
    for _ in range(3000):
        deep = sympy.sin(deep, evaluate=False)
    assert str(mg.prove(deep, deep)) == "undecided: the expression is nested too deeply for SymPy"

    def composed() -> mg.Value:
        z = x
        for _ in range(2000):
            z = mg.sigmoid(z)
        return z

    with pytest.raises(ValueError, match="sigmoid: the expression is nested too deeply for SymPy"):
        composed()


def test_idle_processes_are_bounded() -> None:
    """Thirty proofs at a time leave no more processes than can run at a time."""
    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(lambda k: bool(mg.prove(x + k, k + x)), range(12)))
    assert 0 < len(background._idle) <= (os.cpu_count() or 1)
