"""A net of two inputs, two hidden neurons and one output, to be stepped through backward by hand.

Every number is one node, and every node belongs to a line below. Three ways to walk over the backward pass, in reverse
through these very lines, are printed by `python -m demos.step`; demos/debug.txt is a session of the first.
"""

from microgrid import Value, log, sigmoid

HOW = """\
C = {C:.6f}, dC/dw11 = {w11:.6f}

Walk over the backward pass:

    python -m viz debug demos/step.py   step, back, until a1, where, paths w11, check, help
    python -m pdb demos/step.py         b 33, c, s: from there n goes backward, node by node, and s into a rule
    code .                              in VS Code, the launch configuration "Backward pass"
"""

x1, x2, y = 0.5, -1.0, 1.0  # one sample, and what the output should be

w11, w12, b1 = Value(0.1), Value(-0.4), Value(0.2)
w21, w22, b2 = Value(0.7), Value(0.3), Value(-0.1)
v1, v2, c = Value(0.6), Value(-0.5), Value(0.05)

z1 = w11 * x1 + w12 * x2 + b1
z2 = w21 * x1 + w22 * x2 + b2
a1 = sigmoid(z1)
a2 = sigmoid(z2)
z = v1 * a1 + v2 * a2 + c
a = sigmoid(z)
C = -(y * log(a) + (1 - y) * log(1 - a))  # binary cross-entropy

C.backward()

print(HOW.format(C=C.data, w11=w11.grad))
