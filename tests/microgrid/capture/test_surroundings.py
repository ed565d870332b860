"""What stands around a compiled function may change in any way: the numbers are those of the function as it is now."""

from __future__ import annotations

import collections
import contextvars
import functools
import os
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn
from microgrid.capture.surroundings import FEW, Surroundings, TooMuchError

W = mg.Tensor([1.0, -2.0, 3.0], requires_grad=True)
SCALE = 1.0
TABLE = {"scale": 2.0}
ROW = [1.0, 2.0, 3.0]
Case = tuple[Callable[..., Any], Callable[[int], None]]


def closure_number() -> Case:
    scale = 1.0

    def change(i: int) -> None:
        nonlocal scale
        scale = float(i)

    return lambda x: mg.sum(x * W) * scale, change


def closure_list() -> Case:
    scales = [1.0, 2.0]
    return lambda x: mg.sum(x * W) * scales[0] + mg.sum(x * W) * len(scales), lambda i: scales.__setitem__(0, float(i))


def list_that_grows() -> Case:
    scales = [1.0]
    return lambda x: mg.sum(x * W) * sum(scales), lambda i: scales.append(float(i))


def nested_dict() -> Case:
    options: dict[str, Any] = {"a": {"scale": [1.0]}}
    return lambda x: mg.sum(x * W) * options["a"]["scale"][0], lambda i: options["a"]["scale"].__setitem__(0, float(i))


def renamed_key() -> Case:
    options: dict[str, float] = {"scale": 3.0}

    def change(i: int) -> None:
        options.clear()
        options["scale" if i % 2 else "other"] = 3.0

    return lambda x: mg.sum(x * W) * options.get("scale", 7.0), change


def a_set() -> Case:
    chosen = {1.0}
    return lambda x: mg.sum(x * W) * sum(chosen), lambda i: chosen.add(float(i))


def global_number() -> Case:
    return lambda x: mg.sum(x * W) * SCALE, lambda i: globals().__setitem__("SCALE", float(i))


def global_in_a_comprehension() -> Case:
    return lambda x: sum(mg.sum(x * W) * SCALE for _ in range(2)), lambda i: globals().__setitem__("SCALE", float(i))


def global_dict() -> Case:
    return lambda x: mg.sum(x * W) * TABLE["scale"], lambda i: TABLE.__setitem__("scale", float(i))


def inner(x: Any) -> Any:
    return mg.sum(x * W) * SCALE


def called_function() -> Case:
    return lambda x: inner(x) + 1.0, lambda i: globals().__setitem__("SCALE", float(i))


def shadowed_builtin() -> Case:
    def change(i: int) -> None:
        if i % 2:
            globals()["abs"] = lambda x: x * 2.0
        else:
            globals().pop("abs", None)

    return lambda x: mg.sum(x * W) * abs(-3.0), change


class Settings:
    scale = 1.0

    def __init__(self) -> None:
        self.own = 1.0
        self.deeper = types.SimpleNamespace(scale=1.0)

    @property
    def double(self) -> float:
        return 2 * self._hidden

    _hidden = 1.0


def attribute() -> Case:
    settings = Settings()
    return lambda x: mg.sum(x * W) * settings.own, lambda i: setattr(settings, "own", float(i))


def attribute_of_an_attribute() -> Case:
    settings = Settings()
    return lambda x: mg.sum(x * W) * settings.deeper.scale, lambda i: setattr(settings.deeper, "scale", float(i))


def attribute_by_name() -> Case:
    settings = Settings()
    return lambda x: mg.sum(x * W) * getattr(settings, "ow" + "n"), lambda i: setattr(settings, "own", float(i))


def class_attribute() -> Case:
    return lambda x: mg.sum(x * W) * Settings.scale, lambda i: setattr(Settings, "scale", float(i))


def class_attribute_by_instance() -> Case:
    settings = Settings()
    return lambda x: mg.sum(x * W) * settings.scale, lambda i: setattr(Settings, "scale", float(i))


def behind_a_property() -> Case:
    settings = Settings()
    return lambda x: mg.sum(x * W) * settings.double, lambda i: setattr(settings, "_hidden", float(i))


def default_argument() -> Case:
    def loss(x: Any, scale: float = 1.0) -> Any:
        return mg.sum(x * W) * scale

    return loss, lambda i: setattr(loss, "__defaults__", (float(i),))


