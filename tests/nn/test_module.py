"""Modules find what belongs to them, keep it once, and give it away only as copies."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import microgrid as mg
import nn


class Tied(nn.Module):
    """One layer in two places, a lone parameter, and modules in containers."""

    def __init__(self) -> None:
        self.scale = nn.Parameter([2.0], name="scale")
        self.first = nn.Linear(3, 3, rng=0)
        self.again = self.first
        self.more = [nn.Linear(3, 2, rng=1), {"head": nn.Linear(2, 2, rng=2, bias=False)}]
        self.note = "not a parameter"

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return self.again(self.first(x)) * self.scale


NAMES = ["scale", "first.weight", "first.bias", "more.0.weight", "more.0.bias", "more.1.head.weight"]


def test_parameters_are_found_in_attributes_and_containers_once() -> None:
    model = Tied()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert [id(p) for p in model.parameters()] == [id(p) for _, p in model.named_parameters()]
    assert [name for name, _ in model.named_parameters(prefix="net", recurse=False)] == ["net.scale"]
    assert len(list(model.named_parameters(remove_duplicate=False))) == len(NAMES) + 2


def test_a_parameter_that_two_modules_share_is_given_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Linear(2, 2, rng=1))
    model[1].weight = model[0].weight
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert len(list(model.named_parameters(remove_duplicate=False))) == 4


def test_modules_and_children_are_given_once_parents_first() -> None:
    model = Tied()
    assert [name for name, _ in model.named_modules()] == ["", "first", "more.0", "more.1.head"]
    assert next(model.modules()) is model
    assert [id(c) for c in model.children()] == [id(model.first), id(model.more[0]), id(model.more[1]["head"])]


def test_a_module_that_knows_its_parent_is_walked_once() -> None:
    parent, child = nn.Sequential(nn.Sigmoid()), nn.Linear(2, 2, rng=0)
    parent.child, child.parent = child, parent
    assert len(list(parent.parameters())) == 2
    assert parent.eval().training is False


def test_removing_an_attribute_removes_the_parameter() -> None:
    model = nn.Linear(2, 2, rng=0)
    model.bias = None
    assert [name for name, _ in model.named_parameters()] == ["weight"]
    del model.weight
    assert not list(model.parameters())


def test_a_parameter_cannot_be_lost_to_a_plain_tensor() -> None:
    """`self.weight = self.weight - lr * grad` would silently leave the optimiser with the old one."""
    model = nn.Linear(2, 2, rng=0)
    with pytest.raises(
        TypeError, match=r"cannot assign 'Tensor' as parameter 'weight' \(nn.Parameter or None expected"
    ):
        model.weight = model.weight - 0.1
    assert isinstance(model.weight, nn.Parameter)


def test_a_parameter_copies_its_data_and_is_of_floats() -> None:
    data = np.ones(2)
    parameter = nn.Parameter(data, name="w")
    data[0] = 5.0
    assert (parameter.tolist(), parameter.name) == ([1.0, 1.0], "w")
    assert parameter.requires_grad
    assert parameter.is_leaf
    assert not nn.Parameter([1, 2], requires_grad=False).requires_grad
    with pytest.raises(TypeError, match=r"require gradients.*test_module.py"):
        nn.Parameter([1, 2])


def test_call_is_forward() -> None:
    class Sum(nn.Module):
        def forward(self, x: float, *, y: float = 0.0) -> float:
            return x + y

    assert Sum()(1.0, y=2.0) == 3.0
    with pytest.raises(NotImplementedError, match='Module \\[Module\\] is missing the required "forward" function'):
        nn.Module()()


def test_train_and_eval_reach_every_module_and_return_self() -> None:
    model = Tied()
    assert model.training
    assert model.eval() is model
    assert {m.training for m in model.modules()} == {False}
    model.train()
    assert {m.training for m in model.modules()} == {True}
    with pytest.raises(ValueError, match="training mode is expected to be boolean"):
        model.train("yes")


@pytest.mark.parametrize("to_none", [True, False])
def test_zero_grad_forgets_or_fills(to_none: bool) -> None:
    model = Tied()
    mg.sum(model(mg.Tensor(np.ones((2, 3))))).backward()
    assert model.scale.grad.any()
    model.zero_grad(*[] if to_none else [False])  # None is the default
    assert model.scale.grad is None if to_none else model.scale.grad.tolist() == [0.0]
    assert model.more[0].weight.grad is None  # no pass has reached it, and zero_grad does not pretend one has


# State


def test_state_dict_gives_copies_under_every_name() -> None:
    model = Tied()
    state = model.state_dict()
    assert list(state) == [*NAMES[:3], "again.weight", "again.bias", *NAMES[3:]]
    assert all(type(array) is np.ndarray for array in state.values())
    for array in state.values():
        array[...] = 99.0
    assert not any((p.numpy() if not p.requires_grad else p.detach().numpy() == 99.0).any() for p in model.parameters())


def test_load_state_dict_restores_and_copies() -> None:
    model, other = nn.MLP(3, [4, 2], rng=0), nn.MLP(3, [4, 2], rng=1)
    state = model.state_dict()
    assert other.load_state_dict(state) == ([], [])
    X = mg.Tensor(np.eye(3))
    assert other(X).tolist() == model(X).tolist()
    state["layers.0.weight"][...] = 0.0
    assert other(X).tolist() == model(X).tolist()


def test_a_state_with_shared_parameters_loads_back() -> None:
    model, other = Tied(), Tied()
    nn.init.constant_(model.again.weight, 7.0)
    other.load_state_dict(model.state_dict())
    assert other.first.weight.tolist() == [[7.0] * 3] * 3


def test_loading_makes_what_was_computed_before_stale() -> None:
    model = nn.Linear(2, 1, rng=0)
    z = mg.sum(mg.square(model(mg.Tensor([[1.0, 2.0]]))))
    model.load_state_dict(model.state_dict())
    with pytest.raises(mg.StaleError):
        z.backward()


def faulty(change: dict[str, object], drop: tuple[str, ...] = ()) -> dict[str, object]:
    state: dict[str, object] = dict(nn.MLP(3, [4, 2], rng=1).state_dict())
    return {name: array for name, array in {**state, **change}.items() if name not in drop}


FAULTS = {
    "missing": (faulty({}, ("layers.0.bias", "layers.2.bias")),
                r'Missing key\(s\) in state_dict: "layers.0.bias", "layers.2.bias"'),
    "unexpected": (faulty({"extra": [1.0]}), r'Unexpected key\(s\) in state_dict: "extra"'),
    "shape": (faulty({"layers.2.weight": np.zeros((2, 5))}),
              r"size mismatch for layers.2.weight: copying a param with shape \(2, 5\) from checkpoint, "
              r"the shape in current model is \(2, 4\)"),
    "ragged": (faulty({"layers.2.bias": [[1.0, 2.0], [3.0]]}), r"layers.2.bias: no regular array: "),
    "scalar": (faulty({"layers.2.bias": 1.0}), r"size mismatch for layers.2.bias: .* shape \(\)"),
    "strings": (faulty({"layers.2.bias": ["a", "b"]}), "layers.2.bias: expected real numbers, got .* <U1"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_refused_load_the_model_is_as_it_was(fault: str) -> None:
    """All or nothing: the fault is in the last names, and the first are not written either."""
    state, message = FAULTS[fault]
    model = nn.MLP(3, [4, 2], rng=0)
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"(?s)Error\(s\) in loading state_dict for MLP.*" + message):
        model.load_state_dict(state)
    after = model.state_dict()
    assert all((after[name] == before[name]).all() for name in before)


def test_load_state_dict_not_strict_returns_what_it_passed_over() -> None:
    model = nn.MLP(3, [4, 2], rng=0)
    result = model.load_state_dict(faulty({"extra": [1.0]}, ("layers.0.bias",)), strict=False)
    assert result.missing_keys == ["layers.0.bias"]
    assert result.unexpected_keys == ["extra"]
    assert (
        model.state_dict()["layers.2.weight"].tolist()
        == nn.MLP(3, [4, 2], rng=1).state_dict()["layers.2.weight"].tolist()
    )


def test_load_state_dict_wants_a_mapping() -> None:
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like, got list"):
        nn.Linear(1, 1).load_state_dict([1.0])


def test_loading_keeps_the_dtype_of_the_model() -> None:
    model = nn.Linear(3, 2, rng=0, dtype=np.float32)
    model.load_state_dict(nn.Linear(3, 2, rng=1).state_dict())
    assert model.weight.dtype == np.float32


# Copies


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"]
)
def test_copies_compute_the_same_and_share_nothing(duplicate) -> None:
    model = nn.MLP(3, [4, 2], rng=0)
    X = mg.Tensor(np.eye(3))
    twin = duplicate(model)
    assert twin(X).tolist() == model(X).tolist()
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in twin.parameters())
    mg.sum(twin(X)).backward()
    assert all(p.grad is None for p in model.parameters())
    nn.init.zeros_(twin.layers[0].weight)
    assert model.layers[0].weight.detach().numpy().any()


def test_copies_keep_sharing_inside() -> None:
    """A layer in two places stays one layer."""
    for twin in (copy.deepcopy(Tied()), pickle.loads(pickle.dumps(Tied()))):
        assert twin.first is twin.again
        assert twin.scale.name == "scale"
        assert [name for name, _ in twin.named_parameters()] == NAMES


def test_losses_and_optimisers_copy_and_pickle() -> None:
    model = nn.Linear(2, 1, rng=0)
    loss = nn.BCEWithLogitsLoss(reduction="batchmean")
    optimizer = nn.optim.Adam(model.parameters(), lr=0.1)
    loss(model(mg.Tensor([[1.0, 2.0]])), [[1.0]]).backward()
    optimizer.step()
    for twins in (copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        twin, its_loss, its_optimizer = twins((model, loss, optimizer))
        assert its_loss.reduction == "batchmean"
        assert its_optimizer.param_groups[0]["params"][0] is twin.weight
        its_loss(twin(mg.Tensor([[1.0, 2.0]])), [[1.0]]).backward()
        its_optimizer.step()
        assert twin.weight.tolist() != model.weight.tolist()


def test_repr_is_torchs() -> None:
    model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Sequential(nn.Tanh(), nn.Softmax(axis=1)), nn.ReLU())
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): Tanh()\n"
        "    (1): Softmax(axis=1)\n"
        "  )\n"
        "  (2): ReLU()\n"
        ")"
    )


def test_a_module_remembers_in_which_call_a_node_was_made(monkeypatch) -> None:
    """By creation numbers; of the last calls only, and never in a copy."""
    model = nn.MLP(2, [3, 1], rng=0)
    outputs = [model(mg.Tensor([[1.0, 2.0]])) for _ in range(2)]
    for output, (begun, ended) in zip(outputs, model.calls(), strict=True):
        made = [node._number for node in mg.topological_order(output) if node.rule is not None]
        assert all(begun < number < ended for number in made)
    inner = [call for child in model.modules() if child is not model for call in child.calls()]
    assert all(any(begun <= a < b <= ended for begun, ended in model.calls()) for a, b in inner)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied.calls() == []
    monkeypatch.setattr("nn.module.CALLS", 4)
    tanh = nn.Tanh()
    for k in range(20):
        tanh(mg.Tensor([0.0]))
        assert min(k + 1, 4) <= len(tanh.calls()) <= 8
        assert tanh.calls_since() == (tanh.calls()[0][0] if k + 1 > len(tanh.calls()) else 0)
    assert tanh.calls()[-1][1] == mg.Value(0.0)._number - 1
    assert copy.deepcopy(tanh).calls_since() == 0


# ------------------------------------------------------------------------------------------ where nodes are made


def lines_of(output: mg.Tensor) -> list[str]:
    return [node.site.text for node in mg.topological_order(output) if not node.is_leaf]


class Doubled(nn.Module):
    def forward(self, x):
        return x + x  # the user's forward


def test_what_modules_make_is_made_at_the_line_that_calls_them() -> None:
    model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Sigmoid(), nn.MLP(3, [2, 1], rng=0))
    y = model(mg.Tensor(np.ones((4, 2))))  # the call
    assert {line.partition("  # ")[2] for line in lines_of(y)} == {"the call"}


def test_the_users_forward_within_a_module_has_its_own_lines() -> None:
    model = nn.Sequential(nn.Linear(2, 2, rng=0), Doubled(), nn.Sigmoid())
    y = model(mg.Tensor(np.ones((4, 2))))  # the call
    assert [line.partition("  # ")[2] for line in lines_of(y)] == ["the call", "the user's forward", "the call"]


def test_a_hook_within_a_module_has_its_own_lines() -> None:
    def halved(module, inputs, output):
        return output * 0.5  # the hook

    model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Sigmoid())
    model[0].register_forward_hook(halved)
    y = model(mg.Tensor(np.ones((4, 2))))  # the call
    assert [line.partition("  # ")[2] for line in lines_of(y)] == ["the call", "the hook", "the call"]


def test_a_forward_of_one_modules_own_has_its_own_lines() -> None:
    layer = nn.Sigmoid()
    layer.forward = lambda x: x * 2  # its own
    y = nn.Sequential(nn.Linear(2, 2, rng=0), layer)(mg.Tensor(np.ones((4, 2))))  # the call
    assert [line.partition("  # ")[2] for line in lines_of(y)] == ["the call", "its own"]


def test_a_call_that_fails_leaves_no_line_behind() -> None:
    model = nn.Sequential(nn.Linear(2, 2, rng=0), Doubled())
    with pytest.raises(ValueError, match="linear"):
        model(mg.Tensor(np.ones((4, 3))))
    y = nn.functional.mse_loss(mg.Tensor([1.0], requires_grad=True), [2.0])  # afterwards
    assert {line.partition("  # ")[2] for line in lines_of(y)} == {"afterwards"}


class Scaled(nn.Linear):
    @property
    def weight(self):
        return self.v * 2.0  # the property

    @weight.setter
    def weight(self, weight):
        self.v = weight


class Called(nn.Sigmoid):
    def __call__(self, x):
        return super().__call__(x * 2.0)  # its own call


def test_what_a_users_class_computes_for_a_forward_of_ours_has_its_own_lines() -> None:
    y = nn.Sequential(Scaled(2, 2, rng=0), nn.Sigmoid())(mg.Tensor(np.ones((4, 2))))  # the call
    assert [line.partition("  # ")[2] for line in lines_of(y)] == ["the property", "the call", "the call"]


def test_a_users_call_of_a_module_within_another_has_its_own_lines() -> None:
    y = nn.Sequential(nn.Linear(2, 2, rng=0), Called(), nn.Tanh())(mg.Tensor(np.ones((4, 2))))  # the call
    assert [line.partition("  # ")[2] for line in lines_of(y)] == ["the call", *["its own call"] * 2, "the call"]


def test_a_forward_put_into_a_class_of_ours_has_its_own_lines(monkeypatch) -> None:
    ours = nn.Tanh.forward
    monkeypatch.setattr(nn.Tanh, "forward", lambda module, x: ours(module, x * 2.0))  # the patch
    y = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Tanh())(mg.Tensor(np.ones((4, 2))))  # the call
    assert [line.partition("  # ")[2] for line in lines_of(y)] == ["the call", *["the patch"] * 2]


def test_a_users_call_of_a_module_is_watched_as_any_function_is() -> None:
    model = nn.Sequential(nn.Linear(2, 2, rng=0), Called())
    step = mg.compile(lambda x: mg.sum(model(x)))
    x = mg.Tensor(np.ones((4, 2)))
    for _ in range(3):
        assert step(x).item() == pytest.approx(mg.sum(model(x)).item(), rel=1e-14)
    assert step.replays == 2


def test_what_a_users_tensor_computes_within_a_module_has_its_own_lines(monkeypatch) -> None:
    monkeypatch.setattr(mg.sites, "users_faces", set())
    monkeypatch.setattr("nn.module.users_faces", mg.sites.users_faces)  # the other tests' are forgotten

    class Noted(mg.Tensor):
        def __sub__(self, other):
            return super().__sub__(other) * 2.0  # its own

    y = nn.HuberLoss()(Noted([1.0, 2.0], requires_grad=True), mg.Tensor([0.0, 0.0]))  # the call
    assert [line.partition("  # ")[2] for line in lines_of(y)][:2] == ["its own"] * 2
    assert lines_of(y)[-1].endswith("# the call")
