"""A random-effects meta-regression with known, correlated sampling errors: REML, t tests, Knapp-Hartung.

    y = X b + sum_k Z_k u_k + e,    u_k ~ N(0, sigma2_k I),    e ~ N(0, S),    S known and full

The model is that of `rma.mv` of the R package metafor (Viechtbauer 2010, J. Statistical Software 36:3), whose numbers
the tests hold this to. Variance components are found by restricted maximum likelihood; intervals are Student's t.
With one component the standard errors may be scaled by the mean square of the weighted residuals (Knapp & Hartung
2003, Statistics in Medicine 22:2693), which keeps its level with few units; the factor is not cut off at 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Levels = NDArray[np.intp]
"""(observations,) number of the level that each observation belongs to."""

_STEPS = 200
_GRID = 60
"""Values of a single component tried before the best is refined: the likelihood may have more than one maximum."""


_NEAR = 1e-11
"""A gain in log-likelihood below which the last step is taken unseen: rounding hides what it gains, and Newton's error
after it is the square of that before."""
_DEPENDENT = 1e-9
"""Least eigenvalue of the components' correlation that is taken for more than rounding."""


class Confounded(ValueError):
    """The data do not tell one variance component from another: any split of their sum is as likely."""


@dataclass(frozen=True)
class Fit:
    """A fitted model."""

    y: Array
    X: Array
    """(n, p)."""
    S: Array
    """(n, n) covariance of the sampling errors."""
    names: tuple[str, ...]
    """Of the variance components."""
    sigma2: Array
    """(components,) in squared units of y."""
    V: Array
    """(n, n) covariance of y: sampling errors and components."""
    log_likelihood: float
    """Restricted, with all constants (metafor's)."""

    @cached_property
    def weights(self) -> Array:
        """(n, n) inverse of V."""
        return np.asarray(np.linalg.inv(self.V))

    @cached_property
    def bread(self) -> Array:
        """(p, p) covariance of b, not scaled."""
        return np.asarray(np.linalg.inv(self.X.T @ self.weights @ self.X))

    @cached_property
    def b(self) -> Array:
        """(p,) coefficients."""
        return np.asarray(self.bread @ (self.X.T @ (self.weights @ self.y)))

    @property
    def df(self) -> int:
        """Residual degrees of freedom, n - p."""
        return len(self.X) - len(self.X.T)

    @cached_property
    def knapp_hartung(self) -> float:
        """Mean square of the weighted residuals, by which Knapp and Hartung scale the covariance of b."""
        residuals = self.y - self.X @ self.b
        return float(residuals @ self.weights @ residuals / self.df)

    @cached_property
    def heterogeneity(self) -> float | None:
        """I2 in %: all components' share in the variance of a typical y; None where a sampling error is 0.

        With full S by the trace of the projection on the residuals, as metafor's documentation has it (Higgins &
        Thompson 2002, Statistics in Medicine 21:1539, where S is diagonal).
        """
        if np.linalg.cond(self.S) > 1e12:
            return None
        W = np.linalg.inv(self.S)
        WX = W @ self.X
        P = W - WX @ np.linalg.solve(self.X.T @ WX, WX.T)
        total = float(self.sigma2.sum())
        return 100.0 * total / (total + self.df / float(np.trace(P)))

    def combined(self, L: Array, *, scaled: bool) -> tuple[Array, Array]:
        """Return the estimates (m,) of the linear combinations L b, L (m, p), and their covariance (m, m)."""
        covariance = L @ self.bread @ L.T
        return L @ self.b, covariance * (self.knapp_hartung if scaled else 1.0)

    def wald(self, L: Array, *, scaled: bool) -> float:
        """Return the F statistic of L b = 0; its first degrees of freedom are the rows of L, which are independent."""
        estimate, covariance = self.combined(L, scaled=scaled)
        return float(estimate @ np.linalg.solve(covariance, estimate) / len(L))


