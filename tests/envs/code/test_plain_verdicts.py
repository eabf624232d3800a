"""Verdicts equal those of one plain Python process that holds solution and tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from kintsugi.envs.code import Problem
from kintsugi.envs.code.grader import Grader
from kintsugi.envs.code.sandbox import Limits, Sandbox, open_sandbox

PAIR = """
class Pair:
    count = 0
    def __init__(self, left, right=0): self.left, self.right = left, right
    def swapped(self): return Pair(self.right, self.left)
    @property
    def total(self): return self.left + self.right
    @classmethod
    def of(cls, text): return cls(*map(int, text.split()))
    def __eq__(self, other): return isinstance(other, Pair) and (self.left, self.right) == (other.left, other.right)
    def __hash__(self): return hash((self.left, self.right))
    def __lt__(self, other): return self.left < other.left
    def __repr__(self): return f"Pair({self.left}, {self.right})"
def f(*args): return Pair(*args)
"""
SEQUENCE = """
class Items:
    def __init__(self, items): self._items = list(items)
    def __len__(self): return len(self._items)
    def __getitem__(self, at): return self._items[at]
    def __eq__(self, other): return self._items == list(other)
def f(n): return Items(range(n))
"""
NUMBER = """
class Number:
    def __init__(self, value): self.value = value
    def __add__(self, other): return Number(self.value + getattr(other, "value", other))
    __radd__ = __add__
    def __sub__(self, other): return Number(self.value - getattr(other, "value", other))
    def __rsub__(self, other): return Number(other - self.value)
    def __abs__(self): return Number(abs(self.value))
    def __lt__(self, other): return self.value < getattr(other, "value", other)
    def __le__(self, other): return self.value <= getattr(other, "value", other)
    def __eq__(self, other): return self.value == getattr(other, "value", other)
    def __float__(self): return float(self.value)
    def __round__(self, digits=0): return round(self.value, digits)
