"""Where a step spends its Python: the interpreter's instructions, function by function.

    python tests/benchmarks/instructions.py [WORKLOAD] [ENGINE]

A profile that is the same at every run, whoever else uses the machine. What C does between two instructions, in NumPy
above all, is not in it: on small networks it is the lesser part. By default T1, eager.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

from worker import training_of

from microgrid import graph

WARM = 30  # steps before: what is emitted after some calls is there


class Function(NamedTuple):
    file: str
    name: str


class Profile(NamedTuple):
    instructions: Counter[Function]
    calls: Counter[Function]


def profile(step: Callable[[], Any]) -> Profile:
    """The instructions and calls of one step."""
    found = Profile(Counter(), Counter())
    (monitored if sys.version_info >= (3, 12) else traced)(step, found)
    return found


def monitored(step: Callable[[], Any], found: Profile) -> None:
    """By `sys.monitoring`, of Python 3.12 on."""
    monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    tool, events = monitoring.PROFILER_ID, monitoring.events
    monitoring.use_tool_id(tool, "instructions")
    for event, counter in ((events.INSTRUCTION, found.instructions), (events.PY_START, found.calls)):
        monitoring.register_callback(tool, event, lambda code, _, counter=counter: counter.update([of(code)]))
    try:
        monitoring.set_events(tool, events.INSTRUCTION | events.PY_START)
        step()
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)


def traced(step: Callable[[], Any], found: Profile) -> None:
    """By a trace function."""

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "call":
            frame.f_trace_lines, frame.f_trace_opcodes = False, True
            found.calls[of(frame.f_code)] += 1
        elif event == "opcode":
            found.instructions[of(frame.f_code)] += 1
        return trace

    seen, graph.gettrace = graph.gettrace, lambda: None  # or the pass would be stepped, as in a debugger
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        step()
    finally:
        sys.settrace(before)
        graph.gettrace = seen


def of(code: CodeType) -> Function:
    return Function(Path(code.co_filename).name, code.co_name)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workload", nargs="?", default="T1")
    parser.add_argument("engine", nargs="?", default="microgrid")
    parser.add_argument("--rows", type=int, default=25, help="functions shown")
    given = parser.parse_args()
    step = training_of(given.workload, given.engine).step
    for _ in range(WARM):
        step()
    found = profile(step)
    total = found.instructions.total()
    print(f"{given.workload}, {given.engine}: {total} instructions in {found.calls.total()} calls of one step")
    for function, count in found.instructions.most_common(given.rows):
        print(f"  {count:6}  {count / total:4.0%}  {found.calls[function]:4} x  {function.name}  ({function.file})")


if __name__ == "__main__":
    main()