def mutable_default() -> Case:
    def loss(x: Any, *, scale: list[float] = [1.0]) -> Any:  # noqa: B006
        return mg.sum(x * W) * scale[0]

    assert loss.__kwdefaults__
    return loss, lambda i: loss.__kwdefaults__["scale"].__setitem__(0, float(i))


def slot() -> Case:
    class Settings:
        __slots__ = ("scale",)

    settings = Settings()
    settings.scale = 1.0  # type: ignore[attr-defined]
    return lambda x: mg.sum(x * W) * settings.scale, lambda i: setattr(settings, "scale", float(i))  # type: ignore[attr-defined]


def late_attribute() -> Case:
    settings = Settings()

    def change(i: int) -> None:
        if i % 2:
            settings.scale = float(i)
        else:
            vars(settings).pop("scale", None)

    return lambda x: mg.sum(x * W) * settings.scale, change


def tensors_own_array() -> Case:
    scale = mg.Tensor([1.0, 1.0, 1.0])

    def change(i: int) -> None:
        scale._replace(np.full(3, float(i)))

    return lambda x: mg.sum(mg.apply(mg.rules.multiply, x * W, scale._data)), change


def method() -> Case:
    class Trainer:
        def __init__(self) -> None:
            self.scale = 1.0

        def loss(self, x: Any) -> Any:
            return mg.sum(x * W) * self.scale

    trainer = Trainer()
    return trainer.loss, lambda i: setattr(trainer, "scale", float(i))


def callable_object() -> Case:
    class Loss:
        scale = 1.0

        def __call__(self, x: Any) -> Any:
            return mg.sum(x * W) * self.scale

    loss = Loss()
    return loss, lambda i: setattr(loss, "scale", float(i))


def partial() -> Case:
    scales = [1.0]
    return functools.partial(lambda scales, x: mg.sum(x * W) * scales[0], scales), lambda i: scales.__setitem__(
        0, i * 1.0
    )


