"""What an agent says, as orders."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from ...errors import unknown
from .account import Account
from .rules import Order

SLACK = 0.05
"""An order may exceed the buying power at the last close by this share of equity (it is cut when it is filled); beyond,
it is refused."""
STEPS = (0.25, 0.5, 1.0)
"""Sizes of the orders that are listed; any other number may be said."""
VERBS = ("hold", "buy", "sell", "close", "target", "protect")
GRAMMAR = (
    "hold; buy 0.5 (of equity), buy 50%, buy 10 shares, buy all; sell 0.5, sell all; close; target 0.5 (a weight, "
    "below 0 for short); each with the symbol where there are several, and with stop 3% take 6% (from the entry) or "
    "stop 95 take 120 (prices); protect stop 3%; several with ';' between"
)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?%?", re.ASCII)


class Refused(Exception):
    """The action cannot be carried out, and why."""


def parse(action: str, account: Account, symbols: Sequence[str]) -> list[Order]:
    """The orders of an action; empty for `hold`.

    Clauses stand between semicolons or on lines; case does not matter. Words of a clause, after the verb, in any order:
    a size, a symbol (not needed where there is one asset), `stop` and `take` with a distance in percent or a price.
    `target A 0.5 B -0.2` sets several weights. Raises `Refused` for what is no such action, for two orders of one
    asset, and for an order larger than the account (`SLACK`).
    """
    clauses = [clause.split() for clause in re.split(r"[;\n]", action) if clause.strip()]
    if not clauses:
        raise Refused(f"there is no action; say one of: {', '.join(VERBS)}")
    orders = [order for words in clauses for order in _clause(words, account, symbols)]
    assets = [order.asset for order in orders]
    for asset in assets:
        if assets.count(asset) > 1:
            raise Refused(f"there are two orders for {symbols[asset]}; give one for each asset")
    _require_power(orders, account, symbols)
    return orders


def admissible(account: Account, symbols: Sequence[str]) -> tuple[str, ...]:
    """Actions that will not be refused: of each asset the sizes in `STEPS`, closing, and target weights."""
    listed = ["hold"]
    weights = weights_of(account)
    room = account.rules.leverage - sum(map(abs, weights)) + SLACK
    for asset, symbol in enumerate(symbols):
        name = f" {symbol}" if len(symbols) > 1 else ""
        weight, units = weights[asset], account.units[asset]
        short = account.rules.short
        # What reduces a position frees as much as it takes on the other side.
        listed += [f"buy {size:g}{name}" for size in STEPS if size <= room + max(-2 * weight, 0.0)]
        listed += [
            f"sell {size:g}{name}"
            for size in STEPS
            if size <= room + max(2 * weight, 0.0) and (short or size <= weight + SLACK)
        ]
        listed += [f"sell all{name}"] * (units > 0) + [f"close{name}"] * (units < 0)
        targets = [*(-size for size in reversed(STEPS) if short), 0.0, *STEPS]
        others = sum(map(abs, weights)) - abs(weight)
        listed += [f"target {size:g}{name}" for size in targets if abs(size) + others <= account.rules.leverage + SLACK]
    return tuple(listed)


def weights_of(account: Account) -> tuple[float, ...]:
    """Each position's value at the last close as a share of equity; zeros when there is no equity."""
    equity = account.equity
    if equity <= 0:
        return (0.0,) * len(account.units)
    return tuple(units * mark / equity for units, mark in zip(account.units, account.marks, strict=True))


def _clause(words: list[str], account: Account, symbols: Sequence[str]) -> Iterator[Order]:
    verb, rest = words[0].lower().rstrip(":"), words[1:]
    if verb not in VERBS:
        raise Refused(str(unknown("action", words[0][:40], VERBS)))
    rest, guards = _guards(rest)
    if verb == "hold":
        if rest or guards:
            raise Refused(f"'hold' takes nothing after it, found {' '.join(rest)[:40] or 'stop or take'!r}")
        return
    assets, sizes = _sorted(rest, symbols)
    if verb == "target" and len(assets) > 1:
        if len(sizes) != len(assets):
            raise Refused(f"'target' names {len(assets)} assets and {len(sizes)} weights; give one for each")
        yield from (_order(verb, [a], [s], account, symbols, guards)[0] for a, s in zip(assets, sizes, strict=True))
        return
    yield from _order(verb, assets, sizes, account, symbols, guards)


