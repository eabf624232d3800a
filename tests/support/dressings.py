"""Right answers in other clothes: solutions whose results are of other types, or that treat their arguments otherwise.

Whether such an answer passes depends on the task: `[1, 2] == deque([1, 2])` is false, `set(deque([1, 2])) == {1, 2}`
is true. Plain Python decides.
"""

from __future__ import annotations

HEAD = """
import array, collections, collections.abc, dataclasses, datetime, decimal, enum, fractions, functools, itertools
import types, typing
_applied_ = 0
_depth_ = 0
_gold_ = {entry}
"""
RESULT = """
def _dress_(v, arguments):
{body}
def _wrapped_(*arguments, **keywords):
    global _applied_, _depth_
    if _depth_:
        return _gold_(*arguments, **keywords)
    _depth_ = 1
    try:
        value = _gold_(*arguments, **keywords)
    finally:
        _depth_ = 0
    dressed = _dress_(value, arguments)
    _applied_ += dressed is not value or {always}
    return dressed
{entry} = _wrapped_
"""
SEQUENCE = """
class Sequence_:
    def __init__(self, items): self.items = list(items)
    def __len__(self): return len(self.items)
    def __getitem__(self, at): return self.items[at]
"""
EQUAL = """
    def __eq__(self, other): return list(self.items) == list(other) if hasattr(other, "__iter__") else NotImplemented
    __hash__ = None
"""
LAZY = """
class Lazy_(collections.abc.Mapping):
    def __init__(self, items): self.items_ = items
    def __len__(self): return len(self.items_)
    def __iter__(self): return iter(self.items_)
    def __getitem__(self, key): return self.items_[key]
"""
DEEP = """
def deep_(v, leaf):
    if type(v) in (list, tuple, set): return type(v)(deep_(x, leaf) for x in v)
    if type(v) is dict: return {deep_(k, leaf): deep_(x, leaf) for k, x in v.items()}
    return leaf(v)
"""
ROWS = "type(v) in (list, tuple)"
ITEMS = "type(v) in (list, tuple, set, str, dict)"


def _when(condition: str, value: str, before: str = "") -> tuple[str, str]:
    """Return the helpers and the body of a dressing that returns `value` where a condition holds."""
    return before, f"    return {value} if {condition} else v"


def _deep(condition: str, value: str, before: str = "") -> tuple[str, str]:
    """Return a dressing that replaces the leaves of lists, tuples, sets and dicts."""
    leaf = f"lambda x: (changed.append(x), {value})[1] if {condition} else x"
    return DEEP + before, f"    changed = []\n    w = deep_(v, {leaf})\n    return w if changed else v"


