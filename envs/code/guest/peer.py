"""Shares Python objects with another process, so that code in both behaves as if it ran in one process.

Plain values are copied. Mutable containers exist in both processes: each message carries the content of those that
changed. All other objects stay where they were made, and the other process gets a stand-in (`mirror`). Only one of the
two processes runs at a time: it sends a request and serves the requests of the other until the answer arrives.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import functools
import operator
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

from .containers import CONTAINERS, base_of, content_of, new_container, option_of, set_content
from .coroutines import pass_on, run_by
from .descriptions import describe_class, describe_object, make_error
from .link import ConnectionLost, Link
from .mirror import FORWARDED, SHOWN, Attribute, Mirrors, blank, is_base, real_type
from .process_state import ProcessState
from .subclasses import inherited, without_own_bases
from .values import KINDS, MAX_JSON_INT, SCALARS, VIEWS, known_name, plain_kind, subclassed, viewed

FRAMES = 7
"""Frames that a request takes between the code that sends it and the code that it calls."""
_PROBE = {0: object()}
UNUSED = sys.getrefcount(_PROBE[0])
"""Reference count of an object that only one dictionary holds."""


class Peer:
    """One end of the connection between two processes that share objects."""

    shares_causes = False
    """Whether the other process learns which exceptions led to one that it is passed."""

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
        self.state: ProcessState | None = None
        """What the code of this process may change, for the other process to imitate."""
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
        self.contexts: dict[int, tuple[Any, contextvars.Context]] = {}
        """By `id` of each task of the other process that has resumed a coroutine: the task and its context."""
        self.forgotten: list[int] = []
        """Objects that the other process no longer uses. They are forgotten when no message is being read."""
        self.new: list[Any] = []
        """Descriptions of the objects that the next message shares first."""

    # -- requests -----------------------------------------------------------------------------------------------------

    def request(self, kind: str, *arguments: Any) -> Any:
        """Send a request and return the answer. Raises what the other process raises."""
        with self.lock:
            changes = self.state.changes() if self.state and kind != "state" else []
            if changes:
                self.request("state", changes)
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
        # The code that is called may use as many frames as without this module.
        sys.setrecursionlimit(sys.getrecursionlimit() + FRAMES)
        try:
            answer = ("return", getattr(self, f"serve_{kind}")(*arguments))
        except ConnectionLost:
            raise
        except BaseException as error:
            answer = ("raise", error, self.describe(error))
        if answer[0] == "raise":
            # A traceback leads to the frames of this process.
            answer[1].__traceback__ = None
        with contextlib.suppress(RecursionError):
            sys.setrecursionlimit(sys.getrecursionlimit() - FRAMES)
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
        """Get, set or delete an attribute of an object of this process, or copy it. See `mirror.Owner`."""
        if operation == "copy":
            self.check_request(target, "__copy__")
            return copy.deepcopy(target) if arguments[0] else copy.copy(target)
        if type(arguments[0]) is not str:
            raise TypeError("the name of an attribute is no string")
        self.check_request(target, arguments[0])
        has_signature = isinstance(target, (types.FunctionType, type)) and not hasattr(target, "__signature__")
        if arguments[0] == "__signature__" and has_signature:
            import inspect

            return inspect.signature(target)
        if operation == "inherited":
            return inherited(target, *arguments)
        if operation == "raw":
            return vars(target)[arguments[0]]
        operations: dict[str, Callable[..., Any]] = {"get": getattr, "set": setattr, "delete": delattr}
        return operations[operation](target, *arguments)

    def subclass(self, name: str, bases: tuple[Any, ...], namespace: dict[str, Any], keywords: dict[str, Any]) -> Any:
        """Derive a class from one of the other process, where it is made. See `mirror.Owner`."""
        cell = namespace.pop("__classcell__", None)
        foreign, namespace = without_own_bases(bases, namespace, self.mirrors.metaclass)
        made = self.request("subclass", name, foreign, namespace, keywords)
        if cell is not None:
            # `super()` in the methods of the class looks here.
            cell.cell_contents = made
        return made

    def serve_subclass(self, name: str, bases: list[Any], namespace: dict[str, Any], keywords: dict[str, Any]) -> Any:
        """Make a class whose methods are functions of the other process."""
        return types.new_class(name, tuple(bases), keywords, lambda names: names.update(namespace))

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

    def shown(self, name: str, value: Any) -> Any:
        """Return what the stand-in for a class has as an attribute of `SHOWN`."""
        return dict(value) if name == "__annotations__" else value

    def is_named(self, kind: type) -> bool:
        """Return whether a known type is passed on by its name."""
        return True

    def type_value(self, name: str) -> Any:
        """Return what stands for a known type of the other process. Raises `ValueError` for other names."""
        return real_type(name)

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
        if kind is Attribute and value.original is not None:
            return self.encode(value.original)
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
        if isinstance(value, type) and known_name(value) and self.is_named(value):
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
            return self.type_value(arguments[0])
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
            description = describe_class(value, self.encode)
            self.own.add(number)
        elif issubclass(kind, CONTAINERS):
            self.contents[number] = None
            if not known_name(kind):
                self.own.add(number)
            description = ["container", self.encode(kind), self.encode(option_of(value))]
        else:
            self.own.add(number)
            description = describe_object(value, self.encode, self.shares_causes)
        self.new.append([number, *description])
        return number

    def _make(self, number: int, what: str, *details: Any) -> Any:
        """Return the object, or the stand-in for it, that a description of the other process stands for."""
        if what == "class":
            name, qualname, module, bases, own, of_class, shown = details
            kinds = [self.decode(base) for base in bases]
            if not all(isinstance(kind, self.mirrors.metaclass) or is_base(kind) for kind in kinds):
                raise ValueError("a base is no class of the other process")
            copied = {name: self.shown(name, self.decode(value)) for name, value in shown if name in SHOWN}
            return self.mirrors.make_class(str(name), str(qualname), str(module), kinds, own, of_class, copied)
        if what in ("generator", "coroutine"):
            made: Any = pass_on(self, number) if what == "generator" else self._coroutine(number)
            made.__name__, made.__qualname__ = map(str, details)
            return made
        # The kind of an object is not a value that code can get hold of.
        is_known = isinstance(details[0], list) and details[0][0] == "kind"
        kind = real_type(details[0][1]) if is_known else self.decode(details[0])
        mirrored = isinstance(kind, self.mirrors.metaclass)
        is_foreign = mirrored or issubclass(kind, CONTAINERS) or (kind is not tuple and issubclass(kind, tuple))
        if what in ("container", "value") and not is_foreign:
            raise ValueError("not a class of the other process")
        if what == "container":
            self.contents[number] = []
            return new_container(kind, self.decode(details[1]))
        if what == "error":
            attributes = [(str(name), self.decode(each)) for name, each in details[2]]
            return make_error(kind, [self.decode(each) for each in details[1]], attributes, mirrored)
        if what == "value":
            return subclassed(kind, self.decode(details[1]))
        return blank(kind) if mirrored else object.__new__(self.mirrors.proxy_class(kind))

    # -- generators and coroutines ------------------------------------------------------------------------------------
    # They have no stand-ins: an ordinary one of this process passes everything on.

    async def _coroutine(self, number: int) -> Any:
        return await types.coroutine(pass_on)(self, number)

    def serve_resume(self, number: int, method: str, argument: Any, *loop_and_task: Any) -> Any:
        """Resume a generator or coroutine of this process, as code of the other one's event loop if it has one."""
        resumed = self.objects[number]
        is_own = type(resumed) in (types.GeneratorType, types.CoroutineType) and number in self.own
        if not is_own or method not in ("send", "throw", "close"):
            raise TypeError("neither a generator nor a coroutine")
        step = functools.partial(getattr(resumed, method), *(() if method == "close" else (argument,)))
        if not loop_and_task:
            return step()
        # Each task has its own context variables.
        task = loop_and_task[1]
        _, context = self.contexts.setdefault(id(task), (task, contextvars.copy_context()))
        with run_by(*loop_and_task):
            return context.run(step)
