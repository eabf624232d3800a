"""Scripts for the task types of the embedded sites: generators that receive each page and yield the next turn."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping

from .web_page import Line, Page, PageMismatch
from .web_steps import Turn, answer, choose, click, done, fill, follow, labels, press, search

Script = Generator[Turn, Page, None]
Args = Mapping[str, str]


# -- Shops --------------------------------------------------------------------------------------------------------


def _shop_buy(page: Page, args: Args) -> Script:
    page = yield search(page, args["product"])
    page = yield follow(page, [args["product"]])
    page = yield choose(page, labels("shop", "colour"), args["colour"])
    page = yield fill(page, labels("shop", "quantity"), args["quantity"])
    page = yield press(page, labels("shop", "add"))
    page = yield follow(page, labels("shop", "checkout"))
    for label, value in (("Full name", "name"), ("Street and number", "street"), ("City", "city")):
        page = yield fill(page, [label], args[value])
    if page.has("button", ["Continue"]):
        page = yield press(page, ["Continue"])
    page = yield click("choose", page.find("radio", [args["delivery"]]))
    page = yield press(page, labels("shop", "place"))
    yield done()


def _shop_cheapest(page: Page, args: Args) -> Script:
    page = yield follow(page, [args["category"]])
    page = yield choose(page, ["Sort by"], "Price: low to high")
    page = yield press(page, labels("shop", "apply"))
    page = yield click("open", _first_result(page))
    page = yield press(page, labels("shop", "add"))
    yield done()


def _first_result(page: Page) -> Line:
    depths = [line.depth for line in page.lines if line.role == "listitem"]
    for before, line in zip(page.lines, page.lines[1:], strict=False):
        if before.role == "heading" and line.role == "link" and depths and line.depth > depths[0]:
            return line
    raise PageMismatch("a list with links under headings")


def _shop_count(page: Page, args: Args) -> Script:
    page = yield follow(page, [args["category"]])
    page = yield fill(page, ["Highest price"], args["most"])
    page = yield press(page, labels("shop", "apply"))
    yield answer(*_read_count(page, r"(\d+) products?"))


def _read_count(page: Page, pattern: str) -> tuple[str, str]:
    for line in page.lines:
        match = re.fullmatch(pattern, line.name)
        if match:
            return line.name, match[1]
    raise PageMismatch(f"a text that matches {pattern}")


def _shop_status(page: Page, args: Args) -> Script:
    page = yield follow(page, labels("shop", "orders"))
    page = yield follow(page, [args["order"]])
    yield answer("Status", page.text_after("Status"))


def _shop_cancel(page: Page, args: Args) -> Script:
    page = yield follow(page, labels("shop", "orders"))
    page = yield follow(page, [args["order"]])
    page = yield press(page, ["Cancel this order"])
    page = yield press(page, ["Yes"])
    yield done()


def _open_cart(page: Page) -> Turn:
    names = labels("shop", "cart")
    return follow(page, [line.name for line in page.lines if re.sub(r" \(\d+\)$", "", line.name) in names])


def _shop_change(page: Page, args: Args) -> Script:
    page = yield _open_cart(page)
    names = [f"{label} of {args['product']}" for label in labels("shop", "quantity")]
    page = yield fill(page, names, args["quantity"])
    page = yield press(page, [f"Update {args['product']}"])
    yield done()


def _shop_remove(page: Page, args: Args) -> Script:
    page = yield _open_cart(page)
    page = yield press(page, [f"Remove {args['product']}"])
    yield done()


# -- Wikis --------------------------------------------------------------------------------------------------------


def _open_article(page: Page, title: str) -> Script:
    """Search for an article, and open it from the results unless the wiki opens it directly."""
    page = yield search(page, title)
    if not any((line.role, line.name) == ("heading", title) for line in page.lines):
        yield follow(page, [title])


def _wiki_fact(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _open_article, args["title"])
    yield answer(args["fact"], page.row_value(args["fact"]))


def _wiki_hop(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _open_article, args["title"])
    page = yield follow(page, [page.row_value(args["link"])])
    yield answer(args["fact"], page.row_value(args["fact"]))


def _wiki_edit(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _open_article, args["title"])
    page = yield follow(page, labels("wiki", "edit"))
    page = yield fill(page, [args["fact"]], args["value"])
    page = yield press(page, labels("wiki", "save"))
    yield done()


def _wiki_write(page: Page, args: Args) -> Script:
    page = yield follow(page, labels("wiki", "new"))
    page = yield fill(page, ["Title"], args["title"])
    page = yield fill(page, ["Text"], args["text"])
    page = yield press(page, labels("wiki", "save"))
    yield done()


def _wiki_author(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _open_article, args["title"])
    page = yield follow(page, labels("wiki", "history"))
    yield answer("Person", page.cell(1, 1))


# -- Forums -------------------------------------------------------------------------------------------------------


def _sign_in(page: Page, args: Args) -> Script:
    page = yield follow(page, labels("forum", "in"))
    page = yield fill(page, labels("forum", "user"), args["user"])
    page = yield fill(page, ["Password"], args["password"])
    yield press(page, labels("forum", "in"))


def _open_thread(page: Page, title: str) -> Script:
    page = yield search(page, title)
    yield follow(page, [title])


def _forum_reply(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _sign_in, args)
    page = yield from _run_script(page, _open_thread, args["thread"])
    page = yield fill(page, ["Your reply"], args["text"])
    page = yield press(page, labels("forum", "reply"))
    yield done()


def _forum_start(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _sign_in, args)
    page = yield follow(page, [args["board"]])
    page = yield follow(page, labels("forum", "new"))
    page = yield fill(page, ["Title"], args["title"])
    page = yield fill(page, ["Text"], args["text"])
    page = yield press(page, labels("forum", "post"))
    yield done()


def _forum_like(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _sign_in, args)
    page = yield from _run_script(page, _open_thread, args["thread"])
    page = yield press(page, [f"{word} {args['author']}" for word in labels("forum", "like")])
    yield done()


def _forum_best(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _open_thread, args["thread"])
    best, most, author = "", -1, ""
    for line in page.lines:
        if line.role == "article":
            author = line.name.removeprefix("Post of ")
        match = re.fullmatch(r"(?:.* )?(\d+) likes", line.name)
        if match and int(match[1]) > most:
            best, most = author, int(match[1])
    if not best:
        raise PageMismatch("posts with likes")
    yield f"The most is '{most} likes', by '{best}'.", f"stop [{best}]"


def _forum_profile(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _sign_in, args)
    page = yield follow(page, labels("forum", "profile"))
    page = yield fill(page, labels("forum", "place"), args["place"])
    page = yield fill(page, ["About you"], args["about"])
    page = yield press(page, labels("forum", "save"))
    yield done()


# -- Booking sites --------------------------------------------------------------------------------------------------


def _search_city(page: Page, city: str) -> Script:
    page = yield choose(page, labels("booking", "where"), city)
    yield press(page, labels("booking", "find"))


def _booking_book(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _search_city, args["city"])
    page = yield follow(page, [args["place"]])
    page = yield follow(page, [f"{word}: {args['room']}" for word in labels("booking", "book")])
    for key, value in (("from", "arrival"), ("to", "departure"), ("guests", "guests")):
        page = yield fill(page, labels("booking", key), args[value])
    page = yield fill(page, ["Full name"], args["name"])
    page = yield press(page, labels("booking", "confirm"))
    yield done()


def _booking_price(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _search_city, args["city"])
    page = yield follow(page, [args["place"]])
    yield answer(args["room"], page.row_value(args["room"], 2).removeprefix("$"))


def _booking_cheapest(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _search_city, args["city"])
    page = yield choose(page, ["With"], args["extra"])
    page = yield choose(page, ["Sort by"], "Lowest price")
    page = yield press(page, ["Apply"])
    first = _first_result(page)
    yield f"The first is '{first.name}'.", f"stop [{first.name}]"


def _open_booking(page: Page, args: Args) -> Script:
    page = yield follow(page, labels("booking", "mine"))
    page = yield fill(page, labels("booking", "code"), args["code"])
    page = yield fill(page, ["Last name"], args["name"])
    yield press(page, ["Show"])


def _booking_cancel(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _open_booking, args)
    page = yield press(page, labels("booking", "cancel"))
    page = yield press(page, ["Yes"])
    yield done()


def _booking_guests(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _open_booking, args)
    page = yield fill(page, labels("booking", "guests"), args["guests"])
    page = yield press(page, labels("booking", "change"))
    yield done()


# -- Admin consoles --------------------------------------------------------------------------------------------------


def _open_person(page: Page, name: str) -> Script:
    page = yield follow(page, labels("admin", "people"))
    yield follow(page, [name])


def _admin_role(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _open_person, args["person"])
    page = yield choose(page, labels("admin", "role"), args["role"])
    page = yield press(page, labels("admin", "save"))
    yield done()


def _admin_suspend(page: Page, args: Args) -> Script:
    page = yield from _run_script(page, _open_person, args["person"])
    page = yield press(page, labels("admin", "suspend"))
    page = yield press(page, ["Yes"])
    yield done()


def _admin_add(page: Page, args: Args) -> Script:
    page = yield follow(page, labels("admin", "people"))
    page = yield follow(page, labels("admin", "add"))
    page = yield fill(page, ["Full name"], args["name"])
    page = yield fill(page, ["Address"], args["email"])
    page = yield choose(page, labels("admin", "role"), args["role"])
    page = yield press(page, labels("admin", "create"))
    yield done()


def _admin_assign(page: Page, args: Args) -> Script:
    page = yield follow(page, labels("admin", "tickets"))
    page = yield follow(page, [args["ticket"]])
    page = yield choose(page, labels("admin", "agent"), args["agent"])
    page = yield choose(page, ["Priority"], args["priority"])
    page = yield press(page, labels("admin", "save"))
    yield done()


def _admin_count(page: Page, args: Args) -> Script:
    page = yield follow(page, labels("admin", "tickets"))
    page = yield choose(page, labels("admin", "agent"), args["agent"])
    page = yield choose(page, ["Status"], args["status"])
    page = yield press(page, labels("admin", "apply"))
    yield answer(*_read_count(page, r"(\d+) found"))


def _admin_setting(page: Page, args: Args) -> Script:
    page = yield follow(page, labels("admin", "settings"))
    page = yield fill(page, [args["setting"]], args["value"])
    page = yield press(page, labels("admin", "save"))
    yield done()


def _admin_switch(page: Page, args: Args) -> Script:
    page = yield follow(page, labels("admin", "settings"))
    page = yield click("switch", page.find("checkbox", [args["setting"]]))
    page = yield press(page, labels("admin", "save"))
    yield done()


def _run_script(page: Page, script: Callable[..., Script], *args: object) -> Generator[Turn, Page, Page]:
    """Run another script; return the page after its last turn."""
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
"""Scripts by the name of the task type."""
