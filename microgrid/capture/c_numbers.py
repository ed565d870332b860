"""What every program in C begins with: exp, log and their kin as loops can have them, and products of matrices.

The C library's functions take one number a call. These take as many as a vector of the processor holds, since nothing
in them branches: each is a range reduction and the first terms of its Taylor series, whose coefficients can be checked
by eye. The errors that tests hold them to, against 50 digits: exp, log and log1p within 1 ulp, expm1
within 1.75, tanh within 2.5.
Subnormal numbers, signed zeros, infinities and nan come out as from the C library.

A sum keeps its order of brackets but where it is written `FMA`, which rounds once: nothing here needs -ffast-math.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__microgrid_machinery__ = True


def _polynomial(x: str, coefficients: Sequence[str]) -> str:
    """The sum of c_i x^i, from the inside out (Horner)."""
    text = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        text = f"FMA({text}, {x}, {c})"
    return text


def _factorials(first: int, last: int) -> list[str]:
    return [f"1.0 / {math.factorial(n)}" for n in range(first, last + 1)]


_EXP = _polynomial("r", _factorials(2, 13))  # (e^r - 1 - r) / r^2; what is left out is below 2^-57 for |r| <= ln(2) / 2
_ATANH = _polynomial("q", [f"2.0 / {n}" for n in range(3, 25, 2)])  # (2 artanh(s) / s - 2) / s^2 with q = s^2

HEADER = """\
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define FMA(x, y, z) __builtin_fma(x, y, z)
#else
#define FMA(x, y, z) ((x) * (y) + (z))
#endif
#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline)) /* compiled once, however often it is called */
"""

FUNCTIONS = f"""\
/* ln 2 in two parts: the first has so few bits that its multiples by whole numbers below 2^11 are exact */
#define LN2_HIGH 0x1.62e42fefa0000p-1
#define LN2_LOW 0x1.cf79abc9e3b39p-40
#define WHOLE 0x1.8p52 /* what is added to it is rounded to a whole number, in the lowest bits */

INLINE double from_bits(uint64_t bits) {{ double x; memcpy(&x, &bits, 8); return x; }}
INLINE uint64_t bits_of(double x) {{ uint64_t bits; memcpy(&bits, &x, 8); return bits; }}

/* 2^n for a whole number n in -1022..1023, given as WHOLE + n */
INLINE double power_of_two(double shifted) {{ return from_bits((bits_of(shifted) + 1023) << 52); }}

INLINE double exp_(double x)
{{
    x = x > 720 ? 720 : x;
    x = x < -760 ? -760 : x;
    const double shifted = FMA(x, 0x1.71547652b82fep+0, WHOLE), n = shifted - WHOLE;
    const double r = FMA(-n, LN2_LOW, FMA(-n, LN2_HIGH, x));
    const double y = 1 + FMA(r * r, {_EXP}, r);
    const double half = FMA(n, 0.5, WHOLE), first = half - WHOLE; /* twice: 2^n itself may be subnormal, or beyond */
    return y * power_of_two(half) * power_of_two(n - first + WHOLE);
}}

INLINE double expm1_(double x)
{{
    const double a = x > 720 ? 720 : x < -50 ? -50 : x;
    const double shifted = FMA(a, 0x1.71547652b82fep+0, WHOLE), n = shifted - WHOLE;
    const double high = FMA(-n, LN2_HIGH, a), r = FMA(-n, LN2_LOW, high);
    const double lost = (high - r) - n * LN2_LOW; /* what rounding took from r */
    const double p = FMA(r * r, {_EXP}, lost), y = r + p;
    const double half = FMA(n, 0.5, WHOLE), first = half - WHOLE;
    const double one = power_of_two(half), two = power_of_two(n - first + WHOLE), scale = one * two;
    const double small = FMA(scale, y, scale - 1), large = (y + 1) * one * two; /* beyond 2^1023 in two steps */
    const double z = n > 60 ? large : small;
    return x == 0 ? x : z; /* -0 stays -0 */
}}

/* ln(2^k m (1 + c)) for 2^-1/2 <= m < 2^1/2 and a c so small that it is its own logarithm */
INLINE double log_of_parts(double k, double m, double c)
{{
    const double f = m - 1, s = f / (2 + f), q = s * s, half = 0.5 * f * f;
    const double rest = s * (half + q * ({_ATANH}));
    return k * LN2_HIGH + (f - (half - (rest + (k * LN2_LOW + c))));
}}

