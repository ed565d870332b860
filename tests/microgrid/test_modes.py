"""Grad mode and anomaly mode belong to their context: threads, tasks, generators, exceptions (decision 8)."""

import asyncio
import contextvars
import inspect
import threading

import numpy as np
import pytest

import microgrid as mg
from microgrid import modes


@pytest.fixture(autouse=True)
def modes_are_left_as_found():
    """Every test ends with recording on, and with no mode counted as entered anywhere."""
    before = modes.special.count
    assert mg.is_grad_enabled()
    yield
    assert mg.is_grad_enabled()
    assert modes.special.count == before


def recorded():
    """Whether an operation is recorded here and now, asked of both faces and of every kind of operator."""
    x, t = mg.Value(2.0), mg.Tensor([2.0], requires_grad=True)
    asked = {(x * 3).requires_grad, (x * x).requires_grad, mg.exp(x).requires_grad, (t * 3).requires_grad,
             t.sum().requires_grad, mg.sum([x, x]).requires_grad, mg.is_grad_enabled()}  # fmt: skip
    assert len(asked) == 1
    return asked.pop()


def test_no_grad_records_nothing():
    """Decision 8: under no_grad results have no history, no inputs and require no gradient; leaves may still."""
    x = mg.Value(3.0)
    with mg.no_grad():
        y = x * x
        leaf = mg.Value(1.0)
    assert (y.data, y.requires_grad, y.rule, y.inputs) == (9.0, False, None, ())
    assert leaf.requires_grad
    (x * y).backward()
    assert x.grad == 9.0


def test_nesting():
    """Modes nest to any depth, and one object may be entered again while it is entered."""
    with mg.no_grad():
        assert not recorded()
        with mg.enable_grad():
            assert recorded()
            with mg.no_grad():
                assert not recorded()
            assert recorded()
        assert not recorded()
        with mg.set_grad_enabled(True):
            assert recorded()
        with mg.set_grad_enabled(False):
            assert not recorded()
    mode = mg.no_grad()
    with mode, mg.enable_grad(), mode:
        assert not recorded()
        with mode:
            assert not recorded()
        assert not recorded()
    assert recorded()


