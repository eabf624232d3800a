"""Parsing of text actions into orders, and the list of admissible actions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from ...errors import unknown
from .account import Account
from .rules import Order

SLACK = 0.05
"""Tolerance of the buying-power check at the last close, as a share of equity. A larger excess is refused; a smaller
one is cut when the order is filled."""
LISTED_SIZES = (0.25, 0.5, 1.0)
"""Order sizes in the list of admissible actions. Other sizes are accepted as well."""
VERBS = ("hold", "buy", "sell", "close", "target", "protect")
GRAMMAR = (
    "hold; buy 0.5 (of equity), buy 50%, buy 10 shares, buy all; sell 0.5, sell all; close; target 0.5 (a weight, "
    "below 0 for short); each with the symbol where there are several, and with stop 3% take 6% (from the entry) or "
    "stop 95 take 120 (prices); protect stop 3%; several with ';' between"
)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?%?", re.ASCII)


class ActionRefused(Exception):
    """The action cannot be carried out. The message gives the reason."""


def parse_orders(action: str, account: Account, symbols: Sequence[str]) -> list[Order]:
    """Parse an action into orders.

    Semicolons or line breaks separate clauses. Case is ignored. A clause is a verb, followed in any order by a size, a
    symbol (optional if there is one asset), and `stop` and `take`, each with a distance in percent or a price.
    `target A 0.5 B -0.2` sets several weights.

    Args:
        action: The action text.
        account: The account, for the checks of positions and buying power.
        symbols: The symbols of the market's assets, in order.

    Returns:
        The orders, at most one for each asset; empty for `hold`.

    Raises:
        ActionRefused: If the text is not an action, names an asset twice, or exceeds the buying power (see `SLACK`).
    """
    clauses = [clause.split() for clause in re.split(r"[;\n]", action) if clause.strip()]
    if not clauses:
        raise ActionRefused(f"there is no action; say one of: {', '.join(VERBS)}")
    orders = [order for words in clauses for order in _parse_clause(words, account, symbols)]
    assets = [order.asset for order in orders]
    for asset in assets:
        if assets.count(asset) > 1:
            raise ActionRefused(f"there are two orders for {symbols[asset]}; give one for each asset")
    _require_buying_power(orders, account, symbols)
    return orders


def admissible_actions(account: Account, symbols: Sequence[str]) -> tuple[str, ...]:
    """Return admissible actions: for each asset, orders of `LISTED_SIZES`, closing, and target weights."""
    listed = ["hold"]
    weights = weights_of(account)
    room = account.rules.leverage - sum(map(abs, weights)) + SLACK
    for asset, symbol in enumerate(symbols):
        name = f" {symbol}" if len(symbols) > 1 else ""
        weight, units = weights[asset], account.units[asset]
        short = account.rules.short
        # An order that flips a position first frees the buying power that the old position used.
        listed += [f"buy {size:g}{name}" for size in LISTED_SIZES if size <= room + max(-2 * weight, 0.0)]
        listed += [
            f"sell {size:g}{name}"
            for size in LISTED_SIZES
            if size <= room + max(2 * weight, 0.0) and (short or size <= weight + SLACK)
        ]
        listed += [f"sell all{name}"] * (units > 0) + [f"close{name}"] * (units < 0)
        targets = [*(-size for size in reversed(LISTED_SIZES) if short), 0.0, *LISTED_SIZES]
        others = sum(map(abs, weights)) - abs(weight)
        listed += [f"target {size:g}{name}" for size in targets if abs(size) + others <= account.rules.leverage + SLACK]
    return tuple(listed)


def weights_of(account: Account) -> tuple[float, ...]:
    """Return the value of each position at the last close as a share of equity; zeros if equity is not above 0."""
    equity = account.equity
    if equity <= 0:
        return (0.0,) * len(account.units)
    return tuple(units * mark / equity for units, mark in zip(account.units, account.marks, strict=True))


def _parse_clause(words: list[str], account: Account, symbols: Sequence[str]) -> Iterator[Order]:
    verb, rest = words[0].lower().rstrip(":"), words[1:]
    if verb not in VERBS:
        raise ActionRefused(str(unknown("action", words[0][:40], VERBS)))
    rest, protection = _extract_protection(rest)
    if verb == "hold":
        if rest or protection:
            raise ActionRefused(f"'hold' takes nothing after it, found {' '.join(rest)[:40] or 'stop or take'!r}")
        return
    assets, sizes = _split_assets_and_sizes(rest, symbols)
    if verb == "target" and len(assets) > 1:
        if len(sizes) != len(assets):
            raise ActionRefused(f"'target' names {len(assets)} assets and {len(sizes)} weights; give one for each")
        yield from (
            _clause_orders(verb, [a], [s], account, symbols, protection)[0] for a, s in zip(assets, sizes, strict=True)
        )
        return
    yield from _clause_orders(verb, assets, sizes, account, symbols, protection)


def _clause_orders(
    verb: str,
    assets: list[int],
    sizes: list[str],
    account: Account,
    symbols: Sequence[str],
    protection: dict[str, object],
) -> list[Order]:
    closes_position = verb == "close" or (verb == "sell" and sizes == ["all"])
    if closes_position:
        if verb == "close" and sizes not in ([], ["all"]):
            raise ActionRefused(f"'close' takes no size, found {sizes[0]!r}; 'sell {sizes[0]}' sells a part")
        named = assets or list(range(len(symbols)))
        held = [a for a in named if account.units[a] > 0 or (verb == "close" and account.units[a])]
        if not held:
            label = "position" if verb == "close" else "long position"
            raise ActionRefused(
                f"there is no {label} {'in ' + symbols[assets[0]] if assets else ''}".rstrip() + " to close"
            )
        return [Order(asset, 0.0) for asset in held]
    asset = _single_asset(assets, symbols)
    if verb == "protect":
        if sizes or not protection:
            raise ActionRefused("'protect' takes a stop, a take, or both, and no size: protect stop 3% take 6%")
        if not account.units[asset]:
            raise ActionRefused(f"there is no position in {symbols[asset]} to protect")
        return [Order(asset, 0.0, "by_units", **protection)]  # type: ignore[arg-type]
    if len(sizes) != 1:
        raise ActionRefused(f"'{verb}' takes one size, found {' '.join(sizes)[:40] or 'none'}; e.g. {verb} 0.5")
    if verb == "target":
        return [Order(asset, _parse_number(sizes[0], signed=True), "to_weight", **protection)]  # type: ignore[arg-type]
    side = 1.0 if verb == "buy" else -1.0
    if sizes[0] == "all":
        buying_power = account.rules.leverage - sum(map(abs, weights_of(account)))
        if buying_power <= 0:
            raise ActionRefused("there is no buying power left")
        return [Order(asset, buying_power, "by_weight", **protection)]  # type: ignore[arg-type]
    shares = sizes[0].endswith("shares")
    size = _parse_number(sizes[0].removesuffix("shares"))
    return [Order(asset, side * size, "by_units" if shares else "by_weight", **protection)]  # type: ignore[arg-type]


def _split_assets_and_sizes(words: list[str], symbols: Sequence[str]) -> tuple[list[int], list[str]]:
    """Split the words of a clause into asset indices and sizes. `10 shares` is one size."""
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
            raise ActionRefused(str(unknown("symbol or size", word[:40], symbols)))
    return assets, sizes


def _extract_protection(words: list[str]) -> tuple[list[str], dict[str, object]]:
    """Return the words without `stop X` and `take X`, and those two as fields of `Order`."""
    rest: list[str] = []
    found: dict[str, tuple[float, bool]] = {}
    index = 0
    while index < len(words):
        name = words[index].lower()
        if name not in ("stop", "take"):
            rest.append(words[index])
            index += 1
            continue
        value = words[index + 1].strip(",") if index + 1 < len(words) else ""
        if name in found:
            raise ActionRefused(f"there are two {name}s; give one")
        found[name] = (_parse_number(value, label=name), value.endswith("%"))
        index += 2
    if len({relative for _, relative in found.values()}) > 1:
        raise ActionRefused("stop and take must both be percentages or both be prices")
    protection: dict[str, object] = {name: value for name, (value, _) in found.items()}
    if found:
        protection["relative"] = any(relative for _, relative in found.values())
    return rest, protection


def _parse_number(text: str, *, signed: bool = False, label: str = "size") -> float:
    if not _NUMBER.fullmatch(text):
        raise ActionRefused(f"the {label} is {text[:40]!r}; expected a number like 0.5 or 50%")
    value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    if not math.isfinite(value) or (value <= 0 and not signed):
        raise ActionRefused(f"the {label} is {text[:40]}; expected more than 0")
    return value


def _single_asset(assets: list[int], symbols: Sequence[str]) -> int:
    if len(assets) > 1 or (not assets and len(symbols) > 1):
        found = ", ".join(symbols[asset] for asset in assets) or "none"
        raise ActionRefused(f"found {found} as the asset; name one of {', '.join(symbols)}")
    return assets[0] if assets else 0


def _require_buying_power(orders: list[Order], account: Account, symbols: Sequence[str]) -> None:
    """Refuse orders that exceed the buying power at the last close."""
    weights = list(weights_of(account))
    gross_before = sum(map(abs, weights))
    for order in orders:
        weight = weights[order.asset]
        if order.kind == "by_units":
            change = order.size * account.marks[order.asset] / account.equity
        else:
            change = order.size - (weight if order.kind == "to_weight" else 0.0)
        after = weights[order.asset] = weight + change
        if after < -SLACK and not account.rules.short:
            raise ActionRefused(
                f"selling {-change:.4g} of equity of {symbols[order.asset]} with {weight:.4g} held would be a short "
                "position, which is not allowed; 'sell all' sells what there is"
            )
    gross = sum(map(abs, weights))
    if gross > account.rules.leverage + SLACK and gross > gross_before:
        raise ActionRefused(
            f"the order is larger than the account: it would make positions worth {gross:.4g} of equity, where "
            f"{account.rules.leverage:g} is allowed and {gross_before:.4g} is held"
        )
