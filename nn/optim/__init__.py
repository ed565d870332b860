"""Optimisers: the gradient step v' = v - lr dC/dv and its descendants. Names, signatures and values are torch's.

`optimizer` holds what all of them share; each family has a module of its own, with its recurrence and its paper;
`lr_scheduler` changes the learning rate from epoch to epoch; `clipping` cuts gradients to a size.
"""

from nn.optim import lr_scheduler
from nn.optim.adagrad import Adagrad
from nn.optim.adam import Adam, AdamW
from nn.optim.clipping import clip_grad_norm_, clip_grad_value_
from nn.optim.optimizer import Optimizer
from nn.optim.rmsprop import RMSprop
from nn.optim.sgd import SGD

__microgrid_machinery__ = True

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm_",
    "clip_grad_value_",
    "lr_scheduler",
]