def fit(y: Array, X: Array, S: Array, components: Mapping[str, Levels]) -> Fit:
    """Fit by restricted maximum likelihood.

    Args:
      y: (n,) observations.
      X: (n, p) of full rank, p < n.
      S: (n, n) covariance of their sampling errors.
      components: name -> levels; observations of one level share a random effect.

    Raises:
      ValueError: X is not of full rank, or leaves no degree of freedom.
      Confounded: components are not told apart.
    """
    n, p = X.shape
    if n <= p or np.linalg.matrix_rank(X) < p:
        raise ValueError(f"{n} observations do not determine {p} coefficients")
    # K spans what X leaves free: K'y is free of b, and its likelihood is the restricted one (Patterson & Thompson
    # 1971).
    K = np.linalg.qr(X, mode="complete")[0][:, p:]
    z, known = K.T @ y, K.T @ S @ K
    likelihood = _Likelihood(z, known, [_summed(K, levels) for levels in components.values()])
    if likelihood.confounded:
        raise Confounded(f"{', '.join(components)} are not told apart by {n - p} residuals")
    sigma2 = likelihood.maximum()
    V = S.astype(np.float64).copy()
    for value, levels in zip(sigma2, components.values(), strict=True):
        V += value * (levels[:, None] == levels[None, :])
    return Fit(
        y, X, S, tuple(components), sigma2, V, -likelihood.loss(sigma2) - 0.5 * (n - p) * float(np.log(2 * np.pi))
    )


def _summed(K: Array, levels: Levels) -> Array | None:
    """Return (levels, n - p) sums of K over the observations of a level; None where every observation is its own."""
    count = int(levels.max()) + 1
    if count == len(levels):
        return None
    sums = np.zeros((count, K.shape[1]))
    np.add.at(sums, levels, K)
    return sums


