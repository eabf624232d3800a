"""Shares Python objects with another process, so that code in both behaves as if it ran in one process.

Plain values are copied. Mutable containers exist in both processes: each message carries the content of those that
changed. All other objects stay where they were made, and the other process gets a stand-in (`mirror`). Only one of the
two processes runs at a time: it sends a request and serves the requests of the other until the answer arrives.
"""

from __future__ import annotations

import contextlib
import copy
import operator
import sys
import threading
import types
from collections.abc import Callable, Generator
from typing import Any

from .containers import CONTAINERS, base_of, content_of, new_container, option_of, set_content
from .link import ConnectionLost, Link
from .mirror import FORWARDED, Mirrors, is_base, real_type
from .values import KINDS, MAX_JSON_INT, SCALARS, SUBCLASSED, VIEWS, known_name, plain_kind, viewed

_PROBE = {0: object()}
UNUSED = sys.getrefcount(_PROBE[0])
"""Reference count of an object that only one dictionary holds."""


class Peer:
    """One end of the connection between two processes that share objects."""

    def __init__(self, link: Link, step: int) -> None:
        """Start without shared objects.

        Args:
            link: Connection to the other process.
            step: 1 in one process and -1 in the other. Numbers of objects that this process shares first are multiples
                of it.
        """
        self.link = link
        self.step = step
        self.lock = threading.RLock()
        self.mirrors = Mirrors(self)
        self.clear()

    def clear(self) -> None:
        """Forget all shared objects."""
        self.count = 0
        self.objects: dict[int, Any] = {}
        """The shared objects, or their stand-ins, by number."""
        self.numbers: dict[int, int] = {}
        """The number of each shared object, by its `id`."""
        self.contents: dict[int, list[Any] | None] = {}
        """The content of each shared container as the other process has it. None if it has none yet."""
        self.own: set[int] = set()
        """Objects that stay in this process, and that the other process has stand-ins for."""
        self.receiving = 0
        """Number of messages that are being read: hashing an item of one can take a request and its answer."""
        self.forgotten: list[int] = []
        """Objects that the other process no longer uses. They are forgotten when no message is being read."""
        self.new: list[Any] = []
        """Descriptions of the objects that the next message shares first."""

    # -- requests -----------------------------------------------------------------------------------------------------

    def request(self, kind: str, *arguments: Any) -> Any:
        """Send a request and return the answer. Raises what the other process raises."""
        with self.lock:
            self._send(kind, arguments)
            while True:
                what, values = self._receive()
                if what == "return":
                    return values[0]
                if what == "raise":
                    self.raised(*values)
                    raise values[0]
                if what == "unsendable":
                    raise ConnectionLost(str(values[0]))
                self._serve(what, values)

    def serve(self) -> None:
        """Serve requests until the connection ends."""
        while True:
            self._serve(*self._receive())

    def _serve(self, kind: str, arguments: Any) -> None:
        answer: tuple[Any, ...]
        try:
            answer = ("return", getattr(self, f"serve_{kind}")(*arguments))
        except ConnectionLost:
            raise
        except BaseException as error:
            answer = ("raise", error, self.describe(error))
        if answer[0] == "raise":
            # A traceback leads to the frames of this process.
            answer[1].__traceback__ = answer[1].__context__ = answer[1].__cause__ = None
        try:
            self._send(answer[0], answer[1:])
        except (TypeError, RecursionError, ValueError) as error:
            self._send("unsendable", (f"its answer cannot be passed on: {error}"[:300],))

    def operate(self, target: Any, name: str, arguments: Any, keywords: Any) -> Any:
        """Call a special method of the object behind a stand-in. See `mirror.Owner`."""
        return self.request("operate", target, name, list(arguments), dict(keywords))

    def attribute(self, operation: str, target: Any, *arguments: Any) -> Any:
        """Get, set or delete an attribute of the object behind a stand-in, or copy it. See `mirror.Owner`."""
        return self.request("attribute", operation, target, *arguments)

    def serve_operate(self, target: Any, name: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """Call a special method of an object of this process."""
        if type(name) is not str or name not in FORWARDED:
            raise TypeError("not a special method")
        self.check_request(target, name)
        if name == "__getitem__" and isinstance(target, type) and not hasattr(type(target), name):
            return target.__class_getitem__(*arguments)  # type: ignore[attr-defined]
        return getattr(type(target), name)(target, *arguments, **keywords)

    def serve_attribute(self, operation: str, target: Any, *arguments: Any) -> Any:
        """Get, set or delete an attribute of an object of this process, or copy it."""
        if operation == "copy":
            self.check_request(target, "__copy__")
            return copy.deepcopy(target) if arguments[0] else copy.copy(target)
        if type(arguments[0]) is not str:
            raise TypeError("the name of an attribute is no string")
        self.check_request(target, arguments[0])
        operations: dict[str, Callable[..., Any]] = {"get": getattr, "set": setattr, "delete": delattr}
        return operations[operation](target, *arguments)

    # -- what subclasses decide ---------------------------------------------------------------------------------------

    def check_request(self, target: Any, name: str) -> None:
        """Raise an exception if the other process may not use this name of an object of this process."""

    def check_shared(self, value: Any) -> None:
        """Raise `TypeError` if this process may not share an object."""

    def describe(self, error: BaseException) -> str:
        """Return an exception as one line."""
        return type(error).__name__

    def raised(self, error: BaseException, description: str) -> None:
        """Take notice of an exception of the other process."""

    def reference(self, value: Any) -> Any:
        """Return an object as a name that the other process has for it, or None."""
        return None

    # -- messages -----------------------------------------------------------------------------------------------------

    def _send(self, kind: str, arguments: tuple[Any, ...]) -> None:
        try:
            encoded = [self.encode(each) for each in arguments]
            changed = self._changed_contents()
        except BaseException:
            for number, *_ in self.new:
                self._forget(number)
            self.new = []
            raise
        new, self.new = self.new, []
        self.link.send([kind, encoded, new, changed, self._unused()])

    def _receive(self) -> tuple[str, list[Any]]:
        message = self.link.receive()
        self.receiving += 1
        try:
            kind, encoded, new, changed, unused = message
            # To hash an item can take further requests, before anything else refers to the new objects.
            made = []
            for number, *description in new:
                if number in self.objects or number * self.step >= 0:
                    raise ValueError("a number is used twice")
                made.append(self._make(number, *description))
                self._register(number, made[-1])
            for number, content in changed:
                self._change(number, [self.decode(each) for each in content])
            arguments = [self.decode(each) for each in encoded]
            for number in unused:
                # What stays in the other process is in use as long as this process has a stand-in for it.
                if number * self.step < 0 and type(self.objects.get(number)) not in (type(None), *CONTAINERS):
                    raise ValueError("an object is in use")
            self.forgotten += unused
            return str(kind), arguments
        except Exception as error:
            raise ConnectionLost("it sent an invalid message") from error
        finally:
            self.receiving -= 1
            while self.forgotten and not self.receiving:
                self._forget(self.forgotten.pop())

    def _register(self, number: int, value: Any) -> None:
        self.objects[number] = value
        self.numbers[id(value)] = number

    def _forget(self, number: int) -> None:
        if number in self.objects:
            self.numbers.pop(id(self.objects[number]), None)
            del self.objects[number]
            self.contents.pop(number, None)
            self.own.discard(number)

    def _unused(self) -> list[int]:
        """Forget the objects that nothing else in this process refers to. Return their numbers."""
        unused = [n for n in self.objects if n not in self.own and sys.getrefcount(self.objects[n]) == UNUSED]
        for number in unused:
            self._forget(number)
        return unused

    # -- containers ---------------------------------------------------------------------------------------------------

    def _changed_contents(self) -> list[Any]:
        """Return the number and the encoded content of each container that changed since the last message."""
        changed: list[Any] = []
        pending = list(self.contents)
        while pending:
            for number in pending:
                content, known = content_of(self.objects[number]), self.contents[number]
                if known is None or len(known) != len(content) or not all(map(operator.is_, known, content)):
                    self.contents[number] = content
                    changed.append([number, [self.encode(each) for each in content]])
            # Encoding a content may share further containers.
            pending = [number for number, content in self.contents.items() if content is None]
        return changed

    def _change(self, number: int, content: list[Any]) -> None:
        """Give a container the content that it has in the other process."""
        if number not in self.contents:
            raise ValueError("not a shared container")
        # A request that hashing takes must not carry what is there half-way.
        del self.contents[number]
        set_content(self.objects[number], content)
        self.contents[number] = content_of(self.objects[number])

    # -- values -------------------------------------------------------------------------------------------------------

    def encode(self, value: Any) -> Any:
        """Return an object as JSON data."""
        kind = type(value)
        if kind is types.TracebackType:
            # Where an exception was raised is nothing that the other process could use.
            return None
        if kind in SCALARS or (kind is int and -MAX_JSON_INT < value < MAX_JSON_INT):
            return value
        number = self.numbers.get(id(value))
        if number is not None:
            return ["@", number]
        tag = plain_kind(value)
        if tag:
            return [tag, *(map(self.encode, KINDS[tag][1](value)))]
        if kind in VIEWS:
            return ["view", VIEWS[kind], self.encode(viewed(value))]
        if isinstance(value, type) and known_name(value):
            return ["type", known_name(value)]
        return self.reference(value) or ["@", self._share(value)]

    def decode(self, data: Any) -> Any:
        """Return the object that `encode` was given. Raises `ValueError`, `KeyError` or `TypeError` for other data."""
        if not isinstance(data, list):
            if type(data) in SCALARS or isinstance(data, int):
                return data
            raise ValueError("not a value")
        tag, *arguments = data
        if tag == "@":
            return self.objects[arguments[0]]
        if tag == "type":
            return real_type(arguments[0])
        if tag == "view":
            mapping = self.decode(arguments[1])
            base = base_of(type(mapping))
            return {"keys": base.keys, "values": base.values, "items": base.items}[arguments[0]](mapping)
        return KINDS[tag][2](*map(self.decode, arguments))

    def _share(self, value: Any) -> int:
        """Describe an object that the other process does not know. Return its number."""
        self.check_shared(value)
        self.count += self.step
        number = self.count
        self._register(number, value)
        kind = type(value)
        if isinstance(value, type):
            description = self._describe_class(value)
            self.own.add(number)
        elif issubclass(kind, CONTAINERS):
            self.contents[number] = None
            if not known_name(kind):
                self.own.add(number)
            description = ["container", self.encode(kind), self.encode(option_of(value))]
        else:
            self.own.add(number)
            description = self._describe_object(value)
        self.new.append([number, *description])
        return number

    def _describe_class(self, kind: type) -> list[Any]:
        names, bases = dict(vars(kind)), []
        for base in kind.__bases__:
            if not known_name(base) or is_base(base):
                bases.append(base)
                continue
            inherited = [each for each in base.__mro__ if is_base(each)]
            bases.append(inherited[0])
            for each in base.__mro__[:-1]:
                names.update(vars(each))
        names = {name: value for name, value in names.items() if name in FORWARDED or not name.startswith("__")}
        own = [f"{name}=" if name == "__hash__" and value is None else name for name, value in names.items()]
        metaclass = type(kind)
        of_class = [
            name
            for name in FORWARDED
            if getattr(metaclass, name, None) is not getattr(type, name, None) and name not in ("__call__", "__dir__")
        ]
        names_ = [kind.__name__, kind.__qualname__, str(kind.__module__)]
        return ["class", *names_, [self.encode(each) for each in dict.fromkeys(bases)], own, of_class]

    def _describe_object(self, value: Any) -> list[Any]:
        kind = type(value)
        if kind is types.GeneratorType:
            return ["generator"]
        if kind is types.CoroutineType:
            return ["coroutine"]
        encoded = self.encode(kind)
        if issubclass(kind, BaseException):
            attributes = [[name, self.encode(each)] for name, each in vars(value).items() if known_name(kind)]
            return ["error", encoded, [self.encode(each) for each in value.args], attributes]
        for base in SUBCLASSED:
            if issubclass(kind, base):
                tag = plain_kind(base())
                return ["value", encoded, [tag, *map(self.encode, KINDS[tag][1](value))]]
        return ["object", encoded]

    def _make(self, number: int, what: str, *details: Any) -> Any:
        """Return the object, or the stand-in for it, that a description of the other process stands for."""
        if what == "class":
            name, qualname, module, bases, own, of_class = details
            kinds = [self.decode(base) for base in bases]
            if not all(isinstance(kind, type) for kind in kinds):
                raise ValueError("a base is no class")
            return self.mirrors.make_class(str(name), str(qualname), str(module), kinds, own, of_class)
        if what == "generator":
            return self._generator(number)
        if what == "coroutine":
            return self._coroutine(number)
        kind = self.decode(details[0])
        mirrored = isinstance(kind, self.mirrors.metaclass)
        if what in ("container", "value") and not mirrored and kind not in CONTAINERS and not issubclass(kind, tuple):
            raise ValueError("not a class of the other process")
        if what == "container":
            self.contents[number] = []
            return new_container(kind, self.decode(details[1]))
        if what == "error":
            return self._make_error(kind, [self.decode(each) for each in details[1]], details[2])
        if what == "value":
            plain = self.decode(details[1])
            return type(plain).__new__(kind, plain)
        return object.__new__(kind if mirrored else self.mirrors.proxy_class(kind))

    def _make_error(self, kind: Any, arguments: list[Any], attributes: Any) -> BaseException:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ValueError("not an exception")
        error = kind.__new__(kind)
        if not isinstance(kind, self.mirrors.metaclass):
            # Some built-in exceptions have fields that only their own constructor sets.
            with contextlib.suppress(Exception):
                error = kind(*arguments)
        BaseException.__setattr__(error, "args", tuple(arguments))
        for name, value in attributes:
            BaseException.__setattr__(error, str(name), self.decode(value))
        return error

    # -- generators and coroutines ------------------------------------------------------------------------------------
    # They have no stand-ins: an ordinary one of this process passes everything on.

    def _generator(self, number: int) -> Generator[Any, Any, Any]:
        method, argument = "send", None
        while True:
            try:
                item = self.request("resume", number, method, argument)
            except StopIteration as stop:
                return stop.value
            try:
                method, argument = "send", (yield item)
            except GeneratorExit:
                if number in self.objects:
                    self.request("resume", number, "close", None)
                raise
            except BaseException as error:
                method, argument = "throw", error

    async def _coroutine(self, number: int) -> Any:
        return self.request("wait", number)

    def serve_resume(self, number: int, method: str, argument: Any) -> Any:
        """Resume a generator of this process."""
        generator = self.objects[number]
        if type(generator) is not types.GeneratorType or number not in self.own:
            raise TypeError("not a generator")
        if method == "close":
            return generator.close()
        return generator.throw(argument) if method == "throw" else generator.send(argument)

    def serve_wait(self, number: int) -> Any:
        """Run a coroutine of this process to its end and return its result."""
        import asyncio
        import concurrent.futures

        coroutine = self.objects[number]
        if type(coroutine) is not types.CoroutineType or number not in self.own:
            raise TypeError("not a coroutine")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(coroutine)
        # A loop is running in this thread, so the coroutine needs another one.
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, coroutine).result()
