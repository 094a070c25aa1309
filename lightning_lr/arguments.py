"""Rules for the arguments of everything public, and `checked`, which applies them before a function is called.

A rule takes the name of an argument and its value, and gives the value that the function works with: numbers of NumPy
become Python's, whole floats become ints. If the value is wrong, it raises a ValueError of one sentence with the name,
the rule and the value. A text is never taken for a number, and true and false are no numbers. A rule that one part of
the package alone needs stands there.
"""

from __future__ import annotations

import functools
import inspect
import math
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

# A name of its own: jsonargparse looks up the types of a decorated constructor in this module too.
ArgumentRule = Callable[[str, Any], Any]
Target = TypeVar("Target", bound=Callable[..., Any])

# A higher learning rate times a factor of an optimizer overflows in float32, where 3.4e38 is the largest number.
MAX_LR = 1e30
# Steps from one measurement to the next. Further apart, most runs would end before the second one.
MAX_SPACING = 10_000
# How much of a value an error message shows, in elements and characters.
_shortened = reprlib.Repr()
_shortened.maxlist = _shortened.maxtuple = _shortened.maxdict = 20
_shortened.maxstring = _shortened.maxother = 200


def checked(**rules: ArgumentRule) -> Callable[[Target], Target]:
    """Decorates a function, or a class for its constructor: arguments that are given are replaced by what rules give.

    >>> @checked(lr=learning_rate)
    ... def halved(lr):
    ...     return lr / 2
    >>> halved("0.1")
    Traceback (most recent call last):
    ValueError: lr must be a number, got '0.1'.

    Args:
        rules: by the names of the arguments.
    """

    def decorate(target: Target) -> Target:
        function: Any = vars(target)["__init__"] if isinstance(target, type) else target
        signature = inspect.signature(function)
        names = [name for name, each in signature.parameters.items() if each.kind is each.POSITIONAL_OR_KEYWORD]

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if len(args) == len(names) == len(signature.parameters) and not kwargs:  # need not be bound, which is slow
                return function(*(rules[n](n, arg) if n in rules else arg for n, arg in zip(names, args, strict=True)))
            try:
                given = signature.bind(*args, **kwargs)
            except TypeError:
                return function(*args, **kwargs)  # Python's own error, which names the function
            for name in given.arguments:  # in the order of the signature, so that all ranks name the same argument
                if name in rules:
                    given.arguments[name] = rules[name](name, given.arguments[name])
            return function(*given.args, **given.kwargs)

        call.argument_rules = rules  # type: ignore[attr-defined]
        if not isinstance(target, type):
            return cast("Target", call)
        setattr(target, "__init__", call)  # noqa: B010  # an assignment is an error for type checkers
        return target

    return decorate


def refuse(name: str, rule: str, value: Any) -> ValueError:
    """The error that says what an argument must be."""
    shown = " ".join(_shortened.repr(value).split())  # in one line
    return ValueError(f"{name} must {rule}, got {shown}.")


def number(
    *, above: float | None = None, at_least: float | None = None, at_most: float = math.inf, below: float = math.inf
) -> ArgumentRule:
    """A finite number within limits, as an int or a float.

    >>> number(above=0, at_most=1)("gamma", 1.5)
    Traceback (most recent call last):
    ValueError: gamma must be above 0 and at most 1, got 1.5.
    """
    lower = "" if above is None else f"above {above:g}"
    lower = lower if at_least is None else f"at least {at_least:g}"
    upper = f"at most {at_most:g}" if at_most < math.inf else f"below {below:g}" if below < math.inf else ""
    rule = " and ".join(filter(None, (lower, upper) if upper else ("finite", lower)))

    def check(name: str, value: Any) -> float:
        plain = real(name, value)
        is_high_enough = (above is None or plain > above) and (at_least is None or plain >= at_least)
        if not (math.isfinite(plain) and is_high_enough and plain <= at_most and plain < below):
            raise refuse(name, f"be {rule}", value)
        return plain

    return check