def f(x): return Number(x)
"""
CASES = {
    # lazy results
    "generator as a set": ("def f(n): yield from range(n)", "assert set(f(3)) == {0, 1, 2}\nassert list(f(0)) == []"),
    "generator is no list": ("def f(n): yield from range(n)", "assert f(3) == [0, 1, 2]"),
    "endless generator": (
        "def f():\n    n = 0\n    while True:\n        n += 1\n        yield n",
        "import itertools\nassert list(itertools.islice(f(), 3)) == [1, 2, 3]\ng = f()\nassert next(g) == 1 and next(g) == 2",
    ),
    "generator that receives values": (
        "def f():\n    got = []\n    while True:\n        try:\n            item = yield sum(got)\n            got.append(item)\n"
        "        except ValueError:\n            got.clear()",
        "g = f()\nnext(g)\nassert g.send(2) == 2\nassert g.send(3) == 5\nassert g.throw(ValueError()) == 0\ng.close()\n"
        "assert list(g) == []",
    ),
    "value of a finished generator": (
        "def f():\n    yield 1\n    return 7",
        "def run():\n    return (yield from f())\ng = run()\nassert next(g) == 1\ntry:\n    next(g)\nexcept StopIteration as stop:\n"
        "    assert stop.value == 7\nelse:\n    assert False",
    ),
    "filter": ("def f(xs): return filter(None, xs)", "assert sorted(f([2, 0, 1])) == [1, 2]\nassert isinstance(f([]), filter)"),
    "map and zip": (
        "def f(xs): return map(str, xs), zip(xs, xs)",
        "a, b = f([1, 2])\nassert list(a) == ['1', '2']\nassert dict(b) == {1: 1, 2: 2}",
    ),
    "reversed, enumerate and iter": (
        "def f(xs): return reversed(xs), enumerate(xs), iter(xs)",
        "a, b, c = f([1, 2])\nassert list(a) == [2, 1] and dict(b) == {0: 1, 1: 2} and next(c) == 1 and 2 in c",
    ),
    "range": ("def f(n): return range(n)", "assert f(3) == range(3)\nassert f(3)[-1] == 2\nassert list(f(2)) == [0, 1]"),
    "range is no list": ("def f(n): return range(n)", "assert f(3) == [0, 1, 2]"),
    "views": (
        "def f(d): return d.keys(), d.values(), d.items()",
        "d = {'a': 1}\nk, v, i = f(d)\nassert k == {'a'} and list(v) == [1] and ('a', 1) in i\nd['b'] = 2\nassert len(k) == 2\n"
        "assert k & {'b', 'c'} == {'b'}",
    ),
    # values of the standard library
    "deque": (
        "from collections import deque\ndef f(xs): return deque(xs, maxlen=2)",
        "from collections import deque\nd = f([1, 2, 3])\nassert d == deque([2, 3])\nassert d.maxlen == 2\nd.append(4)\n"
        "assert list(d) == [3, 4]\nassert isinstance(d, deque)",
    ),
    "deque is no list": ("from collections import deque\ndef f(xs): return deque(xs)", "assert f([1]) == [1]"),
    "counter": (
        "from collections import Counter\ndef f(text): return Counter(text)",
        "assert f('aab') == {'a': 2, 'b': 1}\nassert f('aab')['c'] == 0\nassert f('aab').most_common(1) == [('a', 2)]",
    ),
    "default dictionary": (
        "from collections import defaultdict\ndef f():\n    d = defaultdict(list)\n    d['a'].append(1)\n    return d",
        "d = f()\nassert d == {'a': [1]}\nassert d['b'] == []\nd['b'].append(2)\nassert d['b'] == [2]",
    ),
    "ordered dictionary": (
        "from collections import OrderedDict\ndef f(xs):\n    d = OrderedDict.fromkeys(xs)\n    d.move_to_end(xs[0])\n    return d",
        "from collections import OrderedDict\nassert list(f('abc')) == ['b', 'c', 'a']\n"
        "assert f('ab') != OrderedDict.fromkeys('ab')\nassert f('ab') == dict.fromkeys('ab')",
    ),
    "fraction and decimal": (
        "from fractions import Fraction\nfrom decimal import Decimal\ndef f(a, b): return Fraction(a, b), Decimal(a) / b",
        "q, d = f(1, 4)\nassert q == 0.25 and d == q and str(d) == '0.25' and q.denominator == 4 and q + 1 == 1.25",
    ),
    "dates": (
        "import datetime\ndef f(y): return datetime.date(y, 1, 31), datetime.datetime(y, 1, 1, tzinfo=datetime.timezone.utc)",
        "import datetime\nd, t = f(2020)\nassert d == datetime.date(2020, 1, 31)\nassert d + datetime.timedelta(1) == "
        "datetime.date(2020, 2, 1)\nassert t.isoformat() == '2020-01-01T00:00:00+00:00'\nassert isinstance(d, datetime.date)",
    ),
    "named tuple": (
        "from collections import namedtuple\nPoint = namedtuple('Point', 'x y')\ndef f(x, y): return Point(x, y)",
        "p = f(1, 2)\nassert p == (1, 2) and p.x == 1 and p._replace(x=5) == (5, 2) and p[1] == 2\nx, y = p\nassert y == 2\n"
        "assert isinstance(p, tuple) and p._asdict() == {'x': 1, 'y': 2}\nassert f(0, 0) < p",
    ),
    "complex numbers, bytes, huge integers": (
        "def f(n): return complex(n, -n), bytes([n]), bytearray(b'x'), 10 ** 5000, -2 ** 70, float('inf')",
        "c, b, a, h, n, i = f(1)\nassert c == 1 - 1j and b == b'\\x01' and a == b'x' and h == 10 ** 5000 and n == -2 ** 70\n"
        "assert i > 1 and f(1)[0].imag == -1",
    ),
    "regular expressions": (
        "import re\ndef f(p, s): return re.compile(p), re.match(p, s)",
        "p, m = f('a(b)', 'abc')\nassert p.pattern == 'a(b)' and m.group(1) == 'b' and m[0] == 'ab' and m.span() == (0, 2)\n"
        "assert p.match('xab') is None",
    ),
    "enumeration": (
        "import enum\nclass Colour(enum.Enum):\n    RED = 1\n    BLUE = 2\nclass Size(enum.IntEnum):\n    BIG = 3\n"
        "def f(n): return Colour(n)",
        "assert f(1) is Colour.RED and f(2).name == 'BLUE' and f(2) != f(1) and Size.BIG == 3 and Size.BIG + 1 == 4\n"
        "assert [c.value for c in Colour] == [1, 2] and len(Colour) == 2 and Colour['RED'] in Colour",
    ),
    # objects of the solution
    "object with attributes": (
        PAIR,
        "p = f(1, 2)\nassert p.left == 1 and p.total == 3 and p.swapped() == f(2, 1) and p != f(2, 1) and repr(p) == 'Pair(1, 2)'\n"
        "assert {p: 1}[f(1, 2)] == 1 and sorted([f(2), f(1)])[0].left == 1 and isinstance(p, Pair) and type(p) is Pair\n"
        "assert Pair.of('3 4').right == 4 and Pair.__name__ == 'Pair' and not hasattr(p, 'middle') and p != (1, 2)",
    ),
    "attributes set by the tests": (
        PAIR + "\ndef g(p): return p.left, getattr(p, 'extra', None), p.count",
        "p = f(1)\np.left = 5\np.extra = 'new'\nPair.count = 7\nassert g(p) == (5, 'new', 7)\ndel p.extra\nassert g(p)[1] is None\n"
        "assert vars(p) == {'left': 5, 'right': 0}",
    ),
    "linked nodes": (
        "class Node:\n    def __init__(self, v): self.v, self.left, self.right = v, None, None\n"
        "def f(root): return 0 if root is None else 1 + max(f(root.left), f(root.right))",
        "root = Node(1)\nroot.left = Node(2)\nroot.left.right = Node(3)\nassert f(root) == 3\nassert root.left.right.v == 3\n"
        "assert f(root.right) == 0 and root.left is root.left",
    ),
    "user-defined sequence": (
        SEQUENCE,
        "s = f(3)\nassert len(s) == 3 and s[0] == 0 and s[-1] == 2 and list(s) == [0, 1, 2] and 2 in s and s == [0, 1, 2]\n"
        "assert s[1:] == [1, 2] and [0, 1, 2] == s and not s == [0, 1] and sum(s) == 3 and max(s) == 2 and f(0) == []\n"
        "assert list(reversed(s)) == [2, 1, 0] and not f(0)",
    ),
    "user-defined sequence without ==": (SEQUENCE.replace("__eq__", "same"), "assert f(3) == [0, 1, 2]"),
    "abstract sequence": (
        "from collections.abc import Sequence\nclass S(Sequence):\n    def __len__(self): return 3\n"
        "    def __getitem__(self, i):\n        if not 0 <= i < 3: raise IndexError\n        return i * i\ndef f(): return S()",
        "from collections.abc import Sequence\ns = f()\nassert isinstance(s, Sequence) and s.index(4) == 2 and 1 in s\n"
        "assert s.count(0) == 1 and list(s) == [0, 1, 4]",
    ),
    "list class of its own": (
        "class L(list):\n    def first(self): return self[0]\n    def append(self, x): super().append(2 * x)\ndef f(*xs): return L(xs)",
        "a = f(1, 2)\nassert a == [1, 2] and a.first() == 1 and isinstance(a, list) and a + [3] == [1, 2, 3]\na.append(5)\n"
        "assert a == [1, 2, 10]\na.extend([1])\nassert a.first() == 1 and len(a) == 4 and a[-1] == 1\na.sort()\nassert a.first() == 1",
    ),
    "UserList and UserDict": (
        "from collections import UserList, UserDict\ndef f(xs): return UserList(xs), UserDict(enumerate(xs))",
        "a, b = f('xy')\nassert a == ['x', 'y'] and b == {0: 'x', 1: 'y'} and b[1] == 'y' and len(a) == 2 and 'x' in a",
    ),
    "number of its own": (
        NUMBER,
        "assert f(3) == 3 and 3 == f(3) and f(3) + 1 == 4 and 1 + f(3) == 4 and abs(f(2.5) - 2.5) < 1e-6 and f(3) < 4\n"
        "assert float(f(2)) == 2.0 and round(f(2.567), 2) == 2.57 and not f(3) == 4 and f(3) != 5 and sum([f(1), f(2)]) == 3",
    ),
    "number of its own, wrong": (NUMBER.replace("Number(x)", "Number(x + 1)"), "assert abs(f(2.5) - 2.5) < 1e-6"),
    "int, str and float classes of its own": (
        "class I(int):\n    def double(self): return I(2 * self)\nclass S(str): pass\nclass F(float): pass\n"
        "def f(x): return I(x), S(x), F(x)",
        "i, s, r = f(3)\nassert i == 3 and i.double() == 6 and s == '3' and s.upper() == '3' and r / 2 == 1.5 and [0, 1, 2, 9][i] == 9\n"
        "assert isinstance(s, str) and ','.join([s, s]) == '3,3' and {s: 1}['3'] == 1 and f'{i:03d}' == '003'",
    ),
    "data class": (
        "from __future__ import annotations\nfrom dataclasses import dataclass, field\n@dataclass(order=True)\nclass D:\n    a: int\n"
        "    b: list = field(default_factory=list)\ndef f(a): return D(a)",
        "d = f(1)\nassert d == D(1) and d != D(2) and d < D(2)\nd.b.append(3)\nassert d.b == [3] and d == D(1, [3]) and repr(d) == 'D(a=1, b=[3])'",
    ),
    "class made by the tests of the solution's class": (
        "def f():\n    class Local:\n        x = 1\n        def __call__(self, y): return self.x + y\n    return Local",
        "C = f()\nassert C.x == 1 and C()(2) == 3\nC.x = 5\nassert C()(2) == 7",
    ),
    "context manager": (
        "class C:\n    log = []\n    def __enter__(self): self.log.append('in'); return self\n"
        "    def __exit__(self, *e): self.log.append('out'); return e[0] is ValueError\ndef f(): return C()",
        "with f() as c:\n    assert c.log == ['in']\n    raise ValueError\nassert c.log == ['in', 'out']",
    ),
    "closure with state": (
        "def f():\n    n = 0\n    def count():\n        nonlocal n\n        n += 1\n        return n\n    return count",
        "c, d = f(), f()\nassert (c(), c(), d()) == (1, 2, 1) and callable(c) and c.__name__ == 'count'",
    ),
    "attribute of a function": ("def f(x):\n    f.calls = getattr(f, 'calls', 0) + 1", "f(1)\nf(2)\nassert f.calls == 2"),
    "global state": ("seen = []\ndef f(x): seen.append(x); return seen", "a = f(1)\nf(2)\nassert a == [1, 2] and f(3) is a\nseen.clear()\nassert a == []"),
    "coroutine": (
        "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return 2 * x",
        "import asyncio\nassert asyncio.run(f(2)) == 4\nasync def main():\n    return await asyncio.gather(f(1), f(2))\nassert asyncio.run(main()) == [2, 4]",
    ),
    # what the tests give
    "arguments changed in place": (
        "def f(xs, d, s):\n    xs.sort(); d['n'] = [1]; s.discard(1)\n    xs[0].append(9)",
        "xs, d, s = [[2], [1]], {}, {1, 2}\nkept = xs[1]\nassert f(xs, d, s) is None\nassert xs == [[1, 9], [2]] and d == {'n': [1]} and s == {2}\n"
        "assert xs[0] is kept",
    ),
    "the same list comes back": ("def f(x): return x", "x = [1]\nassert f(x) is x\nt = ([],)\nassert f(t)[0] is t[0]\nassert f(f) is f"),
    "a list within itself": (
        "def f(x):\n    x.append(x)\n    return x", "x = [1]\ny = f(x)\nassert y is x and y[1] is x and x[1][1][0] == 1",
    ),
    "kept between calls": (
        "kept = None\ndef f(x):\n    global kept\n    if kept is not None: kept.append(x)\n    kept = x if isinstance(x, list) else kept",
        "x = []\nf(x)\nf(5)\nassert x == [5]",
    ),
    "callbacks": (
        "def f(g, xs): return [g(x) for x in xs]",
        "seen = []\ndef g(x):\n    seen.append(x)\n    return x + 1\nassert f(g, [1, 2]) == [2, 3] and seen == [1, 2]\nassert f(len, ['ab']) == [2]\n"
        "assert f(str.upper, 'a') == ['A'] and f(lambda x: -x, [1]) == [-1]\nimport operator, math\nassert f(operator.neg, [1]) == [-1]\n"
        "assert f(math.sqrt, [4]) == [2]",
    ),
    "callback that raises": (
        "def f(g):\n    try: return g()\n    except ValueError as e: return e.args",
        "def g(): raise ValueError('no', 3)\nassert f(g) == ('no', 3)\ndef h(): raise KeyError('k')\ntry:\n    f(h)\nexcept KeyError as e:\n"
        "    assert e.args == ('k',)\nelse:\n    assert False",
    ),
    "types as arguments": (
        "def f(t, x): return isinstance(x, t), t(x) if t is int else None",
        "assert f(int, 3) == (True, 3) and f(str, 3) == (False, None) and f((int, str), 'a') == (True, None)\nimport fractions\n"
        "assert f(fractions.Fraction, 1) == (False, None)",
    ),
    "types as results": (
        "def f(x): return type(x)",
        "assert f(1) is int and f([]) == list and f('') is str and f(None) is type(None) and f(f(1)) is type",
    ),
    "iterators as arguments": (
        "def f(it): return next(it), list(it)", "assert f(iter([1, 2, 3])) == (1, [2, 3])\nassert f(x for x in 'ab') == ('a', ['b'])",
    ),
    "class of the tests": (
        "def f(p): p.x += 1; return p.double(), p[3], len(p), p == p, p",
        "class P:\n    x = 1\n    def double(self): return 2 * self.x\n    def __getitem__(self, i): return i\n    def __len__(self): return 4\n"
        "p = P()\nd, i, n, e, q = f(p)\nassert (d, i, n, e) == (4, 3, 4, True) and q is p and p.x == 2",
    ),
    "keyword arguments": ("def f(a, *b, c=1, **d): return a, b, c, d", "assert f(1, 2, c=3, e=[4]) == (1, (2,), 3, {'e': [4]})"),
    # exceptions
    "built-in exceptions": (
        "def f(x): return {}[x] if x else 1 / x",
        "for x, kind in ((1, KeyError), (0, ZeroDivisionError)):\n    try:\n        f(x)\n    except kind as e:\n        assert type(e) is kind\n"
        "    else:\n        assert False",
    ),
    "exceptions of its own": (
        "class Bad(ValueError):\n    def __init__(self, code): super().__init__(f'bad {code}'); self.code = code\n"
        "class Worse(Bad):\n    def __str__(self): return 'worse'\ndef f(x): raise (Worse if x else Bad)(x)",
        "try:\n    f(0)\nexcept ValueError as e:\n    assert e.code == 0 and str(e) == 'bad 0' and type(e) is Bad and e.args == ('bad 0',)\n"
        "try:\n    f(7)\nexcept Bad as e:\n    assert str(e) == 'worse' and e.code == 7 and isinstance(e, Worse)\nelse:\n    assert False",
    ),
    "attributes of a raised exception": (
        "def f():\n    e = RuntimeError('x')\n    e.detail = [1]\n    raise e",
        "try:\n    f()\nexcept RuntimeError as e:\n    assert e.detail == [1]\nelse:\n    assert False",
    ),
    "exception as a value": ("def f(): return OSError(2, 'gone')", "e = f()\nassert isinstance(e, FileNotFoundError) and e.errno == 2 and e.strerror == 'gone'"),
    "exit is no pass": ("def f(): raise SystemExit(0)", "f()\nassert True"),
    "exit between assertions": ("import os\ndef f(): os._exit(0)", "assert True\nf()"),
    # tests that catch their own assertions
    "else after try": (
        "def f(x):\n    if x < 0: raise ValueError\n    return x",
        "assert f(1) == 1\ntry:\n    f(-1)\nexcept ValueError:\n    pass\nelse:\n    assert False",
    ),
    "assertion that is caught": ("def f(): return 2", "try:\n    assert f() == 1\nexcept AssertionError:\n    assert f() == 2"),
    "assertion that is caught, wrong": ("def f(): return 3", "try:\n    assert f() == 1\nexcept AssertionError:\n    assert f() == 2"),
    "helper that does not assert": ("def f(): return 2", "def same(a, b):\n    if a != b: raise AssertionError\nsame(f(), 2)"),
    "helper that does not assert, wrong": ("def f(): return 3", "def same(a, b):\n    if a != b: raise AssertionError\nsame(f(), 2)"),
    "suppressed": ("def f(): return 3", "import contextlib\nwith contextlib.suppress(AssertionError):\n    assert f() == 1"),
    # how Python finds things
    "pickling": (
        "import pickle\nclass P:\n    def __init__(self, x): self.x = x\ndef f(x): return pickle.loads(pickle.dumps(P(x))).x",
        "assert f(3) == 3",
    ),
    "type hints": (
        "from __future__ import annotations\nimport typing\ndef g(x: Later) -> int: return 1\nclass Later: pass\ndef f(): return typing.get_type_hints(g)['x'] is Later",
        "assert f()",
    ),
    "its own source": ("import inspect\ndef f(): return inspect.getsource(f)", "assert 'getsource' in f()"),
    "copies": (
        "import copy\nclass P:\n    def __init__(self): self.xs = [1]\ndef f(): return P()",
        "import copy\np = f()\nq, r = copy.copy(p), copy.deepcopy(p)\np.xs.append(2)\nassert q.xs == [1, 2] and r.xs == [1] and isinstance(r, P)",
    ),
    "recursion": ("def f(n): return 0 if n == 0 else 1 + f(n - 1)", "assert f(900) == 900\ntry:\n    f(5000)\nexcept RecursionError:\n    pass\nelse:\n    assert False"),
    "decorated with a cache": (
        "import functools\n@functools.lru_cache(None)\ndef f(n): return n if n < 2 else f(n - 1) + f(n - 2)",
        "assert f(80) == 23416728348467685 and f.cache_info().currsize == 81\nf.cache_clear()\nassert f.cache_info().currsize == 0",
    ),
    "partial and bound methods": (
        "import functools\nclass A:\n    def m(self, x): return x + 1\ndef f(): return functools.partial(max, 3), A().m, 'a,b'.split",
        "a, b, c = f()\nassert a(1) == 3 and b(1) == 2 and c(',') == ['a', 'b']",
    ),
    "process pool": (
        "from concurrent.futures import ThreadPoolExecutor\ndef f(xs):\n    with ThreadPoolExecutor(2) as pool: return list(pool.map(str, xs))",
        "assert f([1, 2]) == ['1', '2']",
    ),
    "names of the solution in the tests": ("LIMIT = 5\ndef helper(x): return x + LIMIT\ndef f(x): return helper(x)", "assert f(1) == helper(1) == LIMIT + 1"),
    "strings with odd characters": ("def f(s): return s + '\\ud800\\x00\\U0001f600'", "assert f('é') == 'é\\ud800\\x00\\U0001f600'"),
    "deep nesting": ("def f(n):\n    x = []\n    for _ in range(n): x = [x]\n    return x", "x, n = f(500), 0\nwhile x:\n    x, n = x[0], n + 1\nassert n == 500"),
    "large results": ("def f(n): return list(range(n)), {i: str(i) for i in range(n)}", "a, b = f(50000)\nassert a[-1] == 49999 and b[7] == '7' and len(b) == 50000"),
    "no tests fail": ("def f(): pass", "f()"),
}  # fmt: skip
"""For each case: a solution and its tests. One plain Python process says whether it is right."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox() as opened:
        yield opened


def plain_verdict(solution: str, tests: str) -> bool:
    """Return whether the tests run to their end in a process that holds both."""
    program = (
        "import sys, types\nmodule = sys.modules['solution'] = types.ModuleType('solution')\nimport linecache\n"
        "linecache.cache['s.py'] = (1, None, sys.argv[1].splitlines(True), 's.py')\n"
        "exec(compile(sys.argv[1], 's.py', 'exec'), vars(module))\nexec(sys.argv[2], vars(module))\nprint('passed', end='')"
    )
    done = subprocess.run([sys.executable, "-c", program, solution, tests], capture_output=True, text=True, check=False)
    return done.stdout.endswith("passed")


@pytest.mark.requires("sandbox")
@pytest.mark.parametrize("name", CASES)
def test_a_verdict_equals_that_of_plain_python(sandbox, name):
    solution, tests = CASES[name]
    problem = Problem(type="", prompt="", goal="", entry="f", solution=solution, hidden_code=tests)
    verdict = Grader(sandbox, Limits(seconds=60, cpu_seconds=10)).run_hidden(problem, solution)
    assert verdict.success == plain_verdict(solution, tests), verdict
