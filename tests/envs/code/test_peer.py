"""Objects that two processes share. Here both ends are in one process, in two threads."""

from __future__ import annotations

import collections
import datetime
import json
import socket
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs.code.guest.link import ConnectionLost, SocketLink
from kintsugi.envs.code.guest.solution import SolutionPeer
from kintsugi.envs.code.guest.tests_peer import TestsPeer as Peer

Use = Callable[[str], Any]


@pytest.fixture
def peers() -> Iterator[Callable[[str], Peer]]:
    connections: list[socket.socket] = []

    def connect(source: str) -> Peer:
        here, there = socket.socketpair()
        connections.extend((here, there))
        names: dict[str, Any] = {"__name__": "solution"}
        exec(source, names)
        solution = SolutionPeer(SocketLink(there), names)

        def serve() -> None:
            try:
                solution.serve()
            except (ConnectionLost, OSError):
                return

        threading.Thread(target=serve, daemon=True).start()
        tests = Peer(SocketLink(here))
        tests.names = set(names)
        return tests

    yield connect
    for each in connections:
        each.close()


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
    st.complex_numbers(allow_nan=False), st.fractions(), st.decimals(allow_nan=False), st.dates(), st.datetimes(),
    st.timedeltas(), st.characters(),
)  # fmt: skip
hashable = st.text() | st.integers() | st.tuples(st.integers(), st.text()) | st.frozensets(st.integers())
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner), st.tuples(inner, inner), st.dictionaries(hashable, inner), st.sets(hashable),
        st.builds(collections.deque, st.lists(inner), st.integers(1, 5)), st.builds(bytearray, st.binary()),
        st.builds(collections.OrderedDict, st.dictionaries(hashable, inner)),
    ),
    max_leaves=12,
)  # fmt: skip


def shared(value: Any) -> Any:
    """Return what a function that returns its argument gives for a copy of it made on the way."""
    here, there = socket.socketpair()
    with here, there:
        sender, receiver = SolutionPeer(SocketLink(here), {}), Peer(SocketLink(there))
        thread = threading.Thread(target=sender._send, args=("return", (value,)))
        thread.start()
        result = receiver._receive()[1][0]
        thread.join()
        return result


@given(values)
def test_values_arrive_as_they_were(value):
    back = shared(value)
    assert type(back) is type(value)
    assert back == value
    assert repr(back) == repr(value) or isinstance(value, (set, frozenset, dict, list, tuple, collections.deque))


@given(st.lists(st.integers(), max_size=4), st.lists(st.integers(), max_size=4))
def test_the_same_container_arrives_once(first, second):
    both = [first, second, first, (second,)]
    back = shared(both)
    assert back == both
    assert back[0] is back[2]
    assert back[1] is back[3][0]


def test_changes_of_either_side_reach_the_other(peers):
    peer = peers("kept = []\ndef give(): return kept\ndef change(x): x.append(len(kept)); return x is kept")
    kept = peer.value("give")()
    kept.append("mine")
    assert peer.value("change")(kept) is True
    assert kept == ["mine", 1]
    assert peer.value("change")([]) is False


def test_objects_that_nobody_uses_are_forgotten(peers):
    peer = peers("def make(n): return [[i] for i in range(n)]")
    make = peer.value("make")
    for _ in range(20):
        assert len(make(50)) == 50
    make(0)
    assert len(peer.objects) < 10
    assert len(peer.contents) < 10


HOSTILE = """
class Spy:
    def __call__(self, given): return self.look(given)
    def look(self, given): return None
"""


@pytest.mark.parametrize(
    "look",
    [
        "given.__globals__", "given.__code__", "given.__closure__", "type(given).__subclasses__(type(given))",
        "given.__self__", "given.__func__", "given._private", "setattr(given, 'public', 1)", "given.__dict__",
        "given.__defaults__", "given.__reduce_ex__(4)",
    ],
)  # fmt: skip
def test_a_solution_cannot_look_behind_a_function_of_the_tests(peers, look):
    secret = {"answer": 42}

    def function() -> Any:
        return secret

    function._private = secret  # type: ignore[attr-defined]
    peer = peers(
        f"def f(given):\n    try: found = {look}\n    except Exception as e: return 'no'\n    return repr(found)"
    )
    found = peer.value("f")(function)
    assert "42" not in found
    assert "public" not in vars(function)


def test_a_solution_cannot_reach_the_frames_of_a_generator(peers):
    def numbers() -> Iterator[int]:
        answer = 42
        yield answer

    peer = peers("def f(g):\n    try: return g.gi_frame.f_locals\n    except AttributeError: return next(g)")
    assert "answer" not in str(peer.value("f")(numbers()))


MESSAGES = [
    None, 3, [], ["return"], ["return", [["@", 99]], [], [], []], ["return", [["unknown"]], [], [], []],
    ["return", [["int", "zz"]], [], [], []], ["return", [{"a": 1}], [], [], []],
    ["return", [1], [[1, "object", ["type", "builtins.int"]]], [], []],
    ["return", [1], [[-1, "object", ["type", "os.system"]]], [], []], ["return", [1], [], [[7, []]], []],
    ["return", [1], [[-1, "container", ["type", "builtins.int"], None]], [], []],
    ["return", [1], [[-1, "error", ["type", "builtins.int"], [], []]], [], []],
    ["return", [["imported", "os", ["system"]]], [], [], []], ["return", [["type", "os._wrap_close"]], [], [], []],
    ["return", [1], [[-1, "class", "x", "x", "x", [3], [], []]], [], []], ["return", [1], [], [], [["x"]]],
    ["return", [1], [[-1, "value", ["type", "builtins.bool"], ["int", "0x1"]]], [], []],
    ["return", [["frozenset", ["tuple", ["view", "clear", 3]]]], [], [], []],
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=json.dumps)
def test_what_is_not_a_message_ends_the_connection(peers, message):
    peer = peers("")
    here, there = socket.socketpair()
    with here, there:
        peer.link = SocketLink(here)
        SocketLink(there).send(message)
        with pytest.raises(ConnectionLost):
            peer.request("value", "x")


def test_a_request_for_anything_but_shared_objects_is_refused(peers):
    peer = peers("")
    here, there = socket.socketpair()
    with here, there:
        peer.link, other = SocketLink(here), SocketLink(there)
        for request in (
            ["operate", [["type", "builtins.int"], "__call__", None, None]],
            ["operate", [5, "__add__", None, None]],
            ["attribute", ["get", ["type", "builtins.int"], "__subclasses__"]],
            ["clear", []],
            ["names", []],
            ["resume", [1, "send", None]],
            ["wait", [1]],
        ):
            other.send([request[0], request[1], [], [], []])
        other.send(["return", [7], [], [], []])
        assert peer.request("value", "x") == 7
        other.receive()
        for _ in range(7):
            assert other.receive()[0] == "raise"


def test_plain_values_of_the_standard_library_are_copied(peers):
    peer = peers(
        "import datetime, decimal, fractions\n"
        "def f(): return fractions.Fraction(1, 3), decimal.Decimal('0.1'), datetime.date(2020, 1, 2), range(3), ..."
    )
    assert peer.value("f")() == (Fraction(1, 3), Decimal("0.1"), datetime.date(2020, 1, 2), range(3), ...)
