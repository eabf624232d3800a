"""How each type of task on the embedded sites is done: scripts that are sent each page and yield the next step."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping

from .web_page import Line, Lost, Page
from .web_steps import Act, answer, choose, click, done, fill, follow, push, search, words

Script = Generator[Act, Page, None]
Args = Mapping[str, str]


# -- The shop -----------------------------------------------------------------------------------------------------


def _shop_buy(page: Page, args: Args) -> Script:
    page = yield search(page, args["product"])
    page = yield follow(page, [args["product"]])
    page = yield choose(page, words("shop", "colour"), args["colour"])
    page = yield fill(page, words("shop", "quantity"), args["quantity"])
    page = yield push(page, words("shop", "add"))
    page = yield follow(page, words("shop", "checkout"))
    for label, value in (("Full name", "name"), ("Street and number", "street"), ("City", "city")):
        page = yield fill(page, [label], args[value])
    if page.has("button", ["Continue"]):
        page = yield push(page, ["Continue"])
    page = yield click("choose", page.find("radio", [args["delivery"]]))
    page = yield push(page, words("shop", "place"))
    yield done()


def _shop_cheapest(page: Page, args: Args) -> Script:
    page = yield follow(page, [args["category"]])
    page = yield choose(page, ["Sort by"], "Price: low to high")
    page = yield push(page, words("shop", "apply"))
    page = yield click("open", _first_product(page))
    page = yield push(page, words("shop", "add"))
    yield done()


def _first_product(page: Page) -> Line:
    depths = [line.depth for line in page.lines if line.role == "listitem"]
    for before, line in zip(page.lines, page.lines[1:], strict=False):
        if before.role == "heading" and line.role == "link" and depths and line.depth > depths[0]:
            return line
    raise Lost("a list")


def _shop_count(page: Page, args: Args) -> Script:
    page = yield follow(page, [args["category"]])
    page = yield fill(page, ["Highest price"], args["most"])
    page = yield push(page, words("shop", "apply"))
    yield answer(*_counted(page, r"(\d+) products?"))


def _counted(page: Page, pattern: str) -> tuple[str, str]:
    for line in page.lines:
        match = re.fullmatch(pattern, line.name)
        if match:
            return line.name, match[1]
    raise Lost("how many there are")


def _shop_status(page: Page, args: Args) -> Script:
    page = yield follow(page, words("shop", "orders"))
    page = yield follow(page, [args["order"]])
    yield answer("Status", page.after("Status"))


def _shop_cancel(page: Page, args: Args) -> Script:
    page = yield follow(page, words("shop", "orders"))
    page = yield follow(page, [args["order"]])
    page = yield push(page, ["Cancel this order"])
    page = yield push(page, ["Yes"])
    yield done()


def _open_cart(page: Page) -> Act:
    names = words("shop", "cart")
    return follow(page, [line.name for line in page.lines if re.sub(r" \(\d+\)$", "", line.name) in names])


def _shop_change(page: Page, args: Args) -> Script:
    page = yield _open_cart(page)
    labels = [f"{word} of {args['product']}" for word in words("shop", "quantity")]
    page = yield fill(page, labels, args["quantity"])
    page = yield push(page, [f"Update {args['product']}"])
    yield done()


def _shop_remove(page: Page, args: Args) -> Script:
    page = yield _open_cart(page)
    page = yield push(page, [f"Remove {args['product']}"])
    yield done()


# -- The wiki -----------------------------------------------------------------------------------------------------


def _article(page: Page, title: str) -> Script:
    """Search, and open what was found where the wiki does not do that by itself."""
    page = yield search(page, title)
    if not any((line.role, line.name) == ("heading", title) for line in page.lines):
        yield follow(page, [title])


def _wiki_fact(page: Page, args: Args) -> Script:
    page = yield from _then(page, _article, args["title"])
    yield answer(args["fact"], page.fact(args["fact"]))


def _wiki_hop(page: Page, args: Args) -> Script:
    page = yield from _then(page, _article, args["title"])
    page = yield follow(page, [page.fact(args["link"])])
    yield answer(args["fact"], page.fact(args["fact"]))


def _wiki_edit(page: Page, args: Args) -> Script:
    page = yield from _then(page, _article, args["title"])
    page = yield follow(page, words("wiki", "edit"))
    page = yield fill(page, [args["fact"]], args["value"])
    page = yield push(page, words("wiki", "save"))
    yield done()


def _wiki_write(page: Page, args: Args) -> Script:
    page = yield follow(page, words("wiki", "new"))
    page = yield fill(page, ["Title"], args["title"])
    page = yield fill(page, ["Text"], args["text"])
    page = yield push(page, words("wiki", "save"))
    yield done()


def _wiki_author(page: Page, args: Args) -> Script:
    page = yield from _then(page, _article, args["title"])
    page = yield follow(page, words("wiki", "history"))
    yield answer("Person", page.cell(1, 1))


# -- The forum ----------------------------------------------------------------------------------------------------


def _sign_in(page: Page, args: Args) -> Script:
    page = yield follow(page, words("forum", "in"))
    page = yield fill(page, words("forum", "user"), args["user"])
    page = yield fill(page, ["Password"], args["password"])
    yield push(page, words("forum", "in"))


def _thread(page: Page, title: str) -> Script:
    page = yield search(page, title)
    yield follow(page, [title])


def _forum_reply(page: Page, args: Args) -> Script:
    page = yield from _then(page, _sign_in, args)
    page = yield from _then(page, _thread, args["thread"])
    page = yield fill(page, ["Your reply"], args["text"])
    page = yield push(page, words("forum", "reply"))
    yield done()


def _forum_start(page: Page, args: Args) -> Script:
    page = yield from _then(page, _sign_in, args)
    page = yield follow(page, [args["board"]])
    page = yield follow(page, words("forum", "new"))
    page = yield fill(page, ["Title"], args["title"])
    page = yield fill(page, ["Text"], args["text"])
    page = yield push(page, words("forum", "post"))
    yield done()


def _forum_like(page: Page, args: Args) -> Script:
    page = yield from _then(page, _sign_in, args)
    page = yield from _then(page, _thread, args["thread"])
    page = yield push(page, [f"{word} {args['author']}" for word in words("forum", "like")])
    yield done()


def _forum_best(page: Page, args: Args) -> Script:
    page = yield from _then(page, _thread, args["thread"])
    best, most, author = "", -1, ""
    for line in page.lines:
        if line.role == "article":
            author = line.name.removeprefix("Post of ")
        match = re.fullmatch(r"(?:.* )?(\d+) likes", line.name)
        if match and int(match[1]) > most:
            best, most = author, int(match[1])
    if not best:
        raise Lost("posts with likes")
    yield f"The most is '{most} likes', by '{best}'.", f"stop [{best}]"


def _forum_profile(page: Page, args: Args) -> Script:
    page = yield from _then(page, _sign_in, args)
    page = yield follow(page, words("forum", "profile"))
    page = yield fill(page, words("forum", "place"), args["place"])
    page = yield fill(page, ["About you"], args["about"])
    page = yield push(page, words("forum", "save"))
    yield done()


# -- The booking site -----------------------------------------------------------------------------------------------


def _city(page: Page, city: str) -> Script:
    page = yield choose(page, words("booking", "where"), city)
    yield push(page, words("booking", "find"))


def _booking_book(page: Page, args: Args) -> Script:
    page = yield from _then(page, _city, args["city"])
    page = yield follow(page, [args["place"]])
    page = yield follow(page, [f"{word}: {args['room']}" for word in words("booking", "book")])
    for key, value in (("from", "arrival"), ("to", "departure"), ("guests", "guests")):
        page = yield fill(page, words("booking", key), args[value])
    page = yield fill(page, ["Full name"], args["name"])
    page = yield push(page, words("booking", "confirm"))
    yield done()


def _booking_price(page: Page, args: Args) -> Script:
    page = yield from _then(page, _city, args["city"])
    page = yield follow(page, [args["place"]])
    yield answer(args["room"], page.fact(args["room"], 2).removeprefix("$"))


def _booking_cheapest(page: Page, args: Args) -> Script:
    page = yield from _then(page, _city, args["city"])
    page = yield choose(page, ["With"], args["extra"])
    page = yield choose(page, ["Sort by"], "Lowest price")
    page = yield push(page, ["Apply"])
    first = _first_product(page)
    yield f"The first is '{first.name}'.", f"stop [{first.name}]"


def _booking(page: Page, args: Args) -> Script:
    page = yield follow(page, words("booking", "mine"))
    page = yield fill(page, words("booking", "code"), args["code"])
    page = yield fill(page, ["Last name"], args["name"])
    yield push(page, ["Show"])


def _booking_cancel(page: Page, args: Args) -> Script:
    page = yield from _then(page, _booking, args)
    page = yield push(page, words("booking", "cancel"))
    page = yield push(page, ["Yes"])
    yield done()


def _booking_guests(page: Page, args: Args) -> Script:
    page = yield from _then(page, _booking, args)
    page = yield fill(page, words("booking", "guests"), args["guests"])
    page = yield push(page, words("booking", "change"))
    yield done()


# -- The console ----------------------------------------------------------------------------------------------------


def _person(page: Page, name: str) -> Script:
    page = yield follow(page, words("admin", "people"))
    yield follow(page, [name])


def _admin_role(page: Page, args: Args) -> Script:
    page = yield from _then(page, _person, args["person"])
    page = yield choose(page, words("admin", "role"), args["role"])
    page = yield push(page, words("admin", "save"))
    yield done()


def _admin_suspend(page: Page, args: Args) -> Script:
    page = yield from _then(page, _person, args["person"])
    page = yield push(page, words("admin", "suspend"))
    page = yield push(page, ["Yes"])
    yield done()


def _admin_add(page: Page, args: Args) -> Script:
    page = yield follow(page, words("admin", "people"))
    page = yield follow(page, words("admin", "add"))
    page = yield fill(page, ["Full name"], args["name"])
    page = yield fill(page, ["Address"], args["email"])
    page = yield choose(page, words("admin", "role"), args["role"])
    page = yield push(page, words("admin", "create"))
    yield done()


def _admin_assign(page: Page, args: Args) -> Script:
    page = yield follow(page, words("admin", "tickets"))
    page = yield follow(page, [args["ticket"]])
    page = yield choose(page, words("admin", "agent"), args["agent"])
    page = yield choose(page, ["Priority"], args["priority"])
    page = yield push(page, words("admin", "save"))
    yield done()


def _admin_count(page: Page, args: Args) -> Script:
    page = yield follow(page, words("admin", "tickets"))
    page = yield choose(page, words("admin", "agent"), args["agent"])
    page = yield choose(page, ["Status"], args["status"])
    page = yield push(page, words("admin", "apply"))
    yield answer(*_counted(page, r"(\d+) found"))


def _admin_setting(page: Page, args: Args) -> Script:
    page = yield follow(page, words("admin", "settings"))
    page = yield fill(page, [args["setting"]], args["value"])
    page = yield push(page, words("admin", "save"))
    yield done()


def _admin_switch(page: Page, args: Args) -> Script:
    page = yield follow(page, words("admin", "settings"))
    page = yield click("switch", page.find("checkbox", [args["setting"]]))
    page = yield push(page, words("admin", "save"))
    yield done()


def _then(page: Page, script: Callable[..., Script], *args: object) -> Generator[Act, Page, Page]:
    """Go through another script; returns the page that its last step leads to."""
    running = script(page, *args)
    step = next(running)
    while True:
        page = yield step
        try:
            step = running.send(page)
        except StopIteration:
            return page


SCRIPTS: Mapping[str, Callable[[Page, Args], Script]] = {
    script.__name__.lstrip("_"): script
    for script in (
        _shop_buy, _shop_cheapest, _shop_count, _shop_status, _shop_cancel, _shop_change, _shop_remove,
        _wiki_fact, _wiki_hop, _wiki_edit, _wiki_write, _wiki_author,
        _forum_reply, _forum_start, _forum_like, _forum_best, _forum_profile,
        _booking_book, _booking_price, _booking_cheapest, _booking_cancel, _booking_guests,
        _admin_role, _admin_suspend, _admin_add, _admin_assign, _admin_count, _admin_setting, _admin_switch,
    )
}  # fmt: skip
"""By the name of the task type."""
