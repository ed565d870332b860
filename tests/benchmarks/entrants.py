"""Who takes part in what: the engines, their labels in the tables, and whose time is 1."""

from typing import NamedTuple


class Entrant(NamedTuple):
    label: str
    engine: str
    options: tuple[str, ...] = ()
    against: str = ""  # the label whose time is 1; that of the workload if empty
    captures: bool = False  # its first step compiles or records
    slow: bool = False  # and takes seconds: it is not part of a quick run

    @property
    def ours(self) -> bool:
        return self.label.startswith("microgrid")


class Workload(NamedTuple):
    title: str
    entrants: list[Entrant]
    against: str
    speed: bool = False  # how many times as fast is shown, instead of the time over that of the other
    quick: bool = True
    rounds: int = 15  # at most: a step may last seconds
    threads: bool = False  # worth a second look with as many threads as each engine likes


SCALARS = [
    Entrant("micrograd", "micrograd"),
    Entrant("microgrid, sites off", "microgrid", ("--no-sites",)),
    Entrant("microgrid", "microgrid"),
    Entrant("microgrid, a node a neuron", "microgrid_dot"),
    Entrant("microgrid, compiled, Python", "microgrid_python", captures=True),
    Entrant("microgrid, compiled, levels", "microgrid_levels", captures=True),
    Entrant("torch, scalars", "torch"),
    Entrant("micrograd, collector off", "micrograd", ("--no-collector",), "micrograd, collector off"),
    Entrant(
        "microgrid, sites and collector off",
        "microgrid",
        ("--no-sites", "--no-collector"),
        "micrograd, collector off",
    ),
]
CHAINS = [
    Entrant("a loop of floats by hand", "by_hand"),
    Entrant("microgrid, sites off", "microgrid", ("--no-sites",)),
    Entrant("microgrid", "microgrid"),
    Entrant("micrograd", "micrograd"),
    Entrant("torch, scalars", "torch"),
]
OURS = [
    Entrant("closed-form NumPy", "closed_form"),
    Entrant("NumPy, buffers tuned by hand", "tuned"),
    Entrant("microgrid, sites off", "microgrid", ("--no-sites",)),
    Entrant("microgrid", "microgrid"),
    Entrant("microgrid, compiled", "microgrid_compiled", captures=True),
    Entrant("microgrid, compiled, C", "microgrid_c", captures=True),
]
PEERS = [
    Entrant("torch, eager", "torch"),
    Entrant("torch.compile, whole step", "torch_compiled", captures=True, slow=True),
    Entrant("jax.jit, a call a step", "jax", captures=True),
    Entrant("jax lax.scan, 100 steps a call", "jax_scan", captures=True),
    Entrant("numba, closed form", "numba", captures=True, slow=True),
    Entrant("HIPS autograd", "autograd"),
    Entrant("tinygrad, JIT", "tinygrad", captures=True, slow=True),
    Entrant("scikit-learn, partial_fit", "scikit_learn"),
]
ARRAYS = OURS + PEERS
VARIANT = OURS + [peer for peer in PEERS if not peer.slow]

MICROGRAD, TORCH, CLOSED_FORM = "micrograd", "torch, scalars", "closed-form NumPy"
WORKLOADS = {
    "S1a": Workload("scalars 2-16-16-1, relu, hinge, 100 samples", SCALARS, MICROGRAD, speed=True, quick=False),
    "S1b": Workload("scalars 2-16-16-1, sigmoid, BCE, 100 samples", SCALARS, MICROGRAD, speed=True),
    "S2-chain": Workload("a chain of 100,000 products, forward and backward", CHAINS, TORCH, quick=False),
    "S2-deep": Workload("a chain of 1,000,000 products, forward and backward", CHAINS, TORCH, quick=False, rounds=5),
    "S2-sum": Workload("the sum of 100,000 leaves, forward and backward", CHAINS, TORCH, quick=False),
    "S3": Workload("scalars 2-4-1, sigmoid, BCE, one sample", SCALARS, MICROGRAD, speed=True),
    "T1": Workload("arrays 2-16-16-1, sigmoid, BCE, batch 100", ARRAYS, CLOSED_FORM, threads=True),
    "T2": Workload("arrays 64-128-128-10, sigmoid, softmax, batch 64", ARRAYS, CLOSED_FORM, threads=True),
    "T3": Workload("arrays 784-256-256-10, sigmoid, softmax, batch 256", ARRAYS, CLOSED_FORM, threads=True),
    "T4": Workload("arrays 30-16-1, sigmoid, BCE, batch 569", ARRAYS, CLOSED_FORM, threads=True),
    "T1-tanh": Workload("T1 with tanh", VARIANT, CLOSED_FORM, quick=False),
    "T1-deeper": Workload("T1 with three hidden layers of 16", VARIANT, CLOSED_FORM, quick=False),
    "T1-mse": Workload("T1 with squared error", VARIANT, CLOSED_FORM, quick=False),
    "T1-batches": Workload("T1 in batches of 32, 32, 32 and 4", VARIANT, CLOSED_FORM, quick=False),
}