def test_exceptions():
    """An exception, also an interrupt, leaves the mode as it was before the block."""
    for error in (ValueError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(error), mg.no_grad(), mg.enable_grad(), mg.no_grad():
            raise error
        assert recorded()
    with pytest.raises(ValueError), mg.no_grad():
        mg.Tensor([1.0, 2.0]) @ np.ones(3)
    assert recorded()


def test_decorated_functions():
    """As a decorator a mode holds while the function runs, through recursion and exceptions, and keeps its name."""

    @mg.no_grad()
    def f(n):
        """The docstring."""
        assert not recorded()
        if n:
            f(n - 1)
            assert not recorded()
        if n == 3:
            raise KeyError(n)
        return n

    assert f(2) == 2
    assert recorded()
    with pytest.raises(KeyError):
        f(3)
    assert recorded()
    assert (f.__name__, f.__doc__) == ("f", "The docstring.")

    class Model:
        @mg.no_grad()
        def predict(self, x):
            return recorded(), x

    assert Model().predict(x=5) == (False, 5)


def test_passes_inside_no_grad():
    """A graph made before can be differentiated under no_grad; create_graph records all the same."""
    x = mg.Value(3.0)
    y = x**3
    with mg.no_grad():
        y.backward()
        (first,) = mg.grad(y, x, create_graph=True)
        assert not recorded()
    assert x.grad == 27.0
    (second,) = mg.grad(first, x)
    assert second == 18.0


# ------------------------------------------------------------------------------------ generators


def test_a_suspended_generator_holds_no_mode():
    """Decision 8: a decorated generator is in its mode while it runs, and its caller never is."""

    @mg.no_grad()
    def numbers():
        for i in range(3):
            assert not recorded()
            yield i
            assert not recorded()

    it = numbers()
    for expected in range(3):
        assert recorded()
        assert next(it) == expected
        assert recorded()
        with mg.no_grad():
            assert not recorded()
    assert list(it) == []
    assert recorded()


def test_interleaved_generators():
    """Two generators in opposite modes take turns and do not disturb each other."""

    def body():
        while True:
            yield recorded()

    off, on = mg.no_grad()(body)(), mg.enable_grad()(body)()
    with mg.no_grad():
        assert [next(g) for g in (off, on, off, on)] == [False, True, False, True]
    assert [next(g) for g in (on, off)] == [True, False]
    off.close()
    on.close()
    assert recorded()


def test_the_whole_protocol_of_generators():
    """send, throw, close, return values and `yield from` pass through a decorated generator, in its mode."""
    log = []

    @mg.no_grad()
    def echo():
        heard = None
        try:
            while heard != "stop":
                try:
                    heard = yield heard
                except KeyError as error:
                    heard = f"caught {error}"
                log.append(recorded())
        finally:
            log.append(("closed", recorded()))
        return "done"

    it = echo()
    assert next(it) is None
    assert it.send("a") == "a"
    assert it.throw(KeyError("k")) == "caught 'k'"
    with pytest.raises(StopIteration) as end:
        it.send("stop")
    assert end.value.value == "done"
    it = echo()
    next(it)
    it.close()
    it = echo()
    next(it)
    with pytest.raises(ZeroDivisionError):
        it.throw(ZeroDivisionError)
    assert log == [False, False, False, ("closed", False), ("closed", False), ("closed", False)]

    def outer():
        return (yield from echo())

    it = outer()
    next(it)
    with pytest.raises(StopIteration) as end:
        it.send("stop")
    assert end.value.value == "done"
    assert recorded()
    assert inspect.isgeneratorfunction(echo)


def test_a_generator_dropped_midway():
    """A decorated generator that nobody finishes leaves nothing behind."""

    @mg.no_grad()
    def numbers():
        yield 1
        yield 2

    it = numbers()
    next(it)
    del it
    assert recorded()


# ------------------------------------------------------------------------------------ threads and tasks


def test_threads_have_modes_of_their_own():
    """Decision 8: no_grad in one thread changes nothing in another, in either direction."""
    inside, ready, leave = {}, threading.Barrier(2), threading.Event()

    def other():
        inside["start"] = recorded()
        with mg.no_grad():
            ready.wait(10)
            leave.wait(10)
            inside["off"] = recorded()
        inside["end"] = recorded()

    with mg.no_grad():
        thread = threading.Thread(target=other)
        thread.start()
        ready.wait(10)
        with mg.enable_grad():
            assert recorded()
            x = mg.Value(3.0)
            (x * x).backward()
            assert x.grad == 6.0
    assert recorded()
    leave.set()
    thread.join(10)
    assert inside == {"start": True, "off": False, "end": True}


def test_many_threads():
    """Threads that enter and leave modes as fast as they can each see their own."""
    wrong = []

    def work(mode, expected):
        for _ in range(60):
            with mode:
                if recorded() is not expected:
                    wrong.append(expected)
            if not recorded():
                wrong.append("after")

    shared = mg.no_grad()
    threads = [threading.Thread(target=work, args=(shared, False)) for _ in range(3)]
    threads += [threading.Thread(target=work, args=(mg.enable_grad(), True)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_asyncio_tasks():
    """Decision 8: a task that awaits inside no_grad does not switch recording off for the tasks that run meanwhile."""
    seen = []

    async def off(turn):
        with mg.no_grad():
            for _ in range(3):
                seen.append(("off", recorded()))
                await turn()

    async def on(turn):
        for _ in range(3):
            seen.append(("on", recorded()))
            await turn()

    async def main():
        async def turn():
            await asyncio.sleep(0)

        await asyncio.gather(off(turn), on(turn), off(turn))
        assert recorded()

    asyncio.run(main())
    assert len(seen) == 9
    assert set(seen) == {("off", False), ("on", True)}


def test_decorated_coroutines():
    """A decorated coroutine is in its mode across awaits, and its awaiter is not."""

    @mg.no_grad()
    async def off():
        assert not recorded()
        await asyncio.sleep(0)
        return recorded()

    async def main():
        task = asyncio.ensure_future(off())
        await asyncio.sleep(0)
        assert recorded()
        assert await task is False
        assert await off() is False
        assert recorded()

    assert inspect.iscoroutinefunction(off)
    asyncio.run(main())


def test_async_generators_are_refused():
    """An async generator cannot be decorated, and is told what to write."""
    with pytest.raises(TypeError, match="async generator"):

        @mg.no_grad()
        async def numbers():
            yield 1


def test_a_copied_context_agrees_with_itself():
    """In a context copied inside a block that has ended operations do what is_grad_enabled() says."""
    with mg.no_grad():
        context = contextvars.copy_context()
    alone = context.run(recorded)  # fails if operations and is_grad_enabled() disagree
    stay, there = threading.Event(), threading.Event()

    def other():
        with mg.no_grad():
            there.set()
            stay.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    there.wait(10)
    try:
        assert context.run(recorded) is alone
    finally:
        stay.set()
        thread.join()


def test_a_task_made_inside_a_block():
    """The same through asyncio: the task is consistent while the block lasts and after it."""

    async def ask():
        first = recorded()
        await asyncio.sleep(0)
        return first, recorded()

    async def main():
        with mg.no_grad():
            task = asyncio.create_task(ask())
            assert await asyncio.create_task(ask()) == (False, False)
        await task
        assert recorded()

    asyncio.run(main())


def test_a_mode_that_ends_elsewhere_breaks_nothing():
    """A plain generator that holds a mode across a yield and is closed in another thread leaves that thread sound."""

    def holds():
        with mg.no_grad():
            yield

    it, seen = holds(), []
    context = contextvars.copy_context()
    context.run(next, it)

    def close():
        it.close()
        seen.append(recorded())
        with mg.no_grad():
            seen.append(recorded())
        seen.append(recorded())

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert seen == [True, False, True]


# ------------------------------------------------------------------------------------ anomaly mode is one of them


def test_anomaly_mode_is_of_its_context():
    """detect_anomaly nests, works as decorator, ends with its block and does not reach other threads."""
    log_of_zero = lambda: mg.log(mg.Value(0.0)).data
    seen = []
    with mg.detect_anomaly():
        thread = threading.Thread(target=lambda: seen.append(log_of_zero()))
        thread.start()
        thread.join()
        with pytest.raises(mg.AnomalyError):
            log_of_zero()
    assert seen == [float("-inf")]
    assert log_of_zero() == float("-inf")
    decorated = mg.detect_anomaly()(log_of_zero)
    with pytest.raises(mg.AnomalyError):
        decorated()
    assert log_of_zero() == float("-inf")
    with mg.detect_anomaly(), mg.detect_anomaly(check_nan=True, check_inf=False):
        assert log_of_zero() == float("-inf")


def test_both_modes_at_once():
    """no_grad and detect_anomaly are independent."""
    with mg.no_grad(), mg.detect_anomaly():
        assert not recorded()
        with pytest.raises(mg.AnomalyError):
            mg.log(mg.Tensor([0.0]))
    with mg.detect_anomaly(), mg.enable_grad():
        assert recorded()
