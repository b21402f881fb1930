"""Where a drift statistic falls when nothing has drifted: the p-values behind the four tests.

scipy is imported inside the functions, so that reading a verdict does not need it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_EXACT_UP_TO = 1000


def kolmogorov_smirnov_sf(distance: float, n_baseline: int, n_current: int) -> float:
    """P(D >= distance) for two samples, by the one-sample law at n = n1 n2 / (n1 + n2), rounded.

    That is scipy's `ks_2samp(method="asymp")`, whose `kstwo.sf` takes up to 6 ms a value. Up to
    n = 140 it is the exact law, as a power of a matrix (G. Marsaglia, W. W. Tsang and J. Wang,
    Journal of Statistical Software 8/18, 2003), and far out, up to n = 1,000, twice the one-sided
    law, which is exact there to 1e-6 of p (R. Simard and P. L'Ecuyer, Journal of Statistical
    Software 39/11, 2011). Else it is Kolmogorov's limiting law at

        x + 1 / (6 sqrt(n)) + (x - 1) / (4 n),      x = sqrt(n) distance

    (J. Vrbik, "Small-sample corrections to Kolmogorov-Smirnov test statistic", Pioneer Journal of
    Theoretical and Applied Statistics 15, 2018). Its relative error against `kstwo.sf` is below
    0.4 % from n = 141 to 1,000, where it is used for p > 0.02, and above n = 1,000 below 0.1 % for
    p > 0.01, 0.3 % for p > 0.001, 6 % for p > 1e-10, and falls as 1 / n.
    Ties make the true p smaller: the test is conservative on discrete values. With fewer than
    about 20 values in a window it is only a rough guide, and too small far out.
    """
    n = max(round(n_baseline / (n_baseline + n_current) * n_current), 1)
    x = math.sqrt(n) * distance
    if n <= _MATRIX_UP_TO and x * x < _FAR_OUT:
        return _share(_kolmogorov_smirnov_exact(distance, n))
    from scipy.special import kolmogorov, smirnov

    if n <= _EXACT_UP_TO and x * x >= (_FAR_OUT if n <= _MATRIX_UP_TO else _OUT):
        return _share(2 * smirnov(n, min(distance, 1.0)))
    return _share(kolmogorov(x + 1 / (6 * math.sqrt(n)) + (x - 1) / (4 * n)))


_MATRIX_UP_TO = 140
_FAR_OUT = 4.0
"n D**2 from which on twice the one-sided law is exact to 1e-10 of p."
_OUT = 2.2
"The same to 1e-6 of p."


def _kolmogorov_smirnov_exact(distance: float, n: int) -> float:
    """1 - n! / n**n (H**n)_kk of Marsaglia, Tsang and Wang, section 3: H is (2 k - 1) square."""
    k = math.ceil(n * distance)
    if n * distance <= 0.5:
        return 1.0
    size, h = 2 * k - 1, k - n * distance
    powers = h ** np.arange(1, size + 1)
    first = np.ones(size)
    factorials = np.cumprod(np.concatenate((first[:1], np.arange(1, size + 1))))
    below = np.subtract.outer(np.arange(size), np.arange(size)) + 1
    matrix = (below >= 0).astype(np.float64)
    matrix[:, 0] -= powers
    matrix[-1] -= powers[::-1]
    if h > 0.5:
        matrix[-1, 0] += (2 * h - 1) ** size
    matrix /= factorials[below.clip(0, size)]
    power, raised, log_power, log_raised = np.eye(size), matrix, 0.0, 0.0
    left = n
    while True:
        if left & 1:
            power, log_power = power @ raised, log_power + log_raised
        left >>= 1
        if not left:
            break
        raised, log_raised = raised @ raised, 2 * log_raised
        # Powers of n = 140 leave a float's range.
        scale = float(raised[k - 1, k - 1])
        raised, log_raised = raised / scale, log_raised + math.log(scale)
    return -math.expm1(math.log(float(power[k - 1, k - 1])) + log_power + _log_all_apart(n))


@lru_cache(maxsize=_MATRIX_UP_TO)
def _log_all_apart(n: int) -> float:
    """log(n! / n**n), term by term: the difference of its logarithms would lose digits."""
    return math.fsum(math.log(i / n) for i in range(1, n + 1))


def normal_two_sided_sf(z: float) -> float:
    """P(|Z| >= z) of a standard normal, at most 1."""
    return _share(math.erfc(z / math.sqrt(2)))


def chi_square_sf(statistic: float, degrees: int) -> float:
    """P(chi-square with `degrees` degrees of freedom >= statistic)."""
    from scipy.special import chdtrc

    return _share(chdtrc(degrees, statistic))


def fisher_two_sided(observed: int, total: int, marked: int, drawn: int) -> float:
    """P of all hypergeometric outcomes that are at most as likely as `observed`.

    Of `total` values `marked` are of the category and `drawn` are in the window. Two-sided as
    R. A. Fisher (1935) and scipy.stats.fisher_exact: the sum over every table with the same margins
    that is not more likely than this one. Neighbouring probabilities are quotients of integers, so
    nothing is lost where the counts are huge. What lies beyond 40 standard deviations and 200
    outcomes is below the smallest float (the tail is lighter than Poisson's): the work grows with
    the root of the expected count and not with the support.
    """
    low, high = max(0, marked + drawn - total), min(marked, drawn)
    if not 0 <= marked <= total or not 0 <= drawn <= total or not low <= observed <= high:
        raise ValueError(f"{observed} of {marked} marked in {drawn} drawn of {total}")
    mode = (marked + 1) * (drawn + 1) // (total + 2)
    share = marked / max(total, 1)
    reach = math.ceil(40 * math.sqrt(drawn * share * (1 - share))) + 200
    first, last = max(low, mode - reach), min(high, mode + reach)
    if not first <= observed <= last:
        return 0.0
    k = np.arange(first, last, dtype=np.float64)
    steps = np.log((marked - k) / (k + 1)) + np.log((drawn - k) / (total - marked - drawn + k + 1))
    logs = np.concatenate(([0.0], np.cumsum(steps)))
    weights = np.exp(logs - logs.max())
    # Two tables that are equally likely by symmetry differ by what the sum of logarithms lost.
    at_most = weights <= weights[observed - first] * (1 + 1e-9)
    return _share(float(weights[at_most].sum() / weights.sum()))


def anderson_darling_deviation(*sizes: int) -> float:
    """The standard deviation of the k-sample A2 without ties, for finite samples of these sizes.

    Scholz and Stephens, "K-sample Anderson-Darling tests", JASA 82 (1987), eq. 4. Their double sum
    is g = sum_{i < m} 1/i**2 - 2 h / m with m the number of values and h = sum_{i < m} 1/i.
    At least two samples, and 4 values in all.
    """
    from scipy.special import digamma, zeta

    k = len(sizes)
    total = float(sum(sizes))
    inverse = sum(1 / size for size in sizes)
    h = float(digamma(total)) + np.euler_gamma
    g = math.pi**2 / 6 - float(zeta(2, total)) - 2 * h / total
    a = (4 * g - 6) * (k - 1) + (10 - 6 * g) * inverse
    b = (2 * g - 4) * k**2 + 8 * h * k + (2 * g - 14 * h - 4) * inverse - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * k**2 + (4 * h - 4 * g + 6) * k + (2 * h - 6) * inverse + 4 * h
    d = (2 * h + 6) * k**2 - 4 * h * k
    variance = (((a * total + b) * total + c) * total + d) / (
        (total - 1) * (total - 2) * (total - 3)
    )
    return math.sqrt(variance)


ANDERSON_DARLING_VARIANCE = 2 * (math.pi**2 / 3 - 3)
"Variance of the limiting law: 2 sum_j 1 / (j (j + 1))**2. Its mean is 1."


def anderson_darling_tied_variance(counts: npt.NDArray[np.int64]) -> float:
    """The limiting variance of A2 given the ties: `counts` values share each point, in order.

    A2 is a quadratic form sum_i p_i z_i**2 in standard normals with p_i = counts_i / n, whose
    covariance is that of a Brownian bridge averaged over both ends of each step; the variance is
    2 sum_ij p_i p_j corr_ij**2, and because the bridge is Markov the double sum is one running sum.
    Equals `ANDERSON_DARLING_VARIANCE` as the steps shrink, and 2 (chi-square with one degree of
    freedom) for two points.
    """
    total = float(counts.sum())
    after = np.cumsum(counts) / total
    before = after - counts / total
    share = counts / total
    low = before + after
    spread = after * (1 - after) + before * (1 - before) + 2 * before * (1 - after)
    left = share * low**2 / spread
    right = share * (2 - low) ** 2 / spread
    earlier = np.cumsum(left) - left
    return 2 * float(share @ share + 2 * (right @ earlier))


def anderson_darling_tie_factor(counts: npt.NDArray[np.int64]) -> float:
    """How many times larger the ties of `counts` make the variance of A2: 1 for none, up to 3.5."""
    return anderson_darling_tied(anderson_darling_tied_variance(counts), int(counts.sum()))


def anderson_darling_tied(variance: float, values: int) -> float:
    """How many times larger a variance is than that of so many values without ties; at least 1."""
    return max(variance / _untied_variance(min(values, _FINE)), 1.0)


_FINE = 4096
"So many single values are as good as infinitely many: the variance is within 0.1 %."


@lru_cache(maxsize=256)
def _untied_variance(values: int) -> float:
    return anderson_darling_tied_variance(np.ones(values, dtype=np.int64))


def anderson_darling_sf(x: float) -> float:
    """P(A2 >= x) for the limiting law of A2, the law of sum_j Y_j / (j (j + 1)), Y_j chi-square(1).

    The two-sample statistic has the limit of the one-sample one (Scholz and Stephens 1987,
    section 3). Its characteristic function is T. W. Anderson and D. A. Darling's (Annals of
    Mathematical Statistics 23, 1952, section 4); inverted along the cuts between its singularities
    as N. V. Smirnov did for omega-square (1937; see Shorack and Wellner, "Empirical Processes",
    section 5.3),

        P = 1/sqrt(pi) sum_k (-1)**(k+1) int_{u_{2k-1}}^{u_{2k}} exp(-x u / 2) / sqrt(u |c(u)|) du

    with u_j = j (j + 1), c(u) = cos(pi/2 sqrt(1 + 4 u)); each integral by Gauss-Chebyshev. Good to
    1e-10 of the p-value from p = 1 down to 1e-30, so nothing is clipped at 0.001 or 0.25.
    """
    if x < 0.05:
        return 1.0
    return _share(float(np.exp(-x * _HALF_U) @ _WEIGHTS))


def _inversion_grid() -> tuple[FloatArray, FloatArray]:
    """u/2 and signed weight of each quadrature node; with v = sqrt(1 + 4u) = 4k + w, |w| < 1."""
    intervals, nodes = 20, 64
    k = np.arange(1, intervals + 1)[:, None]
    w = np.cos((2 * np.arange(1, nodes + 1) - 1) * math.pi / (2 * nodes))[None, :]
    v = 4 * k + w
    u = (v**2 - 1) / 4
    smooth = np.sqrt((1 - w**2) / np.cos(math.pi * w / 2)) * (v / 2) / np.sqrt(u)
    signs = np.where(k % 2, 1.0, -1.0)
    return (u / 2).ravel(), (signs * smooth * math.sqrt(math.pi) / nodes).ravel()


_HALF_U, _WEIGHTS = _inversion_grid()


def anderson_darling_sum_sf(x: float, copies: int) -> float:
    """P(sum of `copies` independent A2 >= x): the limiting law for copies + 1 samples.

    Scholz and Stephens 1987, section 3: the k-sample A2 tends to sum_j Y_j / (j (j + 1)) with Y_j
    chi-square of k - 1 degrees of freedom. Its Laplace transform is L(s) = M(s)**(copies / 2),
    M(s) = 2 pi s / cos(pi/2 sqrt(1 - 8 s)) (Anderson and Darling 1952, section 4), so that

        P = -1/(2 pi i) int exp(s x) L(s) / s ds

    along any path from below to above that crosses the real axis between -1, where L has its first
    singularity, and 0. It is taken along the parabola -1 + (1 + c) (1 + i u)**2 through the saddle
    point c, where the integrand is largest and does not oscillate, by the trapezoidal rule
    (J. A. C. Weideman and L. N. Trefethen, Mathematics of Computation 76, 2007). So the relative
    error stays below 1e-10 from p = 1 to 1e-200. ValueError for fewer than one copy.
    """
    if copies < 1:
        raise ValueError(f"{copies} copies; expected 1 or more")
    if copies == 1:
        return anderson_darling_sf(x)
    if x < 0.05 * copies:
        return 1.0
    real = -(np.arange(1, _SADDLE_GRID) / _SADDLE_GRID)
    exponent = real * x + copies * _log_root(real).real - np.log(-real)
    width = 1 + real[exponent.argmin()]

    def integrand(u: npt.NDArray[Any]) -> npt.NDArray[np.complex128]:
        s = -1 + width * (1 + 1j * u) ** 2
        value: npt.NDArray[np.complex128] = (
            s * x + copies * _log_root(s) + np.log(2j * width * (1 + 1j * u) / s)
        )
        return value

    reach = np.geomspace(1e-3, 1e3, 200)
    sizes = integrand(reach).real
    within = np.flatnonzero(sizes > sizes.max() - 45)
    last = float(reach[min(within[-1] + 1, reach.size - 1)])
    step = last / _CONTOUR_POINTS
    logs = integrand(np.arange(_CONTOUR_POINTS + 1) * step)
    terms = np.exp(logs)
    # The lower half of the path is the conjugate of the upper one; u = 0 is in both.
    terms[0] /= 2
    return _share(-float(terms.imag.sum()) * step / math.pi)


_SADDLE_GRID = 512
_CONTOUR_POINTS = 2000


def _log_root(s: npt.NDArray[Any]) -> npt.NDArray[np.complex128]:
    """log(M(s)) / 2 for s in the closed upper half plane but for the cut below -1.

    cos(z) = exp(-i z) (1 + exp(2 i z)) / 2 with Im z >= 0, so that no branch is crossed.
    """
    z = -np.sqrt(1 - 8 * s + 0j) * (math.pi / 2)
    log_cosine = -1j * z - math.log(2) + np.log1p(np.exp(2j * z))
    half: npt.NDArray[np.complex128] = (np.log(2 * math.pi * s + 0j) - log_cosine) / 2
    return half


def _share(p: float) -> float:
    return min(max(float(p), 0.0), 1.0)