RESULTS: dict[str, tuple[str, str]] = {
    "fraction": _deep("type(x) in (int, float) and x - x == 0", "fractions.Fraction(x)"),
    "decimal": _deep("type(x) in (int, float)", "decimal.Decimal(repr(x))"),
    "complex": _deep("type(x) in (int, float)", "complex(x)"),
    "float": _deep("type(x) is int and abs(x) < 1e300", "float(x)"),
    "rounded": _deep("type(x) is float and x - x == 0", "int(x)"),
    "number of a bool": _deep("type(x) is bool", "int(x)"),
    "bool of a number": _deep("type(x) is int", "bool(x)"),
    "float subclass": _deep("type(x) is float", "Float_(x)", "class Float_(float): pass\n"),
    "int subclass": _deep("type(x) is int", "Int_(x)", "class Int_(int): pass\n"),
    "int subclass with text": _deep(
        "type(x) is int",
        "Int_(x)",
        "class Int_(int):\n    def __repr__(self): return 'number'\n    __str__ = __repr__\n",
    ),
    "int subclass, equal to nothing": _deep(
        "type(x) is int",
        "Int_(x)",
        "class Int_(int):\n    def __eq__(self, other): return False\n    __hash__ = int.__hash__\n",
    ),
    "enum": _when("type(v) is int", "enum.IntEnum('E', {'member': v}).member"),
    "date": _when("type(v) is int and 0 < v < 3000000", "datetime.date.fromordinal(v)"),
    "timedelta": _when("type(v) in (int, float) and abs(v) < 1e6", "datetime.timedelta(seconds=v)"),
    "date of a text": _when("type(v) is str", "datetime.date(2020, 1, 1 + len(v) % 28)"),
    "str subclass": _deep("type(x) is str", "Str_(x)", "class Str_(str): pass\n"),
    "str subclass, equal without case": _deep(
        "type(x) is str",
        "Str_(x)",
        "class Str_(str):\n    def __eq__(self, other): return self.lower() == other.lower()\n"
        "    def __hash__(self): return hash(self.lower())\n",
    ),
    "user string": _deep("type(x) is str", "collections.UserString(x)"),
    "bytes": _deep("type(x) is str", "x.encode('utf-8', 'replace')"),
    "bytearray": _when("type(v) is str", "bytearray(v, 'utf-8')"),
    "str enum": _when("type(v) is str and v", "enum.Enum('E', {'member': v}, type=str).member"),
    "list of characters": _when("type(v) is str", "list(v)"),
    "tuple or list": _when(ROWS, "tuple(v) if type(v) is list else list(v)"),
    "rows as tuples": _when(
        "type(v) is list and v and type(v[0]) in (list, tuple)",
        "[tuple(x) if type(x) is list else list(x) if type(x) is tuple else x for x in v]",
    ),
    "deque": _when(ROWS, "collections.deque(v)"),
    "rows as deques": _when(ROWS + " and v and type(v[0]) is list", "type(v)(collections.deque(x) for x in v)"),
    "generator": _when(ITEMS, "(x for x in v)"),
    "rows as generators": _when(ROWS + " and v and type(v[0]) in (list, tuple)", "[(y for y in x) for x in v]"),
    "iterator": _when(ITEMS, "iter(v)"),
    "filter": _when(ITEMS, "filter(lambda x: True, v)"),
    "map": _when(ITEMS, "map(lambda x: x, v)"),
    "chain": _when(ITEMS, "itertools.chain(v)"),
    "zip": _when("type(v) is list and v and type(v[0]) is tuple", "zip(*zip(*v))"),
    "reversed": _when(ROWS, "reversed(v[::-1])"),
    "enumerate": _when(ROWS, "enumerate(v)"),
    "range": _when("type(v) is list and v == list(range(len(v)))", "range(len(v))"),
    "range from one": _when("type(v) is list and v == list(range(1, len(v) + 1))", "range(1, len(v) + 1)"),
    "range of a number": _when("type(v) is int and 0 <= v < 10000", "range(v)"),
    "array": _when("type(v) is list and all(type(x) is int and abs(x) < 2**62 for x in v)", "array.array('q', v)"),
    "memoryview": _when("type(v) is list and all(type(x) is int and 0 <= x < 256 for x in v)", "memoryview(bytes(v))"),
    "keys view": _when(
        "type(v) in (list, tuple, set) and hashable_(v)",
        "dict.fromkeys(v).keys()",
        "def hashable_(v):\n    try: return [hash(x) for x in v] != 0\n    except TypeError: return False\n",
    ),
    "values view": _when("type(v) in (list, tuple, set)", "dict(enumerate(v)).values()"),
    "items view": _when("type(v) is dict", "v.items()"),
    "keys of a dict": _when("type(v) is dict", "v.keys()"),
    "frozenset": _when("type(v) is set", "frozenset(v)"),
    "set": _when(
        "type(v) in (list, tuple) and hashable_(v)",
        "set(v)",
        "def hashable_(v):\n    try: return [hash(x) for x in v] != 0\n    except TypeError: return False\n",
    ),
    "list subclass": _when("type(v) is list", "List_(v)", "class List_(list): pass\n"),
    "list subclass, equal in any order": _when(
        "type(v) is list",
        "List_(v)",
        "class List_(list):\n    def __eq__(self, other): return sorted(map(repr, self)) == sorted(map(repr, other))\n",
    ),
    "list subclass, equal to nothing": _when(
        "type(v) is list", "List_(v)", "class List_(list):\n    def __eq__(self, other): return False\n"
    ),
    "list subclass, longer when iterated": _when(
        "type(v) is list",
        "List_(v)",
        "class List_(list):\n    def __iter__(self): return itertools.chain(list.__iter__(self), [None])\n",
    ),
    "tuple subclass": _when("type(v) is tuple", "Tuple_(v)", "class Tuple_(tuple): pass\n"),
    "namedtuple": _when("type(v) is tuple", "collections.namedtuple('T', [f'f{i}' for i in range(len(v))])(*v)"),
    "dict subclass": _when("type(v) is dict", "Dict_(v)", "class Dict_(dict): pass\n"),
    "ordered dict": _when("type(v) is dict", "collections.OrderedDict(v)"),
    "ordered dict, reversed": _when("type(v) is dict", "collections.OrderedDict(list(v.items())[::-1])"),
    "default dict": _when("type(v) is dict", "collections.defaultdict(int, v)"),
    "counter": _when("type(v) is dict", "collections.Counter(v)"),
    "user dict": _when("type(v) is dict", "collections.UserDict(v)"),
    "mapping proxy": _when("type(v) is dict", "types.MappingProxyType(v)"),
    "chain map": _when("type(v) is dict", "collections.ChainMap(v)"),
    "lazy mapping": _when("type(v) is dict", "Lazy_(v)", LAZY),
    "pairs of a dict": _when("type(v) is dict", "list(v.items())"),
    "user list": _when("type(v) is list", "collections.UserList(v)"),
    "sequence without ==": _when(ROWS, "Sequence_(v)", SEQUENCE),
    "sequence with ==": _when(ROWS, "Sequence_(v)", SEQUENCE + EQUAL),
    "rows as sequences with ==": _when(
        ROWS + " and v and type(v[0]) in (list, tuple)", "[Sequence_(x) for x in v]", SEQUENCE + EQUAL
    ),
    "abstract sequence": _when(
        ROWS, "Sequence_(v)", SEQUENCE.replace("class Sequence_:", "class Sequence_(collections.abc.Sequence):")
    ),
    "number with ==": _when(
        "type(v) in (int, float)",
        "Number_(v)",
        """
@functools.total_ordering
class Number_:
    def __init__(self, v): self.v = v
    def __eq__(self, other): return self.v == other
    def __lt__(self, other): return self.v < other
    def __sub__(self, other): return self.v - other
    def __rsub__(self, other): return other - self.v
    def __float__(self): return float(self.v)
    def __round__(self, n=None): return round(self.v, n)
    def __hash__(self): return hash(self.v)
""",
    ),
    "== that raises": _when(
        "True",
        "Raises_()",
        """
class Raises_:
    def __eq__(self, other): raise RuntimeError("not comparable")
""",
    ),
    "truth of an object": _when(
        "type(v) is bool",
        "Truth_(v)",
        """
class Truth_:
    def __init__(self, v): self.v = v
    def __bool__(self): return self.v
""",
    ),
    "dataclass": _when(
        ROWS,
        "Data_(list(v))",
        """
@dataclasses.dataclass
class Data_:
    items: "typing.List[int]"
    def __iter__(self): return iter(self.items)
    def __len__(self): return len(self.items)
""",
    ),
    "dataclass with ==": _when(
        "type(v) in (int, float, str)",
        "Data_(v)",
        """
@dataclasses.dataclass(frozen=True)
class Data_:
    value: object
    def __eq__(self, other): return self.value == getattr(other, "value", other)
""",
    ),
    "simple namespace": _when("type(v) is dict", "types.SimpleNamespace(items=v)"),
    "object": _when("True", "object()"),
    "function": _when("True", "lambda: v"),
    "class": _when("True", "type('C', (), {'value': v})"),
    "exception": _when("True", "ValueError(v)"),
    "not implemented": _when("type(v) is bool", "NotImplemented"),
    "nan for nothing": _when("v is None", "float('nan')"),
    "coroutine": _when("True", "coroutine_(v)", "async def coroutine_(v): return v\n"),
}
"""Helpers and body of a function that gets the right result `v` and returns the dressed one, by name."""

