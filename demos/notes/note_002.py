"""Note 002: any activation g per layer, squared error, one datapoint at a time, in indices; then the mean.

Its layers are numbered 0 to L-1, so that a[-1] = x and a[L-1] = xhat. The last layer has g(z) = z. c[i] is the cost of
datapoint i, and C their mean; D is also the number of datapoints.
"""

from demos.notes.claim import Claim

CLAIMS = (
    Claim(
        id="002.1",
        quote="Vector = x, y, b, a, z",
        why="it says which letters are vectors, matrices, scalars and functions",
    ),
    Claim(
        id="002.2",
        quote=r"f_{NN}(x) = f \left(f^{L-1} \left(\dots f^1 \left(f^0(x) \right) \right) \right) = \hat{x}",
        written="xhat = f[L-1](f[1](f[0](x)))",
        assumes="L layers, 0 to L-1: the outermost f, which bears no index, is f^{L-1} itself",
        why="with an outermost f beside f^{L-1} there would be L + 1 layers",
        world="002 sample",
    ),
    Claim(
        id="002.3",
        quote="Neural Network is a composed function with minimizes a loss function C",
        assumes="the parameters are meant to have been trained",
        why="the network is the function; it is the training that picks parameters which minimise C",
    ),
    Claim(
        id="002.4",
        quote=r"\text{Dataset} = D = \{(x^i, y^i)\}",
        why="it defines the data as pairs of input and target",
    ),
    Claim(
        id="002.5",
        quote=r"\min_C C(f_{NN}(x^i), y^i)",
        why="C is what becomes small; what one chooses are W and b, and the cost is the mean over all of the data",
    ),
    Claim(
        id="002.6",
        quote=r"\hat{a}^L = x \quad \hat{a}^{L-1} = \hat{x}",
        why="x goes in before layer 0, so it is a^{-1}: a^L would lie behind the output a^{L-1} = xhat",
    ),
    Claim(
        id="002.7",
        quote=r"C = (\hat{x} - x)^2",
        written="C = sum((xhat - x)**2)",
        corrected="C = sum((xhat - x)**2)",
        assumes="an autoencoder, whose target y is its input x; and a sum over the outputs",
        why="elsewhere in the note the target is y",
        world="002 autoencoder",
    ),
    Claim(
        id="002.8",
        quote="g^L(z) = z",
        written="a[L-1] = z[L-1]; d(a[L-1][i], z[L-1][j]) = kron(i, j)",
        world="002 sample",
    ),
    Claim(
        id="002.9",
        quote="g = g",
        why="it says that the other layers keep the activation g, whichever that is",
    ),
    Claim(
        id="002.10",
        quote=r"f^L(a^{L-1}) = a^L = g^L \left(W^L \cdot a^{L-1} + b^L \right)",
        written="a[l] = g[l](W[l] @ a[l-1] + b[l])",
        world="002 sample",
        over="l in 0..L-1",
    ),
    Claim(
        id="002.11",
        quote=r"z_1 \\ z_2 \\ \vdots \\ z_M \end{bmatrix} = z^L = \begin{bmatrix} w_{11} & w_{12} & \dots & w_{1N}",
        written="z[l] = W[l] @ a[l-1] + b[l]",
        world="002 sample",
        over="l in 0..L-1",
    ),
    Claim(
        id="002.12",
        quote=r"(w_{m1}^L \cdot a_1^{L-1} + w_{m2}^L \cdot a_2^{L-1} + \dots + w_{mN}^L \cdot a_N^{L-1} + b_m^L)",
        written="z[l][m] = sum(W[l][m, n] * a[l-1][n] for n in rows(a[l-1])) + b[l][m]",
        world="002 sample",
        over="l in 0..L-1",
    ),
    Claim(
        id="002.13",
        quote=r"\frac{\partial C}{\partial \hat{x}} = 2(\hat{x}_n - y_n)^2",
        written="d(C, xhat[n]) = 2 * (xhat[n] - y[n])**2",
        corrected="d(C, xhat[n]) = 2 * (xhat[n] - y[n])",
        why="the exponent comes down as the factor 2, and was left standing too",
        world="002 sample",
    ),
    Claim(
        id="002.14",
        quote=r"\frac{\partial C}{\partial a_n^{l-1}} = \begin{cases} \text{if } l = L-1",
        written="D * d(C, a[L-2]) = 2 * (xhat - y)",
        corrected="D * d(C, a[L-1]) = 2 * (xhat - y)",
        why="the left side is a^{l-1}, which at l = L-1 is the last hidden layer; dC/dxhat is the case a^{L-1}",
        world="002 batch",
    ),
    Claim(
        id="002.15",
        quote=r"\sum_{m=0}^{M-1} \frac{\partial C}{\partial a_m^l} g'^l(z_m^l) \cdot W_{mn}^l",
        written="d(C, a[l-1][n]) = sum(d(C, a[l][m]) * g_prime[l](z[l][m]) * W[l][m, n] for m in rows(a[l]))",
        corrected="d(C, a[l-1][n]) = sum(d(C, a[l][m]) * g_prime[l](z[l][m]) * W[l][m, n] for m in rows(a[l])); "
        "d(C, a[l-1]) = W[l].T @ (d(C, a[l]) * g_prime[l](z[l]))",
        world="002 sample",
        over="l in 0..L-1",
    ),
    Claim(
        id="002.16",
        quote=r"\frac{\partial C}{\partial a_m^l} g'^l(z_m^l) \cdot a_n^{l-1}",
        written="d(C, W[l][m, n]) = d(C, a[l][m]) * d(a[l][m], z[l][m]) * d(z[l][m], W[l][m, n])"
        " = d(C, a[l][m]) * g_prime[l](z[l][m]) * a[l-1][n]",
        world="002 sample",
        over="l in 0..L-1",
    ),
    Claim(
        id="002.17",
        quote=r"\frac{\partial z_m^l}{\partial b_m^l} = \frac{\partial C}{\partial a_m^l} g'^l(z_m^l)",
        written="d(C, b[l][m]) = d(C, a[l][m]) * d(a[l][m], z[l][m]) * d(z[l][m], b[l][m])"
        " = d(C, a[l][m]) * g_prime[l](z[l][m])",
        world="002 sample",
        over="l in 0..L-1",
    ),
    Claim(
        id="002.18",
        quote="THESE EQUATIONS DESCRIBE GRADIENT DESCENT",
        why="they are back-propagation, which finds the gradient; descent is the step along it, in lines 61 and 65",
    ),
    Claim(
        id="002.19",
        quote=r"once we have $\frac{\partial C}{\partial a_n^l}$ and $\frac{\partial C}{\partial b_m^l}$",
        why="the step changes W and b, so it needs dC/dW and dC/db; dC/da only leads there",
    ),
    Claim(
        id="002.20",
        quote="To get the true correction we must average it over all datapoints.",
        written="d(C, W[l]) = sum(d(c[i], W[l]) for i in samples) / D; "
        "d(C, b[l]) = sum(d(c[i], b[l]) for i in samples) / D",
        world="002 batch",
        over="l in 0..L-1",
    ),
    Claim(
        id="002.21",
        quote=r"W_{mn}^l - \rho \cdot \frac{1}{D} \sum_{d=0}^{D-1} \frac{\partial C_d}{\partial W_{mn}^l}",
        written="after(W[l]) = W[l] - rho * 1 / D * sum(d(c[i], W[l]) for i in samples)",
        world="002 batch",
        over="l in 0..L-1",
    ),
    Claim(
        id="002.22",
        quote=r"b_m^l - \rho \cdot \frac{1}{D} \sum_{d=0}^{D-1} \frac{\partial C_d}{\partial b_m^l}",
        written="after(b[l]) = b[l] - rho * 1 / D * sum(d(c[i], b[l]) for i in samples)",
        world="002 batch",
        over="l in 0..L-1",
    ),
    Claim(
        id="002.23",
        quote="HEIGHT OF LAYER l",
        written="shape(W[l]) = (len(a[l]), len(a[l-1]))",
        assumes="M is the height of layer l, the rows of W^l, and N that of the layer before",
        why="the note writes the labels beside the formulas, without saying which letter each belongs to",
        world="002 sample",
        over="l in 0..L-1",
    ),
)
