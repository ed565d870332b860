"""The mathematics: every operation once, its value beside its derivatives.

    x, y    inputs                     g    dL/dz, the gradient that comes from above
    z       the value                  wrt_x    this input's share of dL/dx = g dz/dx

A share may have any shape that broadcasts to the shape of its input, or that its input was broadcast to:
the walk sums or spreads it (once, for all rules). Words after the star have no derivative. A rule without a
`value` is elementary: each kind of number supplies it (`kinds.py`). Constants are integers, so that fractions
and symbols stay exact. What happens at kinks and outside domains is torch's choice; `tests` hold the table.
"""

from functools import reduce
from operator import add as plus, mul as times

from microgrid.rule import Rule
from microgrid.shapes import (
    count,
    einsum_adjoints,
    freedom,
    inverse,
    kept,
    last,
    matrices,
    ones,
    pieces,
    rows,
    slots,
    ties,
)

__microgrid_machinery__ = True

# ------------------------------------------------------------------------------------------- arithmetic


class add(Rule):
    """z = x + y"""
    def value(x, y):                return x + y
    def wrt_x(g, z, x, y):          return g
    def wrt_y(g, z, x, y):          return g


class subtract(Rule):
    """z = x - y"""
    def value(x, y):                return x - y
    def wrt_x(g, z, x, y):          return g
    def wrt_y(g, z, x, y):          return -g


class multiply(Rule):
    """z = x y"""
    def value(x, y):                return x * y
    def wrt_x(g, z, x, y):          return g * y
    def wrt_y(g, z, x, y):          return g * x


class divide(Rule):
    """z = x / y"""
    def value(x, y):                return x / y
    def wrt_x(g, z, x, y):          return g / y
    def wrt_y(g, z, x, y):          return g * (-z / y)


class negative(Rule):
    """z = -x"""
    def value(x):                   return -x
    def wrt_x(g, z, x):             return -g


class positive(Rule):
    """z = x, as a node of its own"""
    def value(x):                   return x
    def wrt_x(g, z, x):             return g


class power(Rule):
    """z = x^y; at x = 0 what is multiplied by 0 is not looked at: d(x^0)/dx = 0, 0 times any power, and d(0^y)/dy = 0"""
    def value(x, y):                return x ** y
    def wrt_x(g, z, x, y):          return g * (y * where((x == 0) & (y == 0), 1, x) ** (y - 1))
    def wrt_y(g, z, x, y):          return g * where((x == 0) & (y >= 0), 0, z * log(x))


class square(Rule):
    """z = x^2"""
    def value(x):                   return x * x
    def wrt_x(g, z, x):             return g * (2 * x)


# --------------------------------------------------------------------------- elementary functions of one number


class exp(Rule):
    """z = e^x"""
    def wrt_x(g, z, x):             return g * z


class log(Rule):
    """z = ln x"""
    def wrt_x(g, z, x):             return g / x


class log1p(Rule):
    """z = ln(1 + x)"""
    def wrt_x(g, z, x):             return g / (1 + x)


class expm1(Rule):
    """z = e^x - 1"""
    def wrt_x(g, z, x):             return g * exp(x)


class sqrt(Rule):
    """z = x^(1/2)"""
    def wrt_x(g, z, x):             return g / (2 * z)


class abs(Rule):
    """z = |x|; 0 at the kink"""
    def wrt_x(g, z, x):             return g * sign(x)


class sign(Rule):
    """z = -1, 0 or 1"""
    def wrt_x(g, z, x):             return g * 0


class sin(Rule):
    """z = sin x"""
    def wrt_x(g, z, x):             return g * cos(x)


class cos(Rule):
    """z = cos x"""
    def wrt_x(g, z, x):             return g * -sin(x)


class tan(Rule):
    """z = tan x"""
    def wrt_x(g, z, x):             return g * (1 + z * z)


class tanh(Rule):
    """z = tanh x"""
    def wrt_x(g, z, x):             return g * (1 - z * z)


class sigmoid(Rule):
    """z = 1 / (1 + e^-x)"""
    def wrt_x(g, z, x):             return g * (z * (1 - z))


class softplus(Rule):
    """z = ln(1 + e^x), written so that neither end overflows"""
    def value(x):                   return maximum(x, 0) + log1p(exp(-abs(x)))
    def wrt_x(g, z, x):             return g * sigmoid(x)


class logsigmoid(Rule):
    """z = ln sigmoid(x)"""
    def value(x):                   return minimum(x, 0) - log1p(exp(-abs(x)))
    def wrt_x(g, z, x):             return g * sigmoid(-x)


# ------------------------------------------------------------------------------------------ choices and kinks


class relu(Rule):
    """z = max(x, 0); 0 at the kink, 1 at nan"""
    def value(x):                   return where(x <= 0, 0, x)
    def wrt_x(g, z, x):             return where(x <= 0, 0, g)


