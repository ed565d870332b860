"""Note 003: note 000 in another copy, whose author does not name the cost and leaves out the step to delta[L-1].

Where both say the same, the formula stands in note_000.py.
"""

from demos.notes.claim import Claim
from demos.notes.note_000 import CLAIMS as NOTE_000

_000 = {claim.id: claim for claim in NOTE_000}

CLAIMS = (
    Claim(
        id="003.1",
        quote="the activation is taken from sigmoid function",
        written="d(S, Z[L]) = A[L] - Y",
        corrected="d(S, Z[L]) = (A[L] - Y) * A[L] * (1 - A[L])",
        assumes="the cost, which the note does not name, is binary cross-entropy",
        why="A - Y belongs to cross-entropy: with half squares, tried here, sigma' stays as a factor",
        world="half squares",
    ),
    _000["000.2"].again("003.2", "C<-A[L]<-Z[L]<-A[L-1]<-Z[L-1]<-..."),
    _000["000.3"].again("003.3", " &C\t\t  &C    &A[L]\n----- = ----- * -----\n&Z[L]   &A[L]   &Z[L]"),
    _000["000.4"].again("003.4", "that transpose to A[L] - Y, where Y means real data"),
    _000["000.5"].again("003.5", " &C\n----- = -(Y/A[L] - (1-Y)/(1-A[L]))\n&A[L]"),
    _000["000.6"].again("003.6", "sig`(Z[L]) =math_shananigans= sig(Z[L]) * (1-sig(Z[L])) = A[L](1-A[L])"),
    _000["000.7"].again(
        "003.7", "-(Y/A - (1-Y)/(1-A)) * A(1-A) = -[Y(1-A) - (1-Y)*A] = -[Y - YA - A + YA] = -[Y - A] = A - Y"
    ),
    Claim(
        id="003.8",
        quote="  &C\t\t&C\t\t&Z[L]    &A[L-1]\n------- = ------ * ------- * -------\n"
        "&A[L-1]\t  &Z[L]    &A[L-1]   &Z[L-1]",
        written="d(C, A[L-1]) = chain(d(C, Z[L]), d(Z[L], A[L-1]), d(A[L-1], Z[L-1]))",
        corrected="d(C, Z[L-1]) = chain(d(C, Z[L]), d(Z[L], A[L-1]), d(A[L-1], Z[L-1])); "
        "d(S, A[L-1]) = W[L].T @ delta[L]",
        why="the right side goes on to Z[L-1] and the left side stops at A[L-1]: sigma' is one factor too many for it",
    ),
    _000["000.9"].again("003.9", "Z[L] = W[L] * A[L-1] + b[L];"),
    _000["000.10"].again("003.10", "------- = W[L] (treat A[L-1] as constant and b[L] is constant, so we skip them)"),
    _000["000.11"].again("003.11", "------- = sig`(Z[L-1]) = sig(Z[L-1]) * (1-sig(Z[L-1])) = A[L-1] * (1-A[L-1])"),
    Claim(
        id="003.12",
        quote="",
        corrected="delta[l] = W[l+1].T @ delta[l+1] * A[l] * (1 - A[l])",
        assumes="the reader puts the three factors together, and transposes W, as note 000 does",
        why="the note names the factors of the step to the layer before, and never writes it down",
        over="l in 1..L-1",
    ),
    _000["000.14"].again("003.14", " &C\t\t  &C     &Z[L]\n----- = ----- * -------\n&W[L]   &Z[L]    &W[L]"),
    _000["000.15"].again("003.15", " &C\t\t  &C     &Z[L]\n----- = ----- * -------\n&b[L]   &Z[L]    &b[L]"),
    _000["000.16"].again("003.16", "----- = A[L-1] (because we treat W as const and b is const, so we get A[L-1])"),
    _000["000.17"].again("003.17", "previously calculated derivative of Z * A[L-1](also remember to transpose A[L-1])"),
    _000["000.18"].again(
        "003.18", "and with bias\n\nwe end up with W[L] * A[L-1], which is the same for each neuron in bach we use"
    ),
    Claim(
        id="003.19",
        quote="sum(C/Z[l] der) * 1/m(sum of bach, used to get average of baches)",
        written="d(C, b[l]) = sum_i(delta[l]) / sum(A[0])",
        corrected="d(C, b[l]) = sum_i(delta[l]) / m",
        why="an average divides by the number of samples, not by the sum of what is in the batch",
        over="l in 1..L",
    ),
    _000["000.20"].again("003.20", "Z * A[L-1](also remember to transpose A[L-1]) ... sum(C/Z[l] der) * 1/m"),
)