def _order(
    verb: str, assets: list[int], sizes: list[str], account: Account, symbols: Sequence[str], guards: dict[str, object]
) -> list[Order]:
    everything = verb == "close" or (verb == "sell" and sizes == ["all"])
    if everything:
        if verb == "close" and sizes not in ([], ["all"]):
            raise Refused(f"'close' takes no size, found {sizes[0]!r}; 'sell {sizes[0]}' sells a part")
        named = assets or list(range(len(symbols)))
        held = [a for a in named if account.units[a] > 0 or (verb == "close" and account.units[a])]
        if not held:
            what = "position" if verb == "close" else "long position"
            raise Refused(f"there is no {what} {'in ' + symbols[assets[0]] if assets else ''}".rstrip() + " to close")
        return [Order(asset, 0.0) for asset in held]
    asset = _one(assets, symbols)
    if verb == "protect":
        if sizes or not guards:
            raise Refused("'protect' takes a stop, a take, or both, and no size: protect stop 3% take 6%")
        if not account.units[asset]:
            raise Refused(f"there is no position in {symbols[asset]} to protect")
        return [Order(asset, 0.0, "by_units", **guards)]  # type: ignore[arg-type]
    if len(sizes) != 1:
        raise Refused(f"'{verb}' takes one size, found {' '.join(sizes)[:40] or 'none'}; e.g. {verb} 0.5")
    if verb == "target":
        return [Order(asset, _number(sizes[0], signed=True), "to_weight", **guards)]  # type: ignore[arg-type]
    side = 1.0 if verb == "buy" else -1.0
    if sizes[0] == "all":
        power = account.rules.leverage - sum(map(abs, weights_of(account)))
        if power <= 0:
            raise Refused("there is no buying power left")
        return [Order(asset, power, "by_weight", **guards)]  # type: ignore[arg-type]
    shares = sizes[0].endswith("shares")
    size = _number(sizes[0].removesuffix("shares"))
    return [Order(asset, side * size, "by_units" if shares else "by_weight", **guards)]  # type: ignore[arg-type]


def _sorted(words: list[str], symbols: Sequence[str]) -> tuple[list[int], list[str]]:
    """Assets and sizes among the words of a clause; `10 shares` is one size."""
    assets: list[int] = []
    sizes: list[str] = []
    upper = [symbol.upper() for symbol in symbols]
    for word in words:
        plain = word.strip(",").lower()
        if word in symbols:
            assets.append(symbols.index(word))
        elif plain != "all" and plain.upper() in upper:
            assets.append(upper.index(plain.upper()))
        elif plain in ("share", "shares") and sizes and not sizes[-1].endswith(("shares", "all")):
            sizes[-1] += "shares"
        elif plain == "all" or _NUMBER.fullmatch(plain):
            sizes.append(plain)
        else:
            raise Refused(str(unknown("symbol or size", word[:40], symbols)))
    return assets, sizes


def _guards(words: list[str]) -> tuple[list[str], dict[str, object]]:
    """The words without `stop X` and `take X`, and these as fields of an order."""
    rest: list[str] = []
    found: dict[str, tuple[float, bool]] = {}
    at = 0
    while at < len(words):
        name = words[at].lower()
        if name not in ("stop", "take"):
            rest.append(words[at])
            at += 1
            continue
        value = words[at + 1].strip(",") if at + 1 < len(words) else ""
        if name in found:
            raise Refused(f"there are two {name}s; give one")
        found[name] = (_number(value, what=name), value.endswith("%"))
        at += 2
    if len({relative for _, relative in found.values()}) > 1:
        raise Refused("stop and take must both be percentages or both be prices")
    guards: dict[str, object] = {name: value for name, (value, _) in found.items()}
    if found:
        guards["relative"] = any(relative for _, relative in found.values())
    return rest, guards


def _number(text: str, *, signed: bool = False, what: str = "size") -> float:
    if not _NUMBER.fullmatch(text):
        raise Refused(f"the {what} is {text[:40]!r}; expected a number like 0.5 or 50%")
    value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    if not math.isfinite(value) or (value <= 0 and not signed):
        raise Refused(f"the {what} is {text[:40]}; expected more than 0")
    return value


def _one(assets: list[int], symbols: Sequence[str]) -> int:
    if len(assets) > 1 or (not assets and len(symbols) > 1):
        found = ", ".join(symbols[asset] for asset in assets) or "none"
        raise Refused(f"found {found} as the asset; name one of {', '.join(symbols)}")
    return assets[0] if assets else 0


def _require_power(orders: list[Order], account: Account, symbols: Sequence[str]) -> None:
    """Refuse what is larger than the account at the last close."""
    weights = list(weights_of(account))
    before = sum(map(abs, weights))
    for order in orders:
        weight = weights[order.asset]
        if order.kind == "by_units":
            change = order.size * account.marks[order.asset] / account.equity
        else:
            change = order.size - (weight if order.kind == "to_weight" else 0.0)
        after = weights[order.asset] = weight + change
        if after < -SLACK and not account.rules.short:
            raise Refused(
                f"selling {-change:.4g} of equity of {symbols[order.asset]} with {weight:.4g} held would be a short "
                "position, which is not allowed; 'sell all' sells what there is"
            )
    gross = sum(map(abs, weights))
    if gross > account.rules.leverage + SLACK and gross > before:
        raise Refused(
            f"the order is larger than the account: it would make positions worth {gross:.4g} of equity, where "
            f"{account.rules.leverage:g} is allowed and {before:.4g} is held"
        )