class leaky_relu(Rule):
    """z = x where x > 0, else s x"""
    def value(x, *, negative_slope):                return where(x > 0, x, negative_slope * x)
    def wrt_x(g, z, x, *, negative_slope):          return where(x > 0, g, g * negative_slope)


class maximum(Rule):
    """z = the larger; both halves at a tie"""
    def wrt_x(g, z, x, y):          return where(x == y, g / 2, where(x < y, 0, g))
    def wrt_y(g, z, x, y):          return where(x == y, g / 2, where(x > y, 0, g))


class minimum(Rule):
    """z = the smaller; both halves at a tie"""
    def wrt_x(g, z, x, y):          return where(x == y, g / 2, where(x > y, 0, g))
    def wrt_y(g, z, x, y):          return where(x == y, g / 2, where(x < y, 0, g))


class clip(Rule):
    """z = x held between min and max; 1 at a bound"""
    def value(x, *, min, max):                      return where(x < min, min, where(x > max, max, x))
    def wrt_x(g, z, x, *, min, max):                return where((x >= min) & (x <= max), g, 0)


class where(Rule):
    """z = x where c holds, else y"""
    constant = ("c",)
    def wrt_x(g, z, c, x, y):       return where(c, g, 0)
    def wrt_y(g, z, c, x, y):       return where(c, 0, g)


# -------------------------------------------------------------------------------------------------- products


class matmul(Rule):
    """z = x y; a vector x is one row, a vector y is one column"""
    def value(x, y):
        return x @ y
    def wrt_x(g, z, x, y):
        g, x, y = matrices(g, x, y)
        return g @ y.mT
    def wrt_y(g, z, x, y):
        vector = y.ndim == 1
        g, x, y = matrices(g, x, y)
        return (x.mT @ g)[..., 0] if vector else x.mT @ g


class linear(Rule):
    """z = x W^T + b, samples in rows"""
    def value(x, W, b):             return x @ W.T + b
    def wrt_x(g, z, x, W, b):       return g @ W
    def wrt_W(g, z, x, W, b):       return rows(g).T @ rows(x)
    def wrt_b(g, z, x, W, b):       return g


class einsum(Rule):
    """z = Einstein's sum of products; each share is one too, of g with the other operands"""
    def wrt_xs(g, z, *xs, subscripts):              return einsum_adjoints(einsum, g, xs, subscripts)


class total(Rule):
    """z = x1 + ... + xn"""
    def value(*xs):                 return reduce(plus, xs)
    def wrt_xs(g, z, *xs):          return [g] * len(xs)


