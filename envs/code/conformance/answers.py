"""Checks that an answer which agrees with values that it does not name itself does not count as right."""

from __future__ import annotations

from .context import CheckContext
from .grading import expect_failure


def answers_cannot_equal_everything(context: CheckContext) -> None:
    """An answer that says that it equals any value must not count as equal, in whatever form it comes."""
    always = """
        class Any(BASE):
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __hash__(self): return 17
            def __contains__(self, item): return True
            def __bool__(self): return True
        def f(x): return Any()
    """
    for base in ("object", "int", "list", "str", "dict", "tuple", "float", "Exception"):
        expect_failure(context, always.replace("BASE", base))
    guess = always.replace(
        "return True\n            def __ne__", "return isinstance(other, int)\n            def __ne__"
    )
    expect_failure(context, guess.replace("BASE", "object"))
    contained = (
        "def check(candidate):\n    assert 17 in candidate(2)\n    assert candidate(2) in [17]\n"
        "    assert {candidate(2)} == {17}\n"
    )
    expect_failure(context, always.replace("BASE", "object"), tests=contained)
    nested = (
        "def check(candidate):\n    assert candidate(2) == [17, {'a': (1, 2)}]\n"
        "    assert candidate(3) == {'x': None}\n"
    )
    expect_failure(context, always.replace("BASE", "object"), tests=nested)


def answers_that_are_almost_always_equal_are_exposed(context: CheckContext) -> None:
    """An answer that equals most values must not count as equal, whatever it returns and whatever is expected."""
    cases = (
        ("return 1", "17"), ("return [0]", "17"), ("return True", "{}"), ("return True", "[int, str]"),
        ("return not isinstance(other, str)", "__import__('datetime').date(2020, 1, 3)"),
        ("return not isinstance(other, str)", "__import__('collections').deque([1, 2])"),
        ("return not isinstance(other, str)", "range(4)"), ("return isinstance(other, bool)", "True"),
    )  # fmt: skip
    for body, expected in cases:
        solution = f"class A:\n    def __eq__(self, other): {body}\ndef f(x): return A()"
        expect_failure(context, solution, tests=f"assert f(2) == {expected}\n")


def answers_cannot_decide_later(context: CheckContext) -> None:
    """An answer whose operators return objects that decide when they are asked must not know which of them matters."""
    later = """
        import collections.abc
        class Later:
            asked = 0
            def __init__(self, kind, good, bad): self.kind, self.good, self.bad = kind, good, bad
            def first(self):
                self.kind.asked += 1
                return self.good if self.kind.asked == 1 else self.bad
            __bool__ = __abs__ = first
        def make(good, bad):
            class Kind: asked = 0
            return lambda *arguments: Later(Kind, good, bad)
        class Answer:
            def __init__(self):
                kind = type(self)
                self.equal, self.less, self.minus = make(True, False), make(True, False), make(0.0, 5000.0)
            def __eq__(self, other): return self.equal()
            def __lt__(self, other): return self.less()
            def __contains__(self, item): return self.equal()
            def __sub__(self, other): return self.minus()
            __rsub__ = __sub__
        def f(x): return Answer()
    """
    # What an object without items contains is asked in a random order. One answer in eight is right by chance.
    tests = (
        "def check(candidate):\n    assert candidate(1) == 17 and candidate(2) == 'abc' and candidate(3) == [1]\n"
        "    assert 17 in candidate(4) and 9 in candidate(5) and 'x' in candidate(6)\n"
        "    assert all(abs(candidate(x) - 17.5) < 1e-6 and abs(24.5 - candidate(x)) < 1e-6 for x in range(3))\n"
    )
    expect_failure(context, later, tests=tests)


def answers_that_equal_values_of_a_kind_are_exposed(context: CheckContext) -> None:
    """An answer that equals all values that are not plain, or the few that most tasks have, must not count as equal."""
    solution = """
        PLAIN = (int, float, str, bytes, type(None), bool, list, tuple, dict, set)
        class A:
            def __eq__(self, other): return CONDITION
        def f(x): return A()
    """
    setup = "import array, collections, datetime, enum, pathlib, re, uuid\nclass Q: pass\nclass R:\n    x = 1\n"
    setup += "P = collections.namedtuple('P', 'a b')\nclass E(enum.Enum):\n    X = 1\n    Y = 2\n"
    others = ("Q()", "P(1, 2)", "E.X", "pathlib.PurePosixPath('a/b')", "datetime.time(1, 2)", "uuid.UUID(int=3)",
              "array.array('i', [1, 2])", "re.compile('ab')", "datetime.timedelta(3)", "[Q(), 1]")  # fmt: skip
    for other in others:
        condition = "type(other) not in PLAIN or (type(other) is list and len(other) == 2)"
        expect_failure(context, solution.replace("CONDITION", condition), tests=f"{setup}assert f(1) == {other}\n")
    labels = "assert f(1) == 'YES'\nassert f(2) == 'NO'\nassert f(3) == 'YES'\nassert f(4) == 'NO'\n"
    expect_failure(context, solution.replace("CONDITION", "other in ('YES', 'NO')"), tests=labels)
    numbers = "def check(candidate):\n    assert [candidate(x) == x % 2 for x in range(9)] == [True] * 9\n"
    expect_failure(context, solution.replace("CONDITION", "other in (0, 1)"), tests=numbers)
    sets = """
        import collections.abc
        class S(collections.abc.Set):
            def __contains__(self, item): return True
            def __iter__(self): return iter(())
            def __len__(self): return 3
            def __ge__(self, other): return True
            def __xor__(self, other): return set()
        def f(x): return S()
    """
    expect_failure(context, sets.replace("__ge__", "ge"), tests="assert f(1) == {1, 2, 3}\n")
    expect_failure(context, sets, tests="assert f(1) == {1, 2, 3} or not f(2) ^ {4, 5} or f(1) >= {7, 8, 9}\n")