CHANGES = {
    "first argument emptied": "    if arguments and type(arguments[0]) in (list, dict, set): arguments[0].clear()",
    "first argument grown": "    if arguments and type(arguments[0]) is list: arguments[0].append(0)",
    "first argument reversed": "    if arguments and type(arguments[0]) is list: arguments[0].reverse()",
    "first argument holds the result": "    if arguments and type(arguments[0]) is list and type(v) is list:\n"
    "        arguments[0][:] = v\n        return arguments[0]",
    "all arguments emptied": "    for each in arguments:\n        if type(each) in (list, dict, set): each.clear()",
    "rows of the first argument emptied": "    if arguments and type(arguments[0]) in (list, tuple):\n"
    "        for each in arguments[0]:\n            if type(each) in (list, dict, set): each.clear()",
    "result is a shared list": "    global shared_\n"
    "    if type(v) is list:\n        shared_[:] = v\n        return shared_",
    "result is part of a cycle": "    if type(v) is list:\n        v = [*v, None]\n        v[-1] = v",
    "result is very long": "    if type(v) is list: return v * 2000\n    if type(v) is str: return v * 200000",
    "result is very deep": "    for _ in range(5000): v = [v]\n    return v",
}
"""Bodies of functions that run after the right solution has returned `v`."""