class _Likelihood:
    """Minus the restricted log-likelihood, less its constant, over variance components of at least 0.

    A component adds R'R to the covariance of z; R has as many rows as it has levels, which are few: what is summed over
    R'R is summed over R. None stands for the identity, as K'K is.
    """

    def __init__(self, z: Array, known: Array, roots: Sequence[Array | None]) -> None:
        self._z, self._known, self._roots = z, known, roots
        self._parts = [np.eye(len(z)) if root is None else root.T @ root for root in roots]
        # What the components may reach: several times the spread of the data.
        self._scale = max(float(z @ z) / len(z), 1e-12)

    @property
    def confounded(self) -> bool:
        """Whether what components add are multiples or sums of each other, once X is projected out."""
        if len(self._parts) < 2:
            return False
        flat = np.stack([part.ravel() for part in self._parts])
        inner = flat @ flat.T
        norms = np.sqrt(inner.diagonal())
        if norms.min() < _DEPENDENT * norms.max():
            return True
        return bool(np.linalg.eigvalsh(inner / norms / norms[:, None])[0] < _DEPENDENT)

    def loss(self, sigma2: Array) -> float:
        return self._all(sigma2)[0]

    def _all(self, sigma2: Array) -> tuple[float, Array, Array, Array]:
        """Return the loss, its gradient, its second derivatives, and what these are expected to be."""
        from scipy.linalg.lapack import dpotrf, dpotri

        k = len(self._parts)
        V = self._known.copy()
        for s, part in zip(sigma2, self._parts, strict=True):
            if s > 0.0:
                V += s * part
        factor, failed = dpotrf(V, lower=1)
        if failed:  # sampling errors of 0, and no component
            return float("inf"), np.zeros(k), np.eye(k), np.eye(k)
        W = dpotri(factor, lower=1)[0]
        W = np.tril(W) + np.tril(W, -1).T
        Wz = W @ self._z
        loss = float(np.log(np.diag(factor)).sum() + 0.5 * self._z @ Wz)
        halves = [W if root is None else root @ W for root in self._roots]
        pulls = np.stack([Wz if root is None else root.T @ (root @ Wz) for root in self._roots])  # (components, n - p)
        traces = [
            np.trace(W) if root is None else np.sum(half * root) for half, root in zip(halves, self._roots, strict=True)
        ]
        gradient = 0.5 * (np.array(traces) - pulls @ Wz)
        # tr(W A W B), where A = R'R and B = Q'Q, is the sum of squares of R W Q'.
        information = np.array(
            [
                [0.5 * np.sum(np.square(half if other is None else half @ other.T)) for other in self._roots]
                for half in halves
            ]
        )
        return loss, gradient, pulls @ W @ pulls.T - information, information

    def maximum(self) -> Array:
        """Return the components at the highest likelihood."""
        if not self._parts:
            return np.zeros(0)
        if len(self._parts) == 1:
            return np.array([self._single()])
        even = self._scale / len(self._parts)
        best = self._scored(np.full(len(self._parts), even))
        if (best[1] == 0.0).any():
            # A component at 0 may be a local maximum only: look from where it has everything.
            for k in np.flatnonzero(best[1] == 0.0):
                start = np.where(np.arange(len(self._parts)) == k, self._scale, 0.01 * even)
                best = min(best, self._scored(start), key=lambda peak: peak[0])
        return best[1]

    def _scored(self, sigma2: Array) -> tuple[float, Array]:
        """Descend by Newton's steps, components held at 0 or above; return the loss and the components."""
        loss, gradient, curvature, information = self._all(sigma2)
        for _ in range(_STEPS):
            free = (sigma2 > 0.0) | (gradient < 0.0)
            if not free.any():
                break
            step = np.zeros(len(sigma2))
            inner = np.ix_(free, free)
            # Newton's step where the loss is convex, else Fisher's, whose matrix always is.
            try:
                np.linalg.cholesky(curvature[inner])
                step[free] = -np.linalg.solve(curvature[inner], gradient[free])
            except np.linalg.LinAlgError:
                step[free] = -np.linalg.lstsq(information[inner], gradient[free], rcond=None)[0]
            if -(gradient @ step) < _NEAR:
                return loss, np.maximum(0.0, sigma2 + step)
            for _ in range(40):
                trial = np.maximum(0.0, sigma2 + step)
                there = self._all(trial)
                if there[0] < loss:
                    break
                step /= 2.0
            else:
                break
            sigma2, (loss, gradient, curvature, information) = trial, there
        return loss, sigma2

    def _single(self) -> float:
        """Return the one component: the likelihood is a sum over the common eigenvectors of the two matrices."""
        from scipy.linalg import eigh
        from scipy.optimize import brentq

        part = self._parts[0]
        # part is the identity where every observation is a level of its own; else it may be singular, and so may known.
        total = self._known + part * (np.trace(self._known) / max(np.trace(part), 1e-300) + 1e-9 * self._scale)
        share, vectors = eigh(part, total)
        own = np.maximum(0.0, 1.0 - share * (np.trace(self._known) / max(np.trace(part), 1e-300) + 1e-9 * self._scale))
        squares = (vectors.T @ self._z) ** 2

        def slope(value: float) -> float:
            variances = own + value * share
            return float(0.5 * (share / variances - share * squares / variances**2).sum())

        grid = np.concatenate([[0.0], np.geomspace(1e-6, 1e2, _GRID) * self._scale])
        variances = own + grid[:, None] * share
        with np.errstate(divide="ignore", invalid="ignore"):
            losses = (np.log(variances) + squares / variances).sum(axis=1)
        losses[(variances <= 0.0).any(axis=1)] = np.inf
        best = int(np.argmin(losses))
        if best == 0:
            return 0.0 if slope(0.0) >= 0.0 else float(brentq(slope, 0.0, grid[1], xtol=1e-14, rtol=1e-12))
        low, high = grid[best - 1], grid[min(best + 1, len(grid) - 1)]
        if not np.isfinite(losses[best - 1]):
            low = grid[1] * 1e-6
        if slope(low) < 0.0 < slope(high):
            return float(brentq(slope, low, high, xtol=1e-14, rtol=1e-12))
        return float(grid[best])