def module_of_ones_own() -> Case:
    class Scaled(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * W * SCALE

    model = nn.Sequential(Scaled())
    return lambda x: mg.sum(model(x)), lambda i: globals().__setitem__("SCALE", float(i))


def python_module() -> Case:
    config = types.ModuleType("config")
    config.SCALE = 1.0  # type: ignore[attr-defined]
    return lambda x: mg.sum(x * W) * config.SCALE, lambda i: setattr(config, "SCALE", float(i))


def array_by_reference() -> Case:
    scale = np.ones(3)
    return lambda x: mg.sum(x * W * scale), lambda i: scale.__setitem__(0, float(i))


def array_read_as_a_number() -> Case:
    scale = np.ones(3)
    return lambda x: mg.sum(x * W) * float(scale[0]), lambda i: scale.__setitem__(0, float(i))


def array_both_ways() -> Case:
    scale = np.ones(3)
    return lambda x: mg.sum(x * W * scale) * scale[0], lambda i: scale.__setitem__(0, float(i))


def array_summed() -> Case:
    scale = np.ones(3)
    return lambda x: mg.sum(x * W) * scale.sum().item(), lambda i: scale.__setitem__(0, float(i))


def array_in_a_list() -> Case:
    scales = [np.ones(3)]
    return lambda x: mg.sum(x * W) * float(scales[0][1]), lambda i: scales[0].__setitem__(1, float(i))


def array_in_a_tuple() -> Case:
    scales = (np.ones(3), 1.0)
    return lambda x: mg.sum(x * W) * float(scales[0][1]), lambda i: scales[0].__setitem__(1, float(i))


def array_of_an_object() -> Case:
    settings = Settings()
    settings.own = np.ones(2)  # type: ignore[assignment]
    return lambda x: mg.sum(x * W) * settings.own.max(), lambda i: settings.own.__setitem__(0, 1.0 + i)  # type: ignore[attr-defined]


def array_as_an_index() -> Case:
    places = np.array([0, 1])
    return lambda x: mg.sum((x * W)[places]), lambda i: places.__setitem__(0, i % 3)


def tensor_as_an_index() -> Case:
    places = mg.Tensor(np.array([[0]]))

    def change(i: int) -> None:
        places.data = np.array([[i % 3]])

    return lambda x: mg.sum(mg.take_along_axis(mg.reshape(x * W, (1, 3)), places, axis=1)), change


def buffer_of_a_tensor() -> Case:
    scale = mg.Tensor([1.0, 1.0, 1.0])

    def change(i: int) -> None:
        scale.data[0] = float(i)

    return lambda x: mg.sum(x * W * scale), change


def constant_tensor_made_inside() -> Case:
    scale = 1.0

    def change(i: int) -> None:
        nonlocal scale
        scale = float(i)

    return lambda x: mg.sum(x * W * mg.Tensor([scale, 1.0, 1.0])), change


def another_function() -> Case:
    functions = [mg.exp]
    return lambda x: mg.sum(functions[0](x * W)), lambda i: functions.__setitem__(0, [mg.exp, mg.sin, mg.cos][i % 3])


def attribute_of_a_function() -> Case:
    def loss(x: Any) -> Any:
        return mg.sum(x * W) * loss.scale  # type: ignore[attr-defined]

    loss.scale = 1.0  # type: ignore[attr-defined]
    return loss, lambda i: setattr(loss, "scale", float(i))


def attribute_of_a_container() -> Case:
    class Options(dict[str, float]):
        scale = 1.0

    options = Options()
    return lambda x: mg.sum(x * W) * options.scale, lambda i: setattr(options, "scale", float(i))


def attribute_of_a_metaclass() -> Case:
    class Meta(type):
        scale = 1.0

    class Options(metaclass=Meta):
        pass

    return lambda x: mg.sum(x * W) * Options.scale, lambda i: setattr(Meta, "scale", float(i))


def method_of_a_dict() -> Case:
    options = {"scale": 1.0}
    get = options.get
    return lambda x: mg.sum(x * W) * get("scale"), lambda i: options.__setitem__("scale", float(i))


def proxy() -> Case:
    options = {"scale": 1.0}
    seen = types.MappingProxyType(options)
    return lambda x: mg.sum(x * W) * seen["scale"], lambda i: options.__setitem__("scale", float(i))


def a_deque() -> Case:
    last = collections.deque([1.0, 1.0], maxlen=2)
    return lambda x: mg.sum(x * W) * sum(last), lambda i: last.append(float(i))


def bytes_that_change() -> Case:
    scale = bytearray(b"a")
    return lambda x: mg.sum(x * W) * scale[0], lambda i: scale.__setitem__(0, i)


def context() -> Case:
    scale = contextvars.ContextVar("scale", default=1.0)
    return lambda x: mg.sum(x * W) * scale.get(), lambda i: scale.set(float(i)) and None


def environment() -> Case:
    os.environ["MICROGRID_SCALE"] = "1"
    return lambda x: mg.sum(x * W) * float(os.environ["MICROGRID_SCALE"]), lambda i: os.environ.__setitem__(
        "MICROGRID_SCALE", str(i)
    )


def module_imported_inside() -> Case:
    config = sys.modules["microgrid_test_config"] = types.ModuleType("microgrid_test_config")
    config.SCALE = 1.0  # type: ignore[attr-defined]

    def loss(x: Any) -> Any:
        from microgrid_test_config import SCALE  # type: ignore[import-not-found]

        return mg.sum(x * W) * SCALE

    return loss, lambda i: setattr(config, "SCALE", float(i))


def by_evaluation() -> Case:
    return lambda x: mg.sum(x * W) * eval("SCALE"), lambda i: globals().__setitem__("SCALE", float(i))


def flag_of_another_tensor() -> Case:
    other = mg.Tensor([1.0], requires_grad=True)
    return lambda x: mg.sum(x * W) * (2 if other.requires_grad else 3), lambda i: other.requires_grad_(i % 2 == 0)  # type: ignore[return-value]


def large_array_behind_numpy() -> Case:
    scale = np.ones(10**4)
    return lambda x: mg.sum(x * W) * float(np.asarray(scale)[0]), lambda i: scale.__setitem__(0, float(i))


CASES = [
    attribute_of_a_function, attribute_of_a_container, attribute_of_a_metaclass, method_of_a_dict, proxy, a_deque,
    bytes_that_change, context, environment, module_imported_inside, by_evaluation, flag_of_another_tensor,
    large_array_behind_numpy,
    closure_number, closure_list, list_that_grows, nested_dict, renamed_key, a_set, global_number,
    global_in_a_comprehension, global_dict, called_function, shadowed_builtin, attribute, attribute_of_an_attribute,
    attribute_by_name, class_attribute, class_attribute_by_instance, behind_a_property, default_argument,
    mutable_default, method, callable_object, partial, slot, late_attribute, tensors_own_array, module_of_ones_own,
    python_module, array_by_reference,
    array_read_as_a_number, array_both_ways, array_summed, array_in_a_list, array_in_a_tuple, array_of_an_object,
    array_as_an_index, tensor_as_an_index, buffer_of_a_tensor, constant_tensor_made_inside, another_function,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_change_is_seen(case: Callable[[], Case]) -> None:
    """Called three times between changes, so that whatever is recorded is replayed too."""
    function, change = case()
    step, rng = mg.compile(function), np.random.default_rng(0)
    for i in (0, 0, 2, 3, 3, 0, 5):
        change(i)
        for _ in range(3):
            x = mg.Tensor(rng.normal(size=3))
            W.grad = None
            loss = function(x)
            loss.backward()
            expected, W.grad = [loss.item(), W.grad], None
            found = step(x).item()
            np.testing.assert_allclose(found, expected[0], rtol=1e-13, atol=1e-13, err_msg=step.why)
            np.testing.assert_allclose(W.grad, expected[1], rtol=1e-13, atol=1e-13)


def test_by_reference_needs_no_new_record() -> None:
    """Numbers in Tensors and arrays are read at each replay; what is replaced is recorded anew."""
    function, change = array_by_reference()
    step, x = mg.compile(function), np.ones(3)
    for i in range(4):
        change(i)
        step(x)
    assert (step.recordings, step.replays) == (1, 3)


def test_what_a_function_does_not_name_may_change() -> None:
    """A trainer that keeps a history is replayed."""

    class Trainer:
        def __init__(self) -> None:
            self.history: list[float] = []
            self.scale = 2.0

        def loss(self, x: Any) -> Any:
            return mg.sum(x * W) * self.scale

    trainer = Trainer()
    step = mg.compile(trainer.loss)
    for _ in range(4):
        trainer.history.append(step(np.ones(3)).item())
    assert step.replays == 3


def test_too_much_to_watch() -> None:
    """Who hangs a large list on the function has it called each time, and is told why."""
    rows = [float(i) for i in range(FEW + 1)]
    with pytest.raises(TooMuchError):
        Surroundings(lambda: rows)
    step = mg.compile(lambda x: mg.sum(x * W) * rows[0])
    for _ in range(3):
        step(np.ones(3))
    assert step.replays == 0
    assert "stand around it" in step.why
    table = np.zeros(10**5)
    step = mg.compile(lambda x: mg.sum(x * W) * float(table[0]))
    for _ in range(3):
        step(np.ones(3))
    assert step.replays == 0
    assert "looks into an array" in step.why


def test_an_attribute_may_bear_the_name_of_a_builtin() -> None:
    """`self.input` is an attribute like any other; `input()` and `open()` are asked anew at each call."""

    class Net:
        input, open = 2.0, 3.0

        def loss(self, x: Any) -> Any:
            return mg.sum(x * W) * (self.input * self.open)

    step = mg.compile(Net().loss)
    for _ in range(3):
        step(np.ones(3))
    assert step.replays == 2

    def reading(x: Any) -> Any:
        with open(__file__) as file:
            return mg.sum(x * W) * len(file.readline())

    step = mg.compile(reading)
    for _ in range(3):
        step(np.ones(3))
    assert step.replays == 0
    assert "it uses open" in step.why


@pytest.mark.parametrize("size", [1, 31, 32, 33, 200])
def test_a_container_of_any_length(size: int) -> None:
    """One object that is another, one more and one less: each is seen, in lists and in dicts."""
    w = mg.Tensor([2.0], requires_grad=True)
    rates = [float(i) for i in range(1, size + 1)]
    named = {str(i): 1.0 for i in range(size)}
    step = mg.compile(lambda x: mg.sum(w * x) * rates[-1] * sum(named.values()))
    x = np.ones(1)

    def changes() -> Any:
        yield lambda: rates.__setitem__(-1, 7.0)
        yield lambda: rates.append(3.0)
        yield lambda: rates.pop()
        yield lambda: named.update({"0": 5.0})
        yield lambda: named.update(more=2.0)
        yield lambda: named.pop("more")

    for change in changes():
        step(x)
        before = step.replays
        step(x)
        assert step.replays == before + 1, step.why
        change()
        assert step(x).item() == 2.0 * rates[-1] * sum(named.values())