def number_or_infinity(*, at_least: float) -> ArgumentRule:
    """A number of at least so much, infinite if it is not known."""

    def check(name: str, value: Any) -> float:
        if not real(name, value) >= at_least:
            raise refuse(name, f"be at least {at_least:g}, infinite if it is not known", value)
        return real(name, value)

    return check


def real(name: str, value: Any) -> float:
    """A number that need not be finite, as an int or a float."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise refuse(name, "be a number", value)
    try:
        as_float = float(value)
    except OverflowError:
        raise refuse(name, "be finite", value) from None
    return int(value) if isinstance(value, Integral) else as_float


def whole(*, at_least: int, at_most: int = sys.maxsize) -> ArgumentRule:
    """A whole number within limits, as an int.

    >>> whole(at_least=1)("num_cycles", 3.0)
    3
    """

    def check(name: str, value: Any) -> int:
        is_whole = isinstance(value, Integral) or (isinstance(value, Real) and value % 1 == 0)  # false if not finite
        if not is_whole or isinstance(value, bool) or value < at_least:
            raise refuse(name, f"be a whole number of at least {at_least}", value)
        if value > at_most:
            raise refuse(name, f"be at most {at_most}", value)
        return int(value)

    return check


def learning_rate(name: str, value: Any) -> float:
    """A learning rate above 0, at most `MAX_LR`."""
    return learning_rate_or_0(name, number(above=0)(name, value))


def learning_rate_or_0(name: str, value: Any) -> float:
    """A learning rate of at least 0, at most `MAX_LR`."""
    lr: float = number(at_least=0)(name, value)
    if lr > MAX_LR:
        raise refuse(name, f"be at most {MAX_LR:g}, since steps overflow above", lr)
    return lr


def flag(name: str, value: Any) -> bool:
    """True or false. A text such as "no" would count as true."""
    if not isinstance(value, (bool, np.bool_)):
        raise refuse(name, "be true or false", value)
    return bool(value)


def choice(choices: Iterable[str]) -> ArgumentRule:
    """One of some texts."""
    known = list(choices)

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise refuse(name, f"be one of {', '.join(known)}", value)
        return value

    return check


def key(name: str, value: Any) -> str:
    """The key of something that is logged."""
    if not isinstance(value, str) or not value:
        raise refuse(name, "be a key that the module logs", value)
    return value


def path(name: str, value: Any) -> str | Path:
    """The path of a file, as it is given: it may be an address."""
    if not isinstance(value, (str, Path)) or str(value) in ("", "."):
        raise refuse(name, "be the path of a file", value)
    return value


def function(name: str, value: Any) -> Any:
    """Something that can be called."""
    if not callable(value):
        raise refuse(name, "be a function", value)
    return value


def anything(name: str, value: Any) -> Any:  # noqa: ARG001
    """What Lightning or torch check themselves."""
    return value


def optional(rule: ArgumentRule) -> ArgumentRule:
    """None, or what a rule says."""
    return lambda name, value: None if value is None else rule(name, value)


def list_of(rule: ArgumentRule, what: str, at_least: int = 1) -> ArgumentRule:
    """A list, a tuple or an array, as a list of what a rule gives.

    Args:
        rule: for each element.
        what: the list and its elements in words, for the error message.
        at_least: their number.
    """

    def check(name: str, value: Any) -> list[Any]:
        elements = value.tolist() if hasattr(value, "tolist") else value
        if not isinstance(elements, Iterable) or isinstance(elements, (str, bytes, Mapping)):
            raise refuse(name, f"be {what}", value)
        elements = list(elements)
        if len(elements) < at_least:
            raise refuse(name, f"be {what}", elements)
        if rule is real and set(map(type, elements)) == {float}:
            return elements  # they stay as they are, and a search checks its losses so at each step
        try:
            return [rule(name, each) for each in elements]
        except ValueError:
            raise refuse(name, f"be {what}", elements) from None

    return check


def instance_of(*types: type, what: str) -> ArgumentRule:
    """An object of one of some classes."""

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, types):
            raise refuse(name, f"be {what}", value)
        return value

    return check


text = instance_of(str, what="a text")
