"""The recurrences as plain loops over numbers that count what is done with them, forward and backward.

The loops take the formulas of `resnet_bk.resolvent` as they stand. A multiplication, an addition, a
division and a root of real numbers are one operation each; a change of sign is none.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

operations = 0


class Real:
    """A real number."""

    def __init__(self, value: float) -> None:
        self.value = float(value)

    def __add__(self, other: Real) -> Real:
        return _done(self.value + other.value)

    def __sub__(self, other: Real) -> Real:
        return _done(self.value - other.value)

    def __mul__(self, other: Real) -> Real:
        return _done(self.value * other.value)

    def __truediv__(self, other: Real) -> Real:
        return _done(self.value / other.value)

    def __neg__(self) -> Real:
        return Real(-self.value)

    def root(self) -> Real:
        """The square root."""
        return _done(math.sqrt(self.value))


class Complex(NamedTuple):
    """A complex number."""

    re: Real
    im: Real

    def plus(self, other: Complex) -> Complex:
        """The sum."""
        return Complex(self.re + other.re, self.im + other.im)

    def times(self, other: Complex) -> Complex:
        """The product."""
        return Complex(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)

    def scaled(self, factor: Real) -> Complex:
        """The product with a real number."""
        return Complex(self.re * factor, self.im * factor)

    @property
    def conjugate(self) -> Complex:
        """The complex conjugate."""
        return Complex(self.re, -self.im)


def _done(value: float) -> Real:
    global operations
    operations += 1
    return Real(value)


ZERO, ONE, TWO = Real(0), Real(1), Real(2)
NOTHING = Complex(ZERO, ZERO)


def inverse(x: Real, q: Real) -> Complex:
    """1 / (x - i q)."""
    size = ONE / (x * x + q * q)
    return Complex(x * size, q * size)


def fraction(detuning: Real, s: Real, eta: Real, before: Complex) -> tuple[Real, Real, Complex]:
    """Both parts of d of one site, d = x - i q = detuning - i eta - s g, and s g."""
    reach = before.scaled(s)
    return detuning - reach.re, eta + reach.im, reach


class Diagonal:
    """G_ii = 1 / (a_i - z - s_i g_{i-1} - s_{i+1} r_{i+1}), energy and width shared by all sites."""

    def __init__(self, potential: list[Real], coupling: list[Real], energy: Real, eta: Real) -> None:
        self.s = [*coupling, ZERO]
        detuning = [a - energy for a in potential]
        self.left, self.right = [NOTHING], [NOTHING]
        self.full: list[Complex] = []
        xs, qs = [], []
        for site, s in zip(detuning, coupling, strict=True):
            x, q, _ = fraction(site, s, eta, self.left[-1])
            xs.append(x)
            qs.append(q)
            self.left.append(inverse(x, q))
        for i in reversed(range(len(detuning))):
            x, q, reach = fraction(detuning[i], self.s[i + 1], eta, self.right[0])
            self.right.insert(0, inverse(x, q))
            self.full.insert(0, inverse(xs[i] - reach.re, qs[i] + reach.im))

    def backward(self, cotangent: list[Complex]) -> tuple[list[Real], list[Real], Real, Real]:
        """Gradients of potential, coupling, energy and width."""
        length = len(self.full)
        direct = [g.times(g).conjugate.times(c) for g, c in zip(self.full, cotangent, strict=True)]
        rising, falling = [NOTHING], [NOTHING]
        for i in reversed(range(length)):
            g, after = self.left[i + 1], direct[i + 1] if i + 1 < length else NOTHING
            rising.insert(0, g.times(g).conjugate.scaled(self.s[i + 1]).times(after.plus(rising[0])))
        for i in range(length):
            r, before = self.right[i], direct[i - 1] if i else NOTHING
            falling.append(r.times(r).conjugate.scaled(self.s[i]).times(before.plus(falling[-1])))
        energy = eta = ZERO
        potential, coupling = [], []
        for i in range(length):
            through = direct[i].plus(rising[i])
            total = through.plus(falling[i + 1])
            other = (direct[i - 1] if i else NOTHING).plus(falling[i])
            g, r = self.left[i], self.right[i]
            coupling.append((through.re * g.re + through.im * g.im) + (other.re * r.re + other.im * r.im))
            potential.append(-total.re)
            energy, eta = energy + total.re, eta + total.im
        return potential, coupling, energy, eta


class Causal:
    """g_i = 1 / (a_i - z - s_i g_{i-1}) and y_i = g_i (u_i - c_i y_{i-1}), s = c^2."""

    def __init__(
        self, potential: list[Real], hopping: list[Real], energy: Real, eta: Real, inputs: list[list[Real]]
    ) -> None:
        self.c, self.s = [*hopping, ZERO], []
        self.diagonal, self.values = [NOTHING], [[NOTHING for _ in inputs[0]]]
        for a, c, row in zip(potential, hopping, inputs, strict=True):
            self.s.append(c * c)
            x, q, _ = fraction(a - energy, self.s[-1], eta, self.diagonal[-1])
            g = inverse(x, q)
            carried = [y.scaled(-c) for y in self.values[-1]]
            self.values.append([g.times(Complex(u + y.re, y.im)) for u, y in zip(row, carried, strict=True)])
            self.diagonal.append(g)
        self.s.append(ZERO)

    def backward(
        self, diagonal: list[Complex], values: list[list[Complex]]
    ) -> tuple[list[Real], list[Real], Real, Real, list[list[Real]]]:
        """Gradients of potential, hopping, energy, width and inputs."""
        total, adjoint = NOTHING, [NOTHING for _ in self.values[0]]
        energy = eta = ZERO
        potential: list[Real] = []
        hopping: list[Real] = []
        inputs: list[list[Real]] = []
        for i in reversed(range(len(diagonal))):
            g, before, c = self.diagonal[i + 1], self.diagonal[i], self.c[i]
            through = total.scaled(self.s[i + 1])
            total = g.times(g).conjugate.times(diagonal[i].plus(through))
            adjoint = [
                g.conjugate.times(v.plus(later.scaled(-self.c[i + 1])))
                for v, later in zip(values[i], adjoint, strict=True)
            ]
            slope = ZERO
            for u, y, last in zip(adjoint, self.values[i + 1], self.values[i], strict=True):
                total = total.plus(u.times(y.conjugate))
                slope = slope + (u.re * last.re + u.im * last.im)
            reached = total.re * before.re + total.im * before.im
            hopping.insert(0, TWO * c * reached - slope)
            potential.insert(0, -total.re)
            inputs.insert(0, [u.re for u in adjoint])
            energy, eta = energy + total.re, eta + total.im
        return potential, hopping, energy, eta, inputs


class Gates:
    """alpha and beta of `causal_gates`, going on from a site with x and q."""

    def __init__(
        self,
        potential: list[Real],
        hopping: list[Real],
        energy: Real,
        eta: list[Real],
        initial: tuple[Real, Real],
        complex_phase: bool,
    ) -> None:
        self.c, self.eta, self.phase = hopping, eta, complex_phase
        self.x, self.q = [initial[0]], [initial[1]]
        self.alpha: list[Complex] = []
        self.beta: list[Real] = []
        for a, c, width in zip(potential, hopping, eta, strict=True):
            x, q = self.x[-1], self.q[-1]
            size = ONE / (x * x + q * q)
            coupling = c * c * size
            kept = coupling * q
            self.q.append(width + kept)
            self.x.append(a - energy - coupling * x)
            self.beta.append(width / self.q[-1])
            if complex_phase:
                root = -c * (q / self.q[-1]).root()
                self.alpha.append(Complex(x * size, q * size).scaled(root))
            else:
                self.alpha.append(Complex((kept / self.q[-1]).root(), ZERO))

    def backward(
        self, alpha: list[Complex], beta: list[Real]
    ) -> tuple[list[Real], list[Real], Real, list[Real]]:
        """Gradients of potential, hopping, energy and widths."""
        x_hat = q_hat = energy = ZERO
        potential: list[Real] = []
        hopping: list[Real] = []
        eta: list[Real] = []
        for i in reversed(range(len(beta))):
            c, g, share = self.c[i], inverse(self.x[i], self.q[i]), ONE / self.q[i + 1]
            own = beta[i] * share * share
            if self.phase:
                root = (self.q[i] * share).root()
                slope = -root * (g.re * alpha[i].re + g.im * alpha[i].im)
                factor = -c * root
                through = alpha[i].scaled(factor)
                half = slope * c / TWO
                before = half / self.q[i]
            else:
                magnitude, root = abs_of(c) * alpha[i].re, (g.im * share).root()
                slope = with_sign(c, alpha[i].re * root)
                half = magnitude * root / TWO
                through, before = Complex(ZERO, half / g.im), ZERO
            q_total = q_hat - half * share
            s = c * c
            eta.insert(0, q_total + own * s * g.im)
            q_total = q_total - own * self.eta[i]
            s_hat = q_total * g.im - x_hat * g.re
            potential.insert(0, x_hat)
            hopping.insert(0, slope + TWO * c * s_hat)
            energy = energy - x_hat
            # From 1 / d of the site before to its x and q.
            through = through.plus(Complex(-(s * x_hat), s * q_total))
            difference, product = g.im * g.im - g.re * g.re, TWO * g.re * g.im
            x_hat = through.re * difference - through.im * product
            q_hat = before - through.re * product - through.im * difference
        return potential, hopping, energy, eta


class State:
    """R_i = alpha_i R_{i-1} + sqrt(beta_i) k_i v_i^T and o_i = (Re R_i)^T q_i, from R = 0."""

    def __init__(
        self,
        queries: list[list[Real]],
        keys: list[list[Real]],
        values: list[list[Real]],
        alpha: list[Complex] | list[Real],
        beta: list[Real],
    ) -> None:
        self.inputs = queries, keys, values, alpha, beta
        self.outputs = []
        for query, state in zip(queries, self.states()[1:], strict=True):
            out = [ZERO for _ in values[0]]
            for q, row in zip(query, state, strict=True):
                out = [o + q * real_part(r) for o, r in zip(out, row, strict=True)]
            self.outputs.append(out)

    def states(self) -> list[list[list[Real | Complex]]]:
        """R before the first site and after each; a way back computes them again."""
        _, keys, values, alpha, beta = self.inputs
        nothing: Real | Complex = NOTHING if isinstance(alpha[0], Complex) else ZERO
        found = [[[nothing for _ in values[0]] for _ in keys[0]]]
        for key, value, kept, share in zip(keys, values, alpha, beta, strict=True):
            root = share.root()
            found.append(
                [
                    [plus_real(product(kept, r), written * v) for r, v in zip(row, value, strict=True)]
                    for k, row in zip(key, found[-1], strict=True)
                    for written in [root * k]
                ]
            )
        return found

    def backward(self, cotangent: list[list[Real]]) -> tuple[list[Any], ...]:
        """Gradients of queries, keys, values, alpha and beta."""
        queries, keys, values, alpha, beta = self.inputs
        states = self.states()
        nothing = states[0][0][0]
        adjoint = [[nothing for _ in values[0]] for _ in keys[0]]
        after: Real | Complex = nothing
        results: tuple[list[Any], ...] = ([], [], [], [], [])
        for i in reversed(range(len(beta))):
            root = beta[i].root()
            query, value, slope, share = [], [ZERO for _ in values[0]], nothing, ZERO
            key = []
            for j, row in enumerate(adjoint):
                row = [
                    plus_real(product(conjugate(after), r), queries[i][j] * o)
                    for r, o in zip(row, cotangent[i], strict=True)
                ]
                adjoint[j] = row
                written, read, entry = root * keys[i][j], ZERO, ZERO
                for p, r in enumerate(row):
                    read = read + real_part(states[i + 1][j][p]) * cotangent[i][p]
                    entry = entry + real_part(r) * values[i][p]
                    value[p] = value[p] + real_part(r) * written
                    slope = plus(slope, product(conjugate(states[i][j][p]), r))
                query.append(read)
                key.append(entry * root)
                share = share + entry * keys[i][j]
            found = (query, key, value, slope, share / (TWO * root))
            for result, gradient in zip(results, found, strict=True):
                result.insert(0, gradient)
            after = alpha[i]
        return results


def abs_of(number: Real) -> Real:
    """The magnitude, which costs nothing."""
    return Real(abs(number.value))


def with_sign(number: Real, magnitude: Real) -> Real:
    """The magnitude with the sign of a number, likewise."""
    return Real(math.copysign(1, number.value) * magnitude.value)


def real_part(number: Real | Complex) -> Real:
    """Of either kind of number."""
    return number.re if isinstance(number, Complex) else number


def conjugate(number: Real | Complex) -> Any:
    """Of either kind of number."""
    return number.conjugate if isinstance(number, Complex) else number


def product(one: Any, other: Any) -> Any:
    """Of numbers of one kind."""
    return one.times(other) if isinstance(one, Complex) else one * other


def plus(one: Any, other: Any) -> Any:
    """The sum of numbers of one kind."""
    return one.plus(other) if isinstance(one, Complex) else one + other


def plus_real(number: Any, real: Real) -> Any:
    """The sum with a real number."""
    return Complex(number.re + real, number.im) if isinstance(number, Complex) else number + real