class dot(Rule):
    """z = x1 y1 + ... + xn yn, given as x1, ..., xn, y1, ..., yn"""
    def value(*xs):                 return reduce(plus, map(times, xs[:len(xs) // 2], xs[len(xs) // 2:]))
    def wrt_xs(g, z, *xs):          return [g * x for x in xs[len(xs) // 2:] + xs[:len(xs) // 2]]


# ------------------------------------------------------------------------------------------------ reductions


class sum(Rule):
    """z = sum of x over axis"""
    def wrt_x(g, z, x, *, axis, keepdims):          return kept(g, x, axis)


class mean(Rule):
    """z = sum of x over axis, divided by n"""
    def value(x, *, axis, keepdims):                return sum(x, axis=axis, keepdims=keepdims) / count(x, axis)
    def wrt_x(g, z, x, *, axis, keepdims):          return kept(g, x, axis) / count(x, axis)


class max(Rule):
    """z = largest of x; ties share equally"""
    def wrt_x(g, z, x, *, axis, keepdims):          return kept(g, x, axis) * ties(x == kept(z, x, axis), axis)


class min(Rule):
    """z = smallest of x; ties share equally"""
    def wrt_x(g, z, x, *, axis, keepdims):          return kept(g, x, axis) * ties(x == kept(z, x, axis), axis)


class prod(Rule):
    """z = product of x; each share is the product of the others, without a division"""
    def wrt_x(g, z, x, *, axis, keepdims):          return kept(g, x, axis) * others(x, axis)


class var(Rule):
    """z = sum (x - mean)^2 / (n - correction)"""
    def value(x, *, axis, correction, keepdims):
        d = x - mean(x, axis=axis, keepdims=True)
        return sum(d * d, axis=axis, keepdims=keepdims) / freedom(x, axis, correction)
    def wrt_x(g, z, x, *, axis, correction, keepdims):
        d = x - mean(x, axis=axis, keepdims=True)
        return kept(g, x, axis) * (2 * d / freedom(x, axis, correction))


class std(Rule):
    """z = var^(1/2); 0 where all are equal"""
    def value(x, *, axis, correction, keepdims):
        return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))
    def wrt_x(g, z, x, *, axis, correction, keepdims):
        d, s = x - mean(x, axis=axis, keepdims=True), kept(z, x, axis)
        return kept(g, x, axis) * where(s == 0, 0, d / (s * freedom(x, axis, correction)))


class norm(Rule):
    """z = (sum x^2)^(1/2); 0 at 0"""
    def value(x, *, axis, keepdims):                return sqrt(sum(x * x, axis=axis, keepdims=keepdims))
    def wrt_x(g, z, x, *, axis, keepdims):          return kept(g, x, axis) * where(kept(z, x, axis) == 0, 0, x / kept(z, x, axis))


class logsumexp(Rule):
    """z = ln sum e^x, shifted by the largest x"""
    def wrt_x(g, z, x, *, axis, keepdims):          return kept(g, x, axis) * exp(x - kept(z, x, axis))


class softmax(Rule):
    """z = e^x / sum e^x"""
    def wrt_x(g, z, x, *, axis):                    return z * (g - sum(g * z, axis=axis, keepdims=True))


class log_softmax(Rule):
    """z = x - ln sum e^x"""
    def wrt_x(g, z, x, *, axis):                    return g - exp(z) * sum(g, axis=axis, keepdims=True)


class cumsum(Rule):
    """z_i = x_1 + ... + x_i"""
    def wrt_x(g, z, x, *, axis):                    return flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis)


# ----------------------------------------------------------------------------------------- moving numbers about


class reshape(Rule):
    """z = the numbers of x in another shape"""
    def value(x, *, shape):                         return x.reshape(shape)
    def wrt_x(g, z, x, *, shape):                   return reshape(g, shape=x.shape)


class transpose(Rule):
    """z = x with its axes in another order"""
    def value(x, *, axes):                          return x.transpose(axes)
    def wrt_x(g, z, x, *, axes):                    return transpose(g, axes=inverse(axes))


class flip(Rule):
    """z = x backwards along axis"""
    def wrt_x(g, z, x, *, axis):                    return flip(g, axis=axis)


class broadcast_to(Rule):
    """z = x repeated; the adjoint of sum_to"""
    def wrt_x(g, z, x, *, shape):                   return g


class sum_to(Rule):
    """z = x summed over what broadcasting repeated; the adjoint of broadcast_to"""
    def wrt_x(g, z, x, *, shape):                   return g


class astype(Rule):
    """z = x in another precision"""
    def value(x, *, dtype):                         return x.astype(dtype)
    def wrt_x(g, z, x, *, dtype):                   return g


class index(Rule):
    """z = x[at]; the adjoint of scatter"""
    def value(x, *, at):                            return x[at]
    def wrt_x(g, z, x, *, at):                      return scatter(g, at=at, shape=x.shape)


class scatter(Rule):
    """z = 0 but for z[at] += x; the adjoint of index: places named twice add up"""
    def wrt_x(g, z, x, *, at, shape):               return index(g, at=at)


class take_along_axis(Rule):
    """z = x at the places i along axis; the adjoint of add_along_axis"""
    constant = ("i",)
    def wrt_x(g, z, x, i, *, axis):                 return add_along_axis(g, i, axis=axis, shape=x.shape)


class add_along_axis(Rule):
    """z = 0 but for z[i] += x along axis; the adjoint of take_along_axis"""
    constant = ("i",)
    def wrt_x(g, z, x, i, *, axis, shape):          return take_along_axis(g, i, axis=axis)


class concatenate(Rule):
    """z = x1, ..., xn end to end along axis"""
    def wrt_xs(g, z, *xs, axis):                    return [g[at] for at in pieces(xs, axis)]


class stack(Rule):
    """z = x1, ..., xn side by side along a new axis"""
    def wrt_xs(g, z, *xs, axis):                    return [g[at] for at in slots(xs, axis)]


# ---------------------------------------------------------------------------------------------------- losses


class binary_cross_entropy_with_logits(Rule):
    """z = -y ln s(x) - (1 - y) ln(1 - s(x)), s = sigmoid; dz/dx = s(x) - y, without the cancellation at either end"""
    def value(x, y):                return (maximum(x, 0) - y * x) + log1p(exp(-abs(x)))
    def wrt_x(g, z, x, y):          return g * ((1 - y) * sigmoid(x) - y * sigmoid(-x))
    def wrt_y(g, z, x, y):          return g * -x


# ------------------------------------------------------------------------------------------- used by the rules


def others(x, axis):
    """For each number of x, the product of the others along axis: those before it times those after it."""
    order = last(x, axis)                                            # the axes of the product moved to the end
    moved = transpose(x, axes=order)
    row = reshape(moved, shape=(x.size // count(x, axis), count(x, axis)) if x.size else (0, 0))
    z = products_before(row) * flip(products_before(flip(row, axis=1)), axis=1)
    return transpose(reshape(z, shape=moved.shape), axes=inverse(order))


def products_before(x):
    """In each row the running product of what stands before each number: by doubling, in log2(n) multiplications."""
    n, reached = x.shape[1], 1
    z = concatenate(ones(x[:, :1]), x[:, :-1], axis=1)
    while reached < n:
        z = concatenate(z[:, :reached], z[:, reached:] * z[:, :-reached], axis=1)
        reached *= 2
    return z
