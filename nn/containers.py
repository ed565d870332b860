"""Containers: modules that hold modules, in a row or by name. The names are torch's."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import microgrid as mg
from nn.module import Module

if TYPE_CHECKING:
    from nn import scalar

__microgrid_machinery__ = True


class ModuleList(Module):
    """Modules in a row, for a `forward` of yours that walks over them.

    A plain list as an attribute does the same (`self.layers = [a, b]`): its modules are found too. This one has the
    names of torch: `0.weight`, `1.weight`, ...

    Parameters
    ----------
    modules : iterable of Module

    Raises
    ------
    TypeError
        If one is no Module.

    Examples
    --------
    >>> import nn
    >>> layers = ModuleList([nn.Linear(2, 3, rng=0), nn.Tanh()])
    >>> len(layers), layers[-1], [name for name, _ in layers.named_parameters()]
    (2, Tanh(), ['0.weight', '0.bias'])
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    def append(self, module: Module) -> Self:
        """Put one more module at the end; returns the container."""
        setattr(self, str(len(self)), self._checked(module))
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Put more modules at the end; returns the container."""
        for module in _several(type(self).__name__, modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before another; returns the container."""
        stack = list(self)
        stack.insert(index, self._checked(module))
        return self._refilled(stack)

    def __iter__(self) -> Iterator[Module]:
        # Not children(): a module that stands in two places is applied twice.
        return (module for module in vars(self).values() if isinstance(module, Module))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: Any) -> Any:
        stack = list(self)
        if isinstance(index, slice):
            return self._of(stack[index])
        return stack[self._place(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, str(self._place(index)), self._checked(module))

    def __delitem__(self, index: int | slice) -> None:
        stack = list(self)
        del stack[index]
        self._refilled(stack)

    def _of(self, modules: list[Module]) -> ModuleList:
        """A container of these modules."""
        return ModuleList(modules)

    def _refilled(self, modules: list[Module]) -> Self:
        for name in [name for name, module in vars(self).items() if isinstance(module, Module)]:
            delattr(self, name)
        return self.extend(modules)

    def _place(self, index: Any) -> int:
        try:
            return range(len(self))[operator.index(index)]
        except (IndexError, TypeError) as error:
            raise type(error)(
                f"{type(self).__name__}: index {index!r} of {len(self)} modules, expected an integer within them, "
                f"at {mg.sites.here()}"
            ) from None

    def _checked(self, module: Module) -> Module:
        if isinstance(module, Module):
            return module
        name, how = type(self).__name__, "nn.Linear(2, 3), nn.Sigmoid()"
        how = f"[{how}]" if name == "ModuleList" else how
        raise TypeError(
            f"{name}: expected modules, got {module!r}; write nn.{name}({how}), instances one by one, "
            f"at {mg.sites.here()}"
        )


class Sequential(ModuleList):
    """Modules one after another: f^L(... f^1(x)).

    Parameters
    ----------
    *modules : Module
        In the order in which they are applied. They are named "0", "1", ...

    Raises
    ------
    TypeError
        If one is no Module.

    Examples
    --------
    >>> import nn
    >>> net = Sequential(nn.Linear(2, 3, rng=0), nn.Sigmoid(), nn.Linear(3, 1, rng=1))
    >>> net(mg.Tensor([[1.0, 2.0]])).shape
    (1, 1)
    >>> len(net), net[1], net[:2][0] is net[0]
    (3, Sigmoid(), True)
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """What the first module takes, to what the last gives."""
        for module in vars(self).values():
            if isinstance(module, Module):
                input = module(input)
        return input

    def to_scalar(self, *, fused: bool = False) -> scalar.MLP:
        """The same network made of Values; see `nn.to_scalar`."""
        from nn.scalar import to_scalar  # here, since it is built on this module

        return to_scalar(self, fused=fused)

    def _of(self, modules: list[Module]) -> ModuleList:
        return Sequential(*modules)


class ModuleDict(Module):
    """Modules by name, for a `forward` of yours that chooses among them; a plain dict as an attribute does the same.

    Parameters
    ----------
    modules : mapping of str to Module

    Raises
    ------
    TypeError
        If one is no Module, or a name no text.
    KeyError
        If a name is an attribute of every ModuleDict, such as "keys", is empty, or has a dot.

    Examples
    --------
    >>> import nn
    >>> heads = ModuleDict({"mean": nn.Linear(2, 1, rng=0), "spread": nn.Softplus()})
    >>> list(heads), heads["spread"], "mean" in heads, [name for name, _ in heads.named_parameters()]
    (['mean', 'spread'], Softplus(beta=1.0), True, ['mean.weight', 'mean.bias'])
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Take in more modules; those of the same names are replaced."""
        if not isinstance(modules, Mapping):
            raise TypeError(
                f"ModuleDict: expected a dict of modules, got {type(modules).__name__}, at {mg.sites.here()}"
            )
        for name, module in modules.items():
            self[name] = module

    def keys(self) -> Iterator[str]:
        """The names."""
        return iter(self)

    def values(self) -> Iterator[Module]:
        """The modules."""
        return (module for _, module in self.items())

    def items(self) -> Iterator[tuple[str, Module]]:
        """Names and modules."""
        return ((name, module) for name, module in vars(self).items() if isinstance(module, Module))

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.items())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __getitem__(self, name: str) -> Module:
        if name not in self:
            raise KeyError(f"ModuleDict: no module {name!r}, only {', '.join(self) or 'none'}, at {mg.sites.here()}")
        return vars(self)[name]  # type: ignore[no-any-return]

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(name, str) or not isinstance(module, Module):
            raise TypeError(f"ModuleDict: expected text and a module, got {name!r}: {module!r}, at {mg.sites.here()}")
        if not name or "." in name or (hasattr(self, name) and name not in self):
            raise KeyError(f"ModuleDict: {name!r} is taken, or no name for an attribute, at {mg.sites.here()}")
        setattr(self, name, module)

    def __delitem__(self, name: str) -> None:
        found = self[name]
        vars(self).pop(name, found)


def _several(name: str, modules: Iterable[Module]) -> list[Module]:
    if isinstance(modules, Module) and not isinstance(modules, ModuleList):
        raise TypeError(f"{name}: expected several modules, got {modules!r:.60}, at {mg.sites.here()}")
    try:
        return list(modules)
    except TypeError:
        raise TypeError(f"{name}: expected several modules, got {modules!r:.60}, at {mg.sites.here()}") from None