#define ROOT_HALF 0x3fe6a09e667f3bcdull /* the bits of 2^-1/2 */

INLINE double exponent_of(uint64_t bits) /* k, of a normal number 2^k m */
{{
    return from_bits(((bits - ROOT_HALF + (1023ull << 52)) >> 52) | 0x4330000000000000ull) - (0x1p52 + 1023);
}}
INLINE double mantissa_of(uint64_t bits) {{ return from_bits(((bits - ROOT_HALF) & 0xfffffffffffffull) + ROOT_HALF); }}

INLINE double log_(double x)
{{
    const double tiny = x < DBL_MIN ? 1 : 0;
    const uint64_t bits = bits_of(x < DBL_MIN ? x * 0x1p54 : x);
    double z = log_of_parts(exponent_of(bits) - 54 * tiny, mantissa_of(bits), 0);
    z = x < 0 ? NAN : z;
    z = x == 0 ? -INFINITY : z;
    return x < INFINITY ? z : x + x; /* inf for inf, nan for nan */
}}

INLINE double log1p_(double x)
{{
    const double u = 1 + x, c = x < 1 ? (x - (u - 1)) / u : (1 - (u - x)) / u; /* u (1 + c) is 1 + x */
    const uint64_t bits = bits_of(u);
    double z = log_of_parts(exponent_of(bits), mantissa_of(bits), c);
    z = fabs(x) < 0x1p-54 ? x : z;
    z = x < -1 ? NAN : z;
    z = x == -1 ? -INFINITY : z;
    return x < INFINITY ? z : x + x;
}}

INLINE double tanh_(double x)
{{
    const double a = fabs(x), e = expm1_(2 * a);
    const double q = (a < 1 ? e : 2) / (e + 2), z = copysign(a < 1 ? q : 1 - q, x);
    return x == x ? z : x; /* -0 stays -0 */
}}

/* of one exponent for all numbers, as NumPy has it: other at -0 and at -infinity */
INLINE double power_(double x, double y) {{ return y == 0.5 ? sqrt(x) : pow(x, y); }}
"""

PRODUCTS = """\
/* From here on x * y + z may be rounded once, as a BLAS does it. */
#if defined(__clang__)
#pragma clang fp contract(fast)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=fast")
#endif

#if defined(__AVX512F__)
#define VECTOR 64
#define ROWS 8
#elif defined(__AVX__)
#define VECTOR 32
#define ROWS 6
#else
#define VECTOR 16
#define ROWS 4
#endif

/* Whether a product of so many multiplications is done here rather than by a BLAS. Measured against OpenBLAS 0.3.31 on
   one thread of a Zen 5: twice as quick with vectors of 64 bytes up to 2^27, where measuring ended; equal with 32 bytes
   at about 2^20; slower with 16 bytes from 2^15 on. With more than two threads a BLAS is taken sooner: a guess. */
#define QUICK(SIZE)                                                                                                 \\
    ((SIZE) <= (VECTOR == 64 ? (threads <= 2 ? 1l << 27 : 1l << 21) : VECTOR == 32 ? 1l << 20 : 1l << 15))