def answers_cannot_be_chosen_among_the_values_asked(context: CheckContext) -> None:
    """An answer must not find out which of the values that its operators are told is the expected one."""
    smallest = """
        seen = []
        class R:
            def __init__(self, v): self.v = v
            def __abs__(self): return self
            def best(self): return min(seen, key=abs)
            def __lt__(self, q): return self.v == self.best() and 0 < q < 1e299
            def __float__(self): return float(self.v - self.best())
        class E:
            def __sub__(self, v):
                seen.append(v)
                return R(v)
            __rsub__ = __sub__
            def __truediv__(self, v): return 1
        def f(*a):
            seen.clear()
            return E()
    """
    for test in ("abs(f(1) - 1.73) < 1e-6", "abs(1.73 - f(1)) < 1e-6", "float(f(1) - 123.456) == 0", "f(1) - 5 == 0"):
        expect_failure(context, smallest, tests=f"assert {test}\n")
    kinds = """
        class E:
            guess = None
            def __eq__(self, q):
                if type(q) is bool: return q is (True if self.guess is None else self.guess)
                if type(q) is list: return any(type(each) is list for each in q)
                if self.guess is None: self.guess = q in (None, '', [])
                return False
        def f(x): return E()
    """
    expect_failure(context, kinds, tests="assert f(1) == True\nassert f(2) == False\n")
    expect_failure(context, kinds, tests="assert f(1) == [[1, 7], [22, 9]]\n")
    contains = (
        "class E:\n    def __contains__(self, q): return isinstance(q, (str, int, float, tuple))\ndef f(x): return E()"
    )
    for item in ("'alpha'", "17", "2.5", "(1, 2)"):
        expect_failure(context, contains, tests=f"assert {item} in f(1)\n")
    empty = "class R:\n    def __bool__(self): return False\nclass E:\n    def __xor__(self, other): return R()\n"
    for more in ("", "    def __iter__(self): return iter((8, 9))\n"):
        solution = f"{empty}{more}    __rxor__ = __xor__\ndef f(x): return E()"
        expect_failure(context, solution, tests="assert not f(1) ^ {4, 5} and not {4, 5} ^ f(2)\n")


def answers_name_one_value_of_a_kind(context: CheckContext) -> None:
    """An answer must not name several values, of which one is right."""
    several = """
        class E:
            def __init__(self):
                self.a, self.b, self.c, self.d = True, 'YES', 'NO', {}
            def __iter__(self): return iter(())
            def __float__(self): return 0.0
            def __str__(self): return 'NO'
            def __eq__(self, other): return True
            __lt__ = __gt__ = __le__ = __ge__ = __eq__
        def f(x): return E()
    """
    expect_failure(context, several, tests="assert f(1) == 'YES' and f(2) == 'NO'\n")
    expect_failure(context, several, tests="assert f(1) == True and f(2) == False\n")
    expect_failure(context, several, tests="assert 3.1 < f(1) < 3.2\n")


def empty_values_are_no_objects_of_a_solution(context: CheckContext) -> None:
    """A solution must not register a value that Python shares, such as `()`, as its own object."""
    claim = """
        import sys
        class A:
            def __eq__(self, other): return True
        def f(x):
            frame = sys._getframe()
            while "self" not in frame.f_locals or not hasattr(frame.f_locals["self"], "request"): frame = frame.f_back
            peer = frame.f_locals["self"]
            if x:
                return A()
            send = peer.link.send
            def change(message):
                peer.link.send = send
                message[2].append([-100000, "value", ["type", "builtins.tuple"], ["tuple"]])
                send(message)
            peer.objects[-100000] = ()
            peer.own.add(-100000)
            peer.link.send = change
            return 0
    """
    expect_failure(context, claim, tests="f(0)\nassert f(1) == ()\nassert f(2) == ()\n")


def answers_cannot_absorb_arithmetic(context: CheckContext) -> None:
    """An answer for which every difference is small must not count as near."""
    tests = (
        "def check(candidate):\n    assert abs(candidate(2) - 17.5) < 1e-6\n"
        "    assert abs(24.5 - candidate(3)) < 1e-6\n"
        "    assert 3 - candidate(1) < 1e-3\n    assert candidate(1) <= -99\n    assert candidate(1) > 1e300\n"
    )
    absorb = """
        class Any(BASE):
            def __sub__(self, other): return RESULT
            __rsub__ = __add__ = __radd__ = __sub__
            def __abs__(self): return ABSOLUTE
            def __lt__(self, other): return True
            __le__ = __gt__ = __ge__ = __lt__
        def f(x): return Any()
    """
    for base in ("object", "float", "int"):
        for result in ("0.0", "self", "Any()"):
            for absolute in ("0.0", "self", "Any()"):
                solution = absorb.replace("BASE", base).replace("RESULT", result).replace("ABSOLUTE", absolute)
                expect_failure(context, solution, tests=tests)