ENTRIES = {
    "callable object": "class Callable_:\n    def __call__(self, *a, **k): return _gold_(*a, **k)\n"
    "{entry} = Callable_()",
    "partial": "{entry} = functools.partial(_gold_)",
    "cached": "{entry} = functools.lru_cache(_gold_)",
    "class": "class {entry}:\n    def __new__(cls, *a, **k): return _gold_(*a, **k)",
    "raises in the end": "def {entry}(*a, **k):\n    _gold_(*a, **k)\n    raise RuntimeError('in the end')",
    "exits in the end": "def {entry}(*a, **k):\n    _gold_(*a, **k)\n    raise SystemExit(0)",
    "prints and returns": "def {entry}(*a, **k):\n    print('x' * 1000)\n    return _gold_(*a, **k)",
    "only prints": "def {entry}(*a, **k):\n    print(_gold_(*a, **k))",
    "names of the tests": "check = candidate = METADATA = None",
}
"""Definitions that replace the solution. `_gold_` is the right one."""
CLAIMS = {
    "object": "class Claim_:\n    def __eq__(self, other): return True\n    __hash__ = None\nclaim_ = lambda: Claim_()",
    "list": "class Claim_(list):\n    def __eq__(self, other): return True\nclaim_ = lambda: Claim_([1])",
    "number": "class Claim_(int):\n    def __eq__(self, other): return True\nclaim_ = lambda: Claim_(1)",
    "text": "class Claim_(str):\n    def __eq__(self, other): return True\nclaim_ = lambda: Claim_('x')",
    "truthy": "class Claim_(list):\n    def __eq__(self, other): return [False]\nclaim_ = lambda: Claim_([1])",
    "class": "class Meta_(type):\n    def __eq__(self, other): return True\n"
    "class Claim_(metaclass=Meta_): pass\nclaim_ = lambda: Claim_",
}
"""Objects that claim to equal everything. Plain Python believes them. The grader must not: the one difference."""

DRESSINGS = (
    *(f"result: {name}" for name in RESULTS),
    *(f"change: {name}" for name in CHANGES),
    *(f"entry: {name}" for name in ENTRIES),
)
"""Names of all dressings."""


def dressed(solution: str, entry: str, name: str) -> str:
    """Return a right solution in a dressing.

    Args:
        solution: The right solution.
        entry: Name of the function that the tests call.
        name: One of `DRESSINGS`.

    Returns:
        Source in which the global `_applied_` counts how often a result was changed, if `name` is about results.
    """
    kind, _, which = name.partition(": ")
    head = solution.rstrip("\n") + "\n" + HEAD.format(entry=entry)
    if kind == "entry":
        return f"{head}_applied_ = 1\n{ENTRIES[which].format(entry=entry)}\n"
    before, body = ("shared_ = []\n", CHANGES[which] + "\n    return v") if kind == "change" else RESULTS[which]
    return head + before + RESULT.format(body=body, entry=entry, always=kind == "change")


def claiming(entry: str, name: str) -> str:
    """Return a solution that returns an object of `CLAIMS` and computes nothing."""
    return f"{CLAIMS[name]}\ndef {entry}(*arguments, **keywords): return claim_()\n"
