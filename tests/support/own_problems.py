"""Programming tasks in the formats of HumanEval and MBPP, with results and arguments of many types."""

from __future__ import annotations

import json
from pathlib import Path

from kintsugi.envs.code import Problem, published

HUMANEVAL = [
    {
        "entry_point": "mean",
        "prompt": 'from typing import List\n\n\ndef mean(xs: List[float]) -> float:\n    """Mean.\n'
        '    >>> mean([1.0, 2.0])\n    1.5\n    """\n',
        "canonical_solution": "    return sum(xs) / len(xs)\n",
        "test": "def check(candidate):\n    assert abs(candidate([1.0, 2.0]) - 1.5) < 1e-6\n"
        "    assert candidate([4.0]) == 4.0\n    assert candidate([-1.0, 1.0, 3.0]) == 1.0\n",
    },
    {
        "entry_point": "evens",
        "prompt": 'def evens(n):\n    """The even numbers up to n."""\n',
        "canonical_solution": "    return [x for x in range(n + 1) if x % 2 == 0]\n",
        "test": "def check(candidate):\n    assert candidate(5) == [0, 2, 4]\n    assert candidate(-1) == []\n"
        "    assert len(candidate(10)) == 6\n",
    },
    {
        "entry_point": "is_sorted",
        "prompt": 'def is_sorted(xs):\n    """Whether a list is sorted."""\n',
        "canonical_solution": "    return all(a <= b for a, b in zip(xs, xs[1:]))\n",
        "test": "def check(candidate):\n    assert candidate([1, 2, 2]) is True\n    assert not candidate([2, 1])\n"
        "    assert candidate([]) == True\n    assert candidate([3, 1, 2]) == False\n",
    },
    {
        "entry_point": "histogram",
        "prompt": 'def histogram(text):\n    """How often each letter occurs."""\n',
        "canonical_solution": "    counts = {}\n    for c in text:\n        if c.isalpha():\n"
        "            counts[c] = counts.get(c, 0) + 1\n    return counts\n",
        "test": "def check(candidate):\n    assert candidate('a b a') == {'a': 2, 'b': 1}\n"
        "    assert candidate('') == {}\n"
        "    assert sorted(candidate('cb').items()) == [('b', 1), ('c', 1)]\n",
    },
    {
        "entry_point": "put_in_order",
        "prompt": 'def put_in_order(xs):\n    """Sort xs in place."""\n',
        "canonical_solution": "    xs.sort()\n",
        "test": "def check(candidate):\n    xs = [3, 1, 2]\n    candidate(xs)\n    assert xs == [1, 2, 3]\n"
        "    ys = [[2], [1]]\n    assert candidate(ys) is None\n    assert ys == [[1], [2]]\n",
    },
    {
        "entry_point": "root",
        "prompt": 'def root(x):\n    """Square root; ValueError below 0."""\n',
        "canonical_solution": "    if x < 0:\n        raise ValueError('negative')\n    return x ** 0.5\n",
        "test": "def check(candidate):\n    assert candidate(4) == 2\n    try:\n        candidate(-1)\n"
        "    except ValueError:\n        pass\n    else:\n        assert False\n",
    },
    {
        "entry_point": "half",
        "prompt": 'def half(x):\n    """Half of x."""\n',
        "canonical_solution": "    return x / 2\n",
        "test": "def same(out, want, tol):\n    if tol == 0:\n        assert out == want\n    else:\n"
        "        assert abs(out - want) <= tol\n\n\ndef check(candidate):\n"
        "    for x, want in [(2, 1.0), (5, 2.5)]:\n        same(candidate(x), want, 1e-6)\n",
    },
    {
        "entry_point": "chunks",
        "prompt": 'def chunks(xs, n):\n    """Cut a list into rows of n."""\n',
        "canonical_solution": "    rows = [xs[i:i + n] for i in range(0, len(xs), n)]\n    return rows\n",
        "test": "def check(candidate):\n    xs = [1, 2, 3, 4, 5]\n"
        "    assert candidate(xs, 2) == [[1, 2], [3, 4], [5]]\n"
        "    assert xs == [1, 2, 3, 4, 5]\n    assert [len(row) for row in candidate('abcd', 3)] == [3, 1]\n",
    },
]
MBPP = [
    {
        "code": "def shared(a, b):\n    return tuple(sorted(set(a) & set(b)))",
        "test_list": [
            "assert set(shared('tea', 'eat')) == {'t', 'e', 'a'}",
            "assert set(shared('ab', 'cd')) == set()",
            "assert sorted(shared('abc', 'bcd')) == ['b', 'c']",
        ],
    },
    {
        "code": "def upto(n):\n    return list(range(1, n + 1))",
        "test_list": ["assert list(upto(3)) == [1, 2, 3]", "assert len(upto(4)) == 4", "assert not upto(0)"],
    },
    {
        "code": "def without_type(xs, kind):\n    return [x for x in xs if not isinstance(x, kind)]",
        "test_list": [
            "assert without_type((4, 7.7, 1.2), int) == [7.7, 1.2]",
            "assert without_type((7, 'SR'), str) == [7]",
            "assert without_type([], float) == []",
        ],
    },
    {
        "code": "class Node:\n    def __init__(self, value):\n        self.value = value\n        self.left = None\n"
        "def depth(node):\n    if node is None:\n        return 0\n    return 1 + depth(node.left)",
        "test_list": ["assert depth(root) == 3", "assert depth(root.left) == 2", "assert depth(None) == 0"],
        "test_setup_code": "root = Node(1)\nroot.left = Node(2)\nroot.left.left = Node(3)",
    },
    {
        "code": "def apply_twice(f, x):\n    return f(f(x))",
        "test_list": [
            "assert apply_twice(lambda v: v + 3, 1) == 7",
            "assert apply_twice(str.upper, 'ab') == 'AB'",
            "assert math.isclose(apply_twice(math.sqrt, 16), 2)",
        ],
        "test_setup_code": "import math",
    },
]


def own_problems() -> dict[str, Problem]:
    """Return the problems by the name of the function to write, as they are read from a file in their format."""
    humaneval = [{"task_id": f"Own/{number}", **row} for number, row in enumerate(HUMANEVAL)]
    mbpp = [{"task_id": number, "text": "Write it.", **row} for number, row in enumerate(MBPP, start=11)]
    found = {}
    for source, rows in (("humaneval", humaneval), ("mbpp", mbpp)):
        for task in published.parse(source, json.dumps(rows).encode(), "test", Path("own.json")).tasks:
            problem = Problem.of(task)
            found[problem.entry] = problem
    return found
