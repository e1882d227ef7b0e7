"""The optimizers, with the formulas of torch.optim, or of their authors where it has none.

Where TensorFlow's own optimizer computes the same, it is used as it is. Where the two differ,
mostly in what epsilon is added to, a subclass computes the formula of PyTorch. Settings of RMSprop
and Adam choose the formula of TensorFlow 1, with which the study trained. In all formulas g is the
gradient, p the weights, lr the learning rate and t the number of the step, from 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

v1 = tf.compat.v1.train


def make_optimizer(
    optimizer: Mapping[str, Any], learning_rate: tf.Tensor, step: tf.Tensor
) -> v1.Optimizer:
    """Makes an optimizer.

    Args:
        optimizer: the `name` of the optimizer and its settings, as in conf/optimizer. Its
            `learning_rate` is not used.
        learning_rate: the learning rate of the step, as the schedule determines it, a scalar.
        step: the number of steps taken before this one, a scalar.
    """
    make = OPTIMIZERS[optimizer["name"]]
    settings = {
        key: value for key, value in optimizer.items() if key not in ("name", "learning_rate")
    }
    return make(learning_rate, step, **settings)


def weights_to_keep(
    optimizer: Mapping[str, Any], variables: Mapping[str, tf.Variable]
) -> dict[str, tf.Variable | tf.Tensor]:
    """Returns what validations and the kept model have in the place of each variable.

    That is the variable itself. Only schedule-free training keeps other weights than it trains,
    their average. To read the average changes no variable, so no later step either.

    Args:
        optimizer: the `name` of the optimizer and its settings.
        variables: all variables of the training's graph, by name.
    """
    kept: dict[str, tf.Variable | tf.Tensor] = dict(variables)
    if optimizer["name"] == "schedulefree":
        for name, variable in variables.items():
            z = variables.get(f"{name}/{ScheduleFree.STEPPED}")
            if z is not None:  # a weight without a gradient has no slots
                kept[name] = ScheduleFree.average(variable, z, optimizer["beta1"])
    return kept


def _sgd(learning_rate: tf.Tensor, step: tf.Tensor) -> v1.Optimizer:
    return v1.GradientDescentOptimizer(learning_rate)


def _momentum(learning_rate: tf.Tensor, step: tf.Tensor, momentum: float) -> v1.Optimizer:
    return v1.MomentumOptimizer(learning_rate, momentum)


def _nesterov(learning_rate: tf.Tensor, step: tf.Tensor, momentum: float) -> v1.Optimizer:
    return v1.MomentumOptimizer(learning_rate, momentum, use_nesterov=True)


def _adadelta(
    learning_rate: tf.Tensor, step: tf.Tensor, rho: float, epsilon: float
) -> v1.Optimizer:
    return v1.AdadeltaOptimizer(learning_rate, rho, epsilon)


class _Optimizer(v1.Optimizer):
    """The parts that the subclasses share: a learning rate, dense gradients, slots and scalars.

    Slots are tensors that TensorFlow keeps for each variable, in its shape. Scalars are float64
    numbers that it keeps for all variables together. Checkpoints hold both.

    With several devices, each has a copy of all variables, which `_update` changes in the same way.

    Args:
        learning_rate: the learning rate of the step, a scalar.
        step: the number of steps taken before this one, a scalar.
        initial_values: the initial values of slots and scalars, by name; of those that are not
            here, slots begin at 0 and scalars as SCALARS says.
    """

    SLOTS: tuple[str, ...] = ()  # their names
    COPIES: tuple[str, ...] = ()  # those of them that begin as a copy of the weights
    SCALARS: Mapping[str, float] = {}  # the initial value of each, by name

    def __init__(self, learning_rate: tf.Tensor, step: tf.Tensor, **initial_values: float) -> None:
        super().__init__(use_locking=False, name=type(self).__name__)
        self._rate = tf.convert_to_tensor(learning_rate)
        self._initial_values = initial_values
        # In single precision, powers of a beta near 1 would lose most of their digits.
        self._t = tf.cast(step, tf.float64) + 1
        # The values of the scalars after this step, by name.
        self._next_scalars: dict[str, tf.Tensor] = {}

    def _slots_of(self, variable: tf.Variable) -> tuple[str, ...]:
        """Returns the names of the slots of a variable."""
        return self.SLOTS

    def _create_slots(self, variables: Sequence[tf.Variable]) -> None:
        for variable in variables:
            for slot in self._slots_of(variable):
                value = tf.cast(self._initial_values.get(slot, 0.0), variable.dtype.base_dtype)
                copies = slot in self.COPIES
                initial = variable.initial_value if copies else tf.fill(variable.shape, value)
                self._get_or_make_slot(variable, initial, slot, slot)
        first = min(variables, key=lambda variable: variable.op.name)
        for scalar, value in self.SCALARS.items():
            initial = tf.constant(self._initial_values.get(scalar, value), tf.float64)
            self._create_non_slot_variable(initial, scalar, first)

    def _scalar(self, name: str) -> tf.Variable:
        """Returns the variable of a scalar, on the device whose update is being made."""
        return self._get_non_slot_variable(name, graph=tf.compat.v1.get_default_graph())

    def _resource_apply_dense(self, gradient: tf.Tensor, variable: tf.Variable) -> tf.Operation:
        slots = [self.get_slot(variable, slot) for slot in self._slots_of(variable)]
        return self._update(gradient, variable, *slots)

    def _finish(self, update_ops: Sequence[tf.Operation], name_scope: str) -> tf.Operation:
        # The updates read the scalars of before this step.
        with tf.control_dependencies(update_ops):
            advances = [
                self._scalar(name).assign(value, read_value=False)
                for name, value in self._next_scalars.items()
            ]
        return tf.group(*update_ops, *advances, name=name_scope)

    def _update(
        self, gradient: tf.Tensor, variable: tf.Variable, *slots: tf.Variable
    ) -> tf.Operation:
        """Returns the operation that takes one step on one variable.

        Args:
            gradient: in the shape of the variable.
            variable: the variable.
            slots: those of the variable, in the order of `SLOTS`.
        """
        raise NotImplementedError


class Adagrad(_Optimizer):
    """Adagrad (Duchi, Hazan and Singer 2011): s += g²; p -= lr g / (√s + ε).

    That of TensorFlow 1 has no ε, and begins with s = 0.1.
    """

    SLOTS = ("accumulator",)

    def __init__(
        self,
        learning_rate: tf.Tensor,
        step: tf.Tensor,
        initial_accumulator_value: float,
        epsilon: float,
    ) -> None:
        super().__init__(learning_rate, step, accumulator=initial_accumulator_value)
        self._epsilon = epsilon

    def _update(
        self, gradient: tf.Tensor, variable: tf.Variable, accumulator: tf.Variable
    ) -> tf.Operation:
        if not self._epsilon:
            return tf.raw_ops.ResourceApplyAdagrad(
                var=variable.handle, accum=accumulator.handle, lr=self._rate, grad=gradient
            )
        return tf.raw_ops.ResourceApplyAdagradV2(
            var=variable.handle,
            accum=accumulator.handle,
            lr=self._rate,
            epsilon=self._epsilon,
            grad=gradient,
        )


class RMSprop(_Optimizer):
    """RMSprop (Hinton 2012): s = αs + (1-α)g²; b = μb + g / (√s + ε); p -= lr b.

    That of TensorFlow 1 begins with s = 1 (`initial_mean_square`) and divides by √(s + ε)
    (`epsilon_inside_root`). Its kernel is used for this if there is no momentum. With momentum the
    kernel differs, as its b contains the learning rate.
    """

    def __init__(
        self,
        learning_rate: tf.Tensor,
        step: tf.Tensor,
        alpha: float,
        momentum: float,
        epsilon: float,
        initial_mean_square: float,
        epsilon_inside_root: bool,
    ) -> None:
        super().__init__(learning_rate, step, square=initial_mean_square)
        self._alpha, self._momentum, self._epsilon = alpha, momentum, epsilon
        self._inside = epsilon_inside_root
        self._by_kernel = epsilon_inside_root and not momentum
        self.SLOTS = ("square", "buffer") if momentum or self._by_kernel else ("square",)

    def _update(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        square: tf.Variable,
        buffer: tf.Variable | None = None,
    ) -> tf.Operation:
        if self._by_kernel:
            return tf.raw_ops.ResourceApplyRMSProp(
                var=variable.handle,
                ms=square.handle,
                mom=buffer.handle,
                lr=self._rate,
                rho=self._alpha,
                momentum=0.0,
                epsilon=self._epsilon,
                grad=gradient,
            )
        squares = square.assign(
            self._alpha * square + (1 - self._alpha) * tf.square(gradient), read_value=True
        )
        if self._inside:
            update = gradient / tf.sqrt(squares + self._epsilon)
        else:
            update = gradient / (tf.sqrt(squares) + self._epsilon)
        if buffer is not None:
            update = buffer.assign(self._momentum * buffer + update, read_value=True)
        return variable.assign_sub(self._rate * update, read_value=False)


def _adam(
    learning_rate: tf.Tensor, step: tf.Tensor, epsilon_before_correction: bool, **settings: float
) -> v1.Optimizer:
    if epsilon_before_correction:
        return v1.AdamOptimizer(learning_rate, **settings)
    return Adam(learning_rate, step, **settings)


class Adam(_Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1).

    m = β₁m + (1-β₁)g; v = β₂v + (1-β₂)g²; m̂ = m / (1-β₁ᵗ); v̂ = v / (1-β₂ᵗ);
    p -= lr m̂ / (√v̂ + ε).

    TensorFlow adds ε to √v before the correction of v, as in the remark before section 2.1 of
    Kingma and Ba: p -= lr √(1-β₂ᵗ) / (1-β₁ᵗ) m / (√v + ε). Its kernel computes the formula above
    when it is given ε √(1-β₂ᵗ) as its ε.
    """

    SLOTS = ("m", "v")

    def __init__(
        self,
        learning_rate: tf.Tensor,
        step: tf.Tensor,
        beta1: float,
        beta2: float,
        epsilon: float,
    ) -> None:
        super().__init__(learning_rate, step)
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._power1 = tf.pow(tf.constant(beta1, tf.float64), self._t)
        self._power2 = tf.pow(tf.constant(beta2, tf.float64), self._t)

    def _update(
        self, gradient: tf.Tensor, variable: tf.Variable, m: tf.Variable, v: tf.Variable
    ) -> tf.Operation:
        correction2 = tf.sqrt(1 - self._power2)
        rate = tf.cast(self._rate, tf.float64) * correction2 / (1 - self._power1)
        return tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=m.handle,
            v=v.handle,
            # With powers of 0, the kernel leaves the rate as it is. It is corrected above in double
            # precision; the kernel would do so in single precision.
            beta1_power=0.0,
            beta2_power=0.0,
            lr=tf.cast(rate, tf.float32),
            beta1=self._beta1,
            beta2=self._beta2,
            epsilon=tf.cast(self._epsilon * correction2, tf.float32),
            grad=gradient,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): p -= lr λ p, then Adam."""

    def __init__(
        self,
        learning_rate: tf.Tensor,
        step: tf.Tensor,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float,
    ) -> None:
        super().__init__(learning_rate, step, beta1, beta2, epsilon)
        self._weight_decay = weight_decay

    def _update(
        self, gradient: tf.Tensor, variable: tf.Variable, m: tf.Variable, v: tf.Variable
    ) -> tf.Operation:
        decayed = variable * (1 - self._rate * self._weight_decay)
        with tf.control_dependencies([variable.assign(decayed, read_value=False)]):
            return super()._update(gradient, variable, m, v)


class Adamax(_Optimizer):
    """Adamax (Kingma and Ba 2015, section 7.1).

    m = β₁m + (1-β₁)g; u = max(β₂u, |g| + ε); p -= lr m / ((1-β₁ᵗ) u).
    """

    SLOTS = ("m", "u")

    def __init__(
        self,
        learning_rate: tf.Tensor,
        step: tf.Tensor,
        beta1: float,
        beta2: float,
        epsilon: float,
    ) -> None:
        super().__init__(learning_rate, step)
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        correction = 1 - tf.pow(tf.constant(beta1, tf.float64), self._t)
        self._corrected = tf.cast(tf.cast(self._rate, tf.float64) / correction, tf.float32)

    def _update(
        self, gradient: tf.Tensor, variable: tf.Variable, m: tf.Variable, u: tf.Variable
    ) -> tf.Operation:
        m = m.assign(self._beta1 * m + (1 - self._beta1) * gradient, read_value=True)
        u = u.assign(tf.maximum(self._beta2 * u, tf.abs(gradient) + self._epsilon), read_value=True)
        return variable.assign_sub(self._corrected * m / u, read_value=False)


class Nadam(_Optimizer):
    """Nadam (Dozat 2016).

    μₜ = β₁(1 - 0.96^(ψt)/2), where ψ is the momentum decay; m, v and v̂ as in Adam; Π = μ₁μ₂…μₜ;
    p -= lr ((1-μₜ)g / (1-Π) + μₜ₊₁m / (1-Πμₜ₊₁)) / (√v̂ + ε).
    """

    SLOTS = ("m", "v")
    SCALARS: Mapping[str, float] = {"mu_product": 1.0}  # Π before this step

    def __init__(
        self,
        learning_rate: tf.Tensor,
        step: tf.Tensor,
        beta1: float,
        beta2: float,
        epsilon: float,
        momentum_decay: float,
    ) -> None:
        super().__init__(learning_rate, step)
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._mu = self._momentum_at(self._t, momentum_decay)
        self._next_mu = self._momentum_at(self._t + 1, momentum_decay)

    def _momentum_at(self, t: tf.Tensor, decay: float) -> tf.Tensor:
        """Returns μ of step `t`, a float64 scalar."""
        return self._beta1 * (1 - 0.5 * tf.pow(tf.constant(0.96, tf.float64), t * decay))

    def _prepare(self) -> None:
        self._product = self._scalar("mu_product") * self._mu
        self._next_scalars = {"mu_product": self._product}

    def _update(
        self, gradient: tf.Tensor, variable: tf.Variable, m: tf.Variable, v: tf.Variable
    ) -> tf.Operation:
        rate = tf.cast(self._rate, tf.float64)
        of_gradient = rate * (1 - self._mu) / (1 - self._product)
        of_m = rate * self._next_mu / (1 - self._product * self._next_mu)
        correction2 = 1 - tf.pow(tf.constant(self._beta2, tf.float64), self._t)

        m = m.assign(self._beta1 * m + (1 - self._beta1) * gradient, read_value=True)
        v = v.assign(self._beta2 * v + (1 - self._beta2) * tf.square(gradient), read_value=True)
        denominator = tf.sqrt(v / tf.cast(correction2, tf.float32)) + self._epsilon
        numerator = tf.cast(of_gradient, tf.float32) * gradient + tf.cast(of_m, tf.float32) * m
        return variable.assign_sub(numerator / denominator, read_value=False)


class Lion(_Optimizer):
    """Lion (Chen et al. 2023, algorithm 2), for "evolved sign momentum".

    c = β₁m + (1-β₁)g; p -= lr (sign(c) + λp); m = β₂m + (1-β₂)g.
    """

    SLOTS = ("m",)

    def __init__(
        self,
        learning_rate: tf.Tensor,
        step: tf.Tensor,
        beta1: float,
        beta2: float,
        weight_decay: float,
    ) -> None:
        super().__init__(learning_rate, step)
        self._beta1, self._beta2, self._weight_decay = beta1, beta2, weight_decay

    def _update(self, gradient: tf.Tensor, variable: tf.Variable, m: tf.Variable) -> tf.Operation:
        before = m.read_value()
        mixed = self._beta1 * before + (1 - self._beta1) * gradient
        update = tf.sign(mixed) + self._weight_decay * variable
        return tf.group(
            variable.assign_sub(self._rate * update, read_value=False),
            m.assign(self._beta2 * before + (1 - self._beta2) * gradient, read_value=False),
        )


class Muon(AdamW):
    """Muon (Jordan et al. 2024) for kernels, and AdamW for all variables of fewer than two axes.

    b = μb + (1-μ)g; p = (1 - lr λ)p - 0.2 √max(m, n) lr O(μb + (1-μ)g), where O makes an m × n
    matrix nearly orthogonal, see `_orthogonalized`. By the factor, the root mean square of a step
    is about that of AdamW (Liu et al. 2025, section 2.2), so that both parts share lr and λ.

    A kernel is a matrix of its last axis by all others. That is the matrix that flatten(1) makes of
    the same kernel in PyTorch, where it is (out, in, h, w), here (h, w, in, out), and for a
    transposed convolution (in, out, h, w), here (h, w, out, in). The two matrices differ by a
    transposition and by the order of the combined axes, which do not change the step.
    """

    def __init__(
        self, learning_rate: tf.Tensor, step: tf.Tensor, momentum: float, **adamw: float
    ) -> None:
        super().__init__(learning_rate, step, **adamw)
        self._momentum = momentum

    def _slots_of(self, variable: tf.Variable) -> tuple[str, ...]:
        return ("buffer",) if variable.shape.rank > 1 else self.SLOTS

    def _update(
        self, gradient: tf.Tensor, variable: tf.Variable, *slots: tf.Variable
    ) -> tf.Operation:
        if variable.shape.rank < 2:
            return super()._update(gradient, variable, *slots)
        (buffer,) = slots
        share = 1 - self._momentum
        mean = buffer.assign(self._momentum * buffer + share * gradient, read_value=True)
        nesterov = self._momentum * mean + share * gradient
        matrix = tf.reshape(nesterov, (-1, variable.shape[-1]))
        orthogonal = tf.reshape(_orthogonalized(matrix), variable.shape)
        decayed = variable * (1 - self._rate * self._weight_decay)
        rate = 0.2 * math.sqrt(max(matrix.shape)) * self._rate
        return variable.assign(decayed - rate * orthogonal, read_value=False)


def _orthogonalized(matrix: tf.Tensor) -> tf.Tensor:
    """Brings the singular values of a matrix near 1, and keeps its singular vectors.

    Five Newton-Schulz iterations with the coefficients of Jordan et al. (2024), as in torch.optim.
    PyTorch computes them in bfloat16, and this function in float32.

    Args:
        matrix: of any shape (m, n).
    """
    rows, columns = matrix.shape
    # The iterations take the smaller of the two products of the matrix with its transpose.
    x = tf.transpose(matrix) if rows > columns else matrix
    x = x / tf.maximum(tf.norm(x), 1e-7)
    for _ in range(5):
        gram = tf.matmul(x, x, transpose_b=True)
        x = 3.4445 * x + tf.matmul(-4.7750 * gram + 2.0315 * tf.matmul(gram, gram), x)
    return tf.transpose(x) if rows > columns else x


class ScheduleFree(_Optimizer):
    """Schedule-free AdamW (Defazio et al. 2024), as in version 1.4 of its authors' package.

    v = β₂v + (1-β₂)g²; u = g / (√(v / (1-β₂ᵗ)) + ε) + λy; z -= lr u; x = (1-c)x + cz, where c is
    the share of this step in Σ max(lr so far)²; y = (1-β₁)z + β₁x.

    The variables hold y, where the gradients are taken. The model is x, which is not kept:
    `average` computes it from y and z. Inserted into each other, the formulas change y by
    c (z - y) + lr (β₁(1-c) - 1) u, with the z of before the step.
    """

    STEPPED = "z"
    SLOTS = ("v", STEPPED)
    COPIES = (STEPPED,)
    SCALARS: Mapping[str, float] = {"largest_rate": 0.0, "squared_rates": 0.0}

    def __init__(
        self,
        learning_rate: tf.Tensor,
        step: tf.Tensor,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float,
    ) -> None:
        super().__init__(learning_rate, step)
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._weight_decay = weight_decay
        power2 = tf.pow(tf.constant(beta2, tf.float64), self._t)
        self._correction2 = tf.cast(1 - power2, tf.float32)

    @staticmethod
    def average(y: tf.Variable, z: tf.Variable, beta1: float) -> tf.Tensor:
        """Returns x, the average of all z so far, which is the model.

        Args:
            y: the trained weights.
            z: their slot `STEPPED`.
            beta1: β₁, above 0.
        """
        return y + (1 - 1 / beta1) * (z - y)

    def _prepare(self) -> None:
        rate = tf.cast(self._rate, tf.float64)
        largest = tf.maximum(self._scalar("largest_rate"), rate)
        total = self._scalar("squared_rates") + tf.square(largest)
        self._next_scalars = {"largest_rate": largest, "squared_rates": total}
        # As in the authors' package, no step counts before one has a rate; a tiny rate is 0 in
        # float32.
        share = tf.math.divide_no_nan(tf.square(largest), total)
        self._share = tf.cast(share, tf.float32)
        self._rate_of_y = tf.cast(rate * (1 - self._beta1 * (1 - share)), tf.float32)

    def _update(
        self, gradient: tf.Tensor, variable: tf.Variable, v: tf.Variable, z: tf.Variable
    ) -> tf.Operation:
        v = v.assign(self._beta2 * v + (1 - self._beta2) * tf.square(gradient), read_value=True)
        root = tf.sqrt(v / self._correction2)
        before_y, before_z = variable.read_value(), z.read_value()
        update = gradient / (root + self._epsilon) + self._weight_decay * before_y
        pull = self._share * (before_z - before_y)
        return tf.group(
            variable.assign(before_y + pull - self._rate_of_y * update, read_value=False),
            z.assign(before_z - self._rate * update, read_value=False),
        )


class _Waiting(NamedTuple):
    """A variable whose moments have this step's gradient, and which has not taken the step yet.

    Attributes:
        variable: the variable.
        m: its first moment.
        v: its second moment.
        numerator: Σ g (p₀ - p) over the variable, a scalar.
        denominator: Σ |s| over the variable, a scalar.
    """

    variable: tf.Variable
    m: tf.Tensor
    v: tf.Tensor
    numerator: tf.Tensor
    denominator: tf.Tensor


class Prodigy(_Optimizer):
    """Prodigy by Adam (Mishchenko and Defazio 2023), as in version 1.1 of its authors' package.

    It is Adam that estimates the distance d of the initial weights p₀ from the solution. With
    a = d lr √(1-β₂ᵗ) / (1-β₁ᵗ) and β₃ = √β₂:
    r = β₃r + d/d₀ a Σ g (p₀ - p); m = β₁m + (1-β₁)dg; v = β₂v + (1-β₂)d²g²; s = β₃s + d/d₀ dg;
    d = max(d, k r / Σ|s|); p -= a (λp + m / (√v + dε)), where the sums are over all weights, k is
    `d_coef`, and d begins at d₀. These are the authors' formulas with their options
    `use_bias_correction`, `safeguard_warmup` (s does not depend on lr) and `decouple`.
    """

    SLOTS = ("m", "v", "s", "start")
    COPIES = ("start",)
    SCALARS: Mapping[str, float] = {"d": 1e-6, "numerator": 0.0}

    def __init__(
        self,
        learning_rate: tf.Tensor,
        step: tf.Tensor,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float,
        d_coef: float,
        d0: float,
    ) -> None:
        super().__init__(learning_rate, step, d=d0)
        self._beta1, self._beta2, self._beta3 = beta1, beta2, math.sqrt(beta2)
        self._epsilon, self._weight_decay = epsilon, weight_decay
        self._coefficient, self._initial_d = d_coef, d0
        self._waiting: list[_Waiting] = []
        self._steps: list[tf.Operation] = []

    def _prepare(self) -> None:
        self._d = self._scalar("d").read_value()
        correction1, correction2 = (
            1 - tf.pow(tf.constant(beta, tf.float64), self._t)
            for beta in (self._beta1, self._beta2)
        )
        rate = tf.cast(self._rate, tf.float64)
        self._step_size = self._d * rate * tf.sqrt(correction2) / correction1

    def _update(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        m: tf.Variable,
        v: tf.Variable,
        s: tf.Variable,
        start: tf.Variable,
    ) -> tf.Operation:
        scaled = tf.cast(self._d, tf.float32) * gradient
        relative = tf.cast(self._d / self._initial_d, tf.float32)
        m = m.assign(self._beta1 * m + (1 - self._beta1) * scaled, read_value=True)
        v = v.assign(self._beta2 * v + (1 - self._beta2) * tf.square(scaled), read_value=True)
        s = s.assign(self._beta3 * s + relative * scaled, read_value=True)
        numerator = tf.reduce_sum(gradient * (start - variable))
        denominator = tf.reduce_sum(tf.abs(s))
        self._waiting.append(_Waiting(variable, m, v, numerator, denominator))
        return tf.group(m, v, s, numerator)

    def _finish(self, update_ops: Sequence[tf.Operation], name_scope: str) -> tf.Operation:
        # With several devices this is called for each of them. The first call takes the steps of
        # all, so that all have the same d to the bit.
        if not self._steps:
            self._steps = self._take_steps()
        return super()._finish([*update_ops, *self._steps], name_scope)

    def _take_steps(self) -> list[tf.Operation]:
        """Updates d, and returns the operations that change the variables of all devices."""
        device = self._waiting[0].variable.device
        own = [waiting for waiting in self._waiting if waiting.variable.device == device]
        progress, denominator = (
            tf.add_n([tf.cast(term, tf.float64) for term in terms])
            for terms in zip(*((w.numerator, w.denominator) for w in own), strict=True)
        )
        numerator = self._beta3 * self._scalar("numerator") + (
            self._d / self._initial_d * self._step_size * progress
        )
        # As long as all gradients are 0, so is the denominator, and d stays what it is.
        estimate = self._coefficient * tf.math.divide_no_nan(numerator, denominator)
        d = tf.maximum(self._d, estimate)
        self._next_scalars = {"d": d, "numerator": numerator}
        epsilon = tf.cast(d * self._epsilon, tf.float32)
        size = tf.cast(self._step_size, tf.float32)
        steps = []
        for variable, m, v, _, _ in self._waiting:
            with tf.device(variable.device):
                update = self._weight_decay * variable + m / (tf.sqrt(v) + epsilon)
                steps.append(variable.assign_sub(size * update, read_value=False))
        return steps


OPTIMIZERS: dict[str, Callable[..., v1.Optimizer]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "adagrad": Adagrad,
    "adadelta": _adadelta,
    "rmsprop": RMSprop,
    "adam": _adam,
    "adamw": AdamW,
    "adamax": Adamax,
    "nadam": Nadam,
    "lion": Lion,
    "muon": Muon,
    "schedulefree": ScheduleFree,
    "prodigy": Prodigy,
}
