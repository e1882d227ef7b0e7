"""The optimizers, with the formulas of torch.optim.

Where TensorFlow's own optimizer computes the same, it is used as it is. Where the two differ,
mostly in what epsilon is added to, a subclass computes the formula of PyTorch. Settings of RMSprop
and Adam choose the formula of TensorFlow 1, with which the study trained. In all formulas g is the
gradient, p the weights, lr the learning rate and t the number of the step, from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
    """The parts that the subclasses share: a learning rate, dense gradients, and slots.

    Slots are tensors that TensorFlow keeps for each variable, in its shape.

    Args:
        learning_rate: the learning rate of the step, a scalar.
        step: the number of steps taken before this one, a scalar.
        initial_values: the initial values of the slots, by name; 0 unless they are here.
    """

    SLOTS: tuple[str, ...] = ()  # their names

    def __init__(self, learning_rate: tf.Tensor, step: tf.Tensor, **initial_values: float) -> None:
        super().__init__(use_locking=False, name=type(self).__name__)
        self._rate = tf.convert_to_tensor(learning_rate)
        self._initial_values = initial_values
        # In single precision, powers of a beta near 1 would lose most of their digits.
        self._t = tf.cast(step, tf.float64) + 1

    def _create_slots(self, variables: Sequence[tf.Variable]) -> None:
        for variable in variables:
            for slot in self.SLOTS:
                initial = tf.cast(self._initial_values.get(slot, 0.0), variable.dtype.base_dtype)
                self._get_or_make_slot(variable, tf.fill(variable.shape, initial), slot, slot)

    def _resource_apply_dense(self, gradient: tf.Tensor, variable: tf.Variable) -> tf.Operation:
        slots = [self.get_slot(variable, slot) for slot in self.SLOTS]
        return self._update(gradient, variable, *slots)

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

    def _create_slots(self, variables: Sequence[tf.Variable]) -> None:
        super()._create_slots(variables)
        first = min(variables, key=lambda variable: variable.op.name)
        self._create_non_slot_variable(tf.ones((), tf.float64), "mu_product", first)

    def _prepare(self) -> None:
        self._product = self._mu_product * self._mu

    def _finish(self, update_ops: Sequence[tf.Operation], name_scope: str) -> tf.Operation:
        with tf.control_dependencies(update_ops):
            advance = self._mu_product.assign(self._product, read_value=False)
        return tf.group(*update_ops, advance, name=name_scope)

    @property
    def _mu_product(self) -> tf.Variable:
        """Π before this step, a float64 scalar, which is kept for all variables together."""
        return self._get_non_slot_variable("mu_product", graph=tf.compat.v1.get_default_graph())

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
}