/* HEIGHT rows and COLUMNS vectors of C (+)= A B, kept in registers while k runs; the columns of B lie side by side */
#define TILE(T, HEIGHT, COLUMNS)                                                                                    \\
    for (; i + HEIGHT <= M; i += HEIGHT) {                                                                          \\
        T##_vector sum[HEIGHT][COLUMNS] = {0};                                                                      \\
        for (long k = 0; k < K; k++) {                                                                              \\
            T##_vector b[COLUMNS];                                                                                  \\
            for (int q = 0; q < COLUMNS; q++) b[q] = *(const T##_vector *)(B + k * b_k + q * LANES);                \\
            for (int r = 0; r < HEIGHT; r++) {                                                                      \\
                const T a = A[(i + r) * a_i + k * a_k];                                                             \\
                for (int q = 0; q < COLUMNS; q++) sum[r][q] += a * b[q];                                            \\
            }                                                                                                       \\
        }                                                                                                           \\
        for (int r = 0; r < HEIGHT; r++)                                                                            \\
            for (int q = 0; q < COLUMNS; q++) {                                                                     \\
                const long left = N - q * LANES;                                                                    \\
                T *c = C + (i + r) * c_i + q * LANES * c_j;                                                         \\
                if (c_j == 1 && left >= LANES) {                                                                    \\
                    if (more) *(T##_vector *)c += sum[r][q];                                                        \\
                    else *(T##_vector *)c = sum[r][q];                                                              \\
                }                                                                                                   \\
                else                                                                                                \\
                    for (int l = 0; l < LANES && l < left; l++)                                                     \\
                        c[l * c_j] = more ? c[l * c_j] + sum[r][q][l] : sum[r][q][l];                               \\
            }                                                                                                       \\
    }

#define PRODUCT(T)                                                                                                  \\
    typedef T T##_vector __attribute__((vector_size(VECTOR), aligned(sizeof(T)), may_alias));                       \\
    enum { T##_LANES = VECTOR / sizeof(T) };                                                                        \\
    /* up to two vectors of columns of C (+)= A B; each row of B is readable up to a whole number of vectors */     \\
    INLINE void panel_##T(const long M, const long N, const long K, const T *restrict A, const long a_i,            \\
                          const long a_k, const T *restrict B, const long b_k, T *restrict C, const long c_i,       \\
                          const long c_j, const int more)                                                           \\
    {                                                                                                               \\
        enum { LANES = T##_LANES };                                                                                 \\
        long i = 0;                                                                                                 \\
        if (N > LANES) {                                                                                            \\
            TILE(T, ROWS, 2)                                                                                        \\
            TILE(T, 1, 2)                                                                                           \\
        } else {                                                                                                    \\
            TILE(T, ROWS, 1)                                                                                        \\
            TILE(T, 1, 1)                                                                                           \\
        }                                                                                                           \\
    }                                                                                                               \\
    /* C = A B, (M, K) by (K, N), where each row of B is readable up to a whole number of vectors */                \\
    INLINE void product_##T(const long M, const long N, const long K, const T *restrict A, const long a_i,          \\
                            const long a_k, const T *restrict B, const long b_k, T *restrict C, const long c_i,     \\
                            const long c_j)                                                                         \\
    {                                                                                                               \\
        const long both = 2 * T##_LANES, whole = N / both * both;                                                   \\
        for (long j = 0; j < whole; j += both)                                                                      \\
            panel_##T(M, both, K, A, a_i, a_k, B + j, b_k, C + j * c_j, c_i, c_j, 0);                               \\
        if (N > whole) panel_##T(M, N - whole, K, A, a_i, a_k, B + whole, b_k, C + whole * c_j, c_i, c_j, 0);       \\
    }                                                                                                               \\
    /* C = A B of any strides: two vectors of columns of B at a time, and as many rows as the nearest cache holds,  \\
       are copied side by side, with zeros up to a whole number of vectors */                                       \\
    INLINE void packed_##T(const long M, const long N, const long K, const T *restrict A, const long a_i,           \\
                           const long a_k, const T *restrict B, const long b_k, const long b_j, T *restrict C,      \\
                           const long c_i, const long c_j)                                                          \\
    {                                                                                                               \\
        enum { BOTH = 2 * T##_LANES, DEPTH = 256 };                                                                 \\
        T packed[(K < DEPTH ? K : DEPTH) * BOTH + 1] __attribute__((aligned(64)));                                  \\
        if (!K) product_##T(M, N, 0, A, a_i, a_k, packed, BOTH, C, c_i, c_j);                                       \\
        for (long begun = 0; begun < K; begun += DEPTH)                                                             \\
            for (long j = 0; j < N; j += BOTH) {                                                                    \\
                const long depth = K - begun < DEPTH ? K - begun : DEPTH, n = N - j < BOTH ? N - j : BOTH;          \\
                const T *from = B + begun * b_k + j * b_j;                                                          \\
                for (long k = 0; k < depth; k++) {                                                                  \\
                    for (long l = 0; l < n; l++) packed[k * BOTH + l] = from[k * b_k + l * b_j];                    \\
                    for (long l = n; l < BOTH; l++) packed[k * BOTH + l] = 0;                                       \\
                }                                                                                                   \\
                panel_##T(M, n, depth, A + begun * a_k, a_i, a_k, packed, BOTH, C + j * c_j, c_i, c_j, begun > 0);  \\
            }                                                                                                       \\
    }
PRODUCT(double)
PRODUCT(float)
"""
