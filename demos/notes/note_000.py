"""Note 000: a sigmoid network with cross-entropy, back through its layers, in column layout.

Its letters: A[L] <- Z[L] <- A[L-1] ..., W[l], b[l], Y; m samples in columns. It says "C" both of one sample's cost and
of the mean. Here S is the sum of the samples' costs, C = S / m their mean, and delta[l] = dS/dZ[l], sample by sample.
"""

from demos.notes.claim import Claim

CLAIMS = (
    Claim(
        id="000.1",
        quote="the activation is taken from sigmoid function\nCost is taken from cross entropy",
        written="A[l] = sigma(Z[l]); C = -sum(Y * ln(A[L]) + (1 - Y) * ln(1 - A[L])) / m",
        over="l in 1..L",
    ),
    Claim(
        id="000.2",
        quote="C<-A[L]<-Z[L]<-A[L-1]<-Z[L-1]<-...",
        written="d(C, W[L]) = chain(d(C, A[L]), d(A[L], Z[L]), d(Z[L], W[L])); "
        "d(C, b[L]) = chain(d(C, A[L]), d(A[L], Z[L]), d(Z[L], b[L])); "
        "d(C, W[L-1]) = chain(d(C, A[L]), d(A[L], Z[L]), d(Z[L], A[L-1]), d(A[L-1], Z[L-1]), d(Z[L-1], W[L-1])); "
        "d(C, b[L-1]) = chain(d(C, A[L]), d(A[L], Z[L]), d(Z[L], A[L-1]), d(A[L-1], Z[L-1]), d(Z[L-1], b[L-1]))",
    ),
    Claim(
        id="000.3",
        quote="&C &C &A[L]\n----- = ----- * -----\n&Z[L] &A[L] &Z[L]",
        written="d(C, Z[L]) = d(C, A[L]) * diagonal(d(A[L], Z[L]))",
        corrected="d(C, Z[L]) = d(C, A[L]) * sigma_prime(Z[L])",
        assumes="the product is entry by entry, and dA/dZ stands for the diagonal of that Jacobian",
        why="an activation depends on its own sum alone, so the Jacobian is diagonal and its product is elementwise",
    ),
    Claim(
        id="000.4",
        quote="that transpose to A[L] - Y, where Y means real data",
        written="d(S, Z[L]) = A[L] - Y",
        corrected="d(S, Z[L]) = A[L] - Y; d(C, Z[L]) = (A[L] - Y) / m",
        assumes="C is the cost of each sample (their sum S), not the mean over the batch, which brings 1/m",
        why="the note takes the mean over the batch at its end, and so means here the cost of one sample",
    ),
    Claim(
        id="000.5",
        quote="&C\n----- = -(Y/A[L] - (1-Y)/(1-A[L]))\n&A[L]",
        written="d(S, A[L]) = -(Y / A[L] - (1 - Y) / (1 - A[L]))",
    ),
    Claim(
        id="000.6",
        quote="sig`(Z[L]) =math_shananigans= sig(Z[L]) * (1-sig(Z[L])) = A[L](1-A[L])",
        written="d(A[L], Z[L]) = diag(sigma_prime(Z[L])) = diag(sigma(Z[L]) * (1 - sigma(Z[L])))"
        " = diag(A[L] * (1 - A[L]))",
    ),
    Claim(
        id="000.7",
        quote="-(Y/A - (1-Y)/(1-A)) * A(1-A) = -[Y(1-A) - (1-Y)*A] = -[Y - YA - A + YA] = -[Y - A] = A - Y",
        written="d(S, Z[L]) = -(Y / A[L] - (1 - Y) / (1 - A[L])) * A[L] * (1 - A[L])"
        " = -(Y * (1 - A[L]) - (1 - Y) * A[L]) = -(Y - Y * A[L] - A[L] + Y * A[L]) = -(Y - A[L]) = A[L] - Y",
    ),
    Claim(
        id="000.8",
        quote="&C &C &Z[L] &A[L-1]\n------- = ------ * ------- * -------\n&Z[L-1] &Z[L] &A[L-1] &Z[L-1]",
        written="d(C, Z[L-1]) = chain(d(C, Z[L]), d(Z[L], A[L-1]), d(A[L-1], Z[L-1]))",
        corrected="delta[L-1] = W[L].T @ delta[L] * A[L-1] * (1 - A[L-1])",
        assumes="the products are those of Jacobians, summed over the units between; in matrices, W^T stands left",
        why="each unit of layer L-1 acts on all units of layer L, so there is a sum over these, and it is W^T delta",
    ),
    Claim(
        id="000.9",
        quote="Z[L] = W[L] * A[L-1] + b[L];",
        written="Z[L] = W[L] @ A[L-1] + b[L]",
    ),
    Claim(
        id="000.10",
        quote="------- = W[L] (treat A[L-1] as constant and b[L] is constant, so we skip them)",
        written="d(Z[L], A[L-1]) = W[L]",
        world="sample",
    ),
    Claim(
        id="000.11",
        quote="------- = sig`(Z[L-1]) = sig(Z[L-1]) * (1-sig(Z[L-1])) = A[L-1] * (1-A[L-1])",
        written="d(A[L-1], Z[L-1]) = diag(sigma_prime(Z[L-1])) = diag(sigma(Z[L-1]) * (1 - sigma(Z[L-1])))"
        " = diag(A[L-1] * (1 - A[L-1]))",
    ),
    Claim(
        id="000.12",
        quote="------- = delta * (W[L])^T? * (A[L-1] * (1-A[L-1]))",
        written="delta[L-1] = delta[L] @ W[L].T * (A[L-1] * (1 - A[L-1]))",
        corrected="delta[L-1] = W[L].T @ delta[L] * (A[L-1] * (1 - A[L-1]))",
        why="delta W^T is the order of the row layout, X W; with Z = W A + b, samples in columns, it is W^T delta."
        " Where layers are square and m = n the wrong order runs, and nothing tells",
        world="square",
    ),
    Claim(
        id="000.13",
        quote="if I remember correctly, the W[L] is transposed",
        written="d(C, A[L-1]) = W[L].T @ d(C, Z[L])",
        world="square",
    ),
    Claim(
        id="000.14",
        quote="&C &C &Z[L]\n----- = ----- * -------\n&W[L] &Z[L] &W[L]",
        written="d(C, W[L]) = chain(d(C, Z[L]), d(Z[L], W[L]))",
        corrected="d(S, W[L][j, k]) = sum(delta[L][j, i] * A[L-1][k, i] for i in samples)",
        assumes="the product is that of Jacobians: a sum over the units and over the samples",
        why="all samples share one W, so their shares of its gradient are summed",
    ),
    Claim(
        id="000.15",
        quote="&C &C &Z[L]\n----- = ----- * -------\n&b[L] &Z[L] &b[L]",
        written="d(C, b[L]) = chain(d(C, Z[L]), d(Z[L], b[L]))",
        corrected="d(S, b[L][j, 0]) = sum(delta[L][j, i] for i in samples)",
        assumes="the product is that of Jacobians: a sum over the units and over the samples",
        why="all samples share one b, so their shares of its gradient are summed",
    ),
    Claim(
        id="000.16",
        quote="----- = A[L-1] (because we treat W as const and b is const, so we get A[L-1])",
        written="d(Z[L], W[L]) = A[L-1]",
        corrected="d(Z[L][i], W[L][j, k]) = kron(i, j) * A[L-1][k]",
        assumes="row j of W acts on unit j alone: dz_i/dW_jk is a_k for i = j, and 0 for the others",
        why="dZ/dW has three indices and A[L-1] one; read for every unit it fills the zeros too",
        world="sample",
    ),
    Claim(
        id="000.17",
        quote="previously calculated derivative of Z * A[L-1](also remember to transpose A[L-1])",
        written="d(C, W[l]) = delta[l] @ A[l-1].T",
        corrected="d(C, W[l]) = delta[l] @ A[l-1].T / m; d(S, W[l]) = delta[l] @ A[l-1].T",
        assumes="C is the sum over the batch; its mean, which the note takes for the bias, brings 1/m",
        why="the product with A^T sums over the samples, and a mean divides by their number",
        over="l in 1..L",
    ),
    Claim(
        id="000.18",
        quote="and with bias\nwe end up with W[L] * A[L-1], which is the same for each neuron in bach we use",
        written="d(Z[L], b[L]) = W[L] @ A[L-1]",
        corrected="d(Z[L][i], b[L][j]) = kron(i, j)",
        why="W A is the term that does not hold b: its derivative by b is 0, and that of b is 1",
        world="sample",
    ),
    Claim(
        id="000.19",
        quote="sum(C/Z[l] der) * 1/m(count of samples, used to get average of baches)",
        written="d(C, b[l]) = sum_i(delta[l]) / m",
        over="l in 1..L",
    ),
    Claim(
        id="000.20",
        quote="Z * A[L-1](also remember to transpose A[L-1]) ... sum(C/Z[l] der) * 1/m",
        written="d(C, W[l]) = delta[l] @ A[l-1].T; d(C, b[l]) = sum_i(delta[l]) / m",
        corrected="d(C, W[l]) = delta[l] @ A[l-1].T / m; d(C, b[l]) = sum_i(delta[l]) / m; "
        "d(S, W[l]) = delta[l] @ A[l-1].T; d(S, b[l]) = sum_i(delta[l])",
        why="dW has no 1/m and db has one: gradients of two costs, the sum and the mean. One step then uses two rates",
        over="l in 1..L",
    ),
)
