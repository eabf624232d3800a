"""The server: every episode for itself, states to the bit, and nothing that a request can break."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from kintsugi.envs.web.sites.pages import Page, Routes
from kintsugi.envs.web.sites.server import Server, views_of
from kintsugi.envs.web.sites.tasks import make_tasks
from kintsugi.errors import InfraError, UsageError
from site_client import Visitor, task_of
from werkzeug.wrappers import Response

HOME = "The wiki is "


def test_episodes_do_not_see_each_other(visit):
    one, other = visit("shop_remove"), visit("shop_remove")
    before = other.get("/cart").body
    assert one.get("/cart").body == before
    one.post("/cart/1", action="remove")
    assert one.get("/cart").body != before
    assert other.get("/cart").body == before


def test_the_same_requests_give_the_same_bytes(visit):
    def told(visitor: Visitor) -> list[bytes]:
        answers = [visitor.get("/"), visitor.post("/cart", product=3, colour="?", quantity="x")]
        answers += [visitor.post("/cart/1", quantity=5), visitor.get("/orders"), visitor.get("/nowhere")]
        return [repr((a.status, a.headers, a.body)).encode() for a in answers]

    assert told(visit("shop_change")) == told(visit("shop_change"))


def test_states_are_kept_to_the_bit(visit, server):
    visitor = visit("shop_change")
    start = server.dump(visitor.visit)
    visitor.post("/cart/1", quantity=6)
    later, page = server.dump(visitor.visit), visitor.get("/cart").body
    assert later != start
    server.load(visitor.visit, start)
    assert server.dump(visitor.visit) == start
    server.load(visitor.visit, later)
    assert visitor.get("/cart").body == page
    # Also in another server, and so in another process.
    with_other = Server()
    try:
        elsewhere = Visitor(with_other, visitor.task)
        with_other.load(elsewhere.visit, later)
        assert elsewhere.get("/cart").body == page
    finally:
        with_other.close()


def test_bytes_that_are_no_state_change_nothing(visit, server):
    visitor = visit("shop_change")
    before = server.dump(visitor.visit)
    for wrong in (b"", b"x" * 5000, before[: len(before) // 2]):
        with pytest.raises(UsageError, match="are no state of a site"):
            server.load(visitor.visit, wrong)
    assert server.dump(visitor.visit) == before


def test_an_ended_episode_is_over(visit, server):
    visitor = visit("wiki_fact")
    server.end(visitor.visit)
    server.end(visitor.visit)
    assert visitor.get("/").status == 404
    for call in (server.dump, lambda v: server.check(v, None), lambda v: server.load(v, b"")):
        with pytest.raises(UsageError, match="has ended or is of another server"):
            call(visitor.visit)


def test_nobody_comes_in_without_the_cookie_or_by_another_name(visit, server):
    visitor = visit("wiki_fact")
    for headers in ({"Cookie": ""}, {"Cookie": "visit=1-0"}, {"Host": "paper-kite.test"}, {"Host": "127.0.0.1"}):
        assert visitor.ask("GET", "/", **headers).status == 404
    assert visitor.ask("GET", "/", Host=f"{visitor.visit.host}:80").status == 200


def test_many_at_once_are_served_as_one_after_the_other(server):
    tasks = [task for task in make_tasks("train", 29 * 4) if task.params["type"] == "shop_change"]

    def played(task) -> list[bytes]:
        visitor = Visitor(server, task)
        pages = [visitor.post("/cart/1", quantity=n).body for n in (1, 2, 3)]
        pages.append(server.dump(visitor.visit))
        server.end(visitor.visit)
        return pages

    serial = [played(task) for task in tasks] * 3
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(played, tasks * 3)) == serial


def test_requests_of_one_episode_at_once_are_all_carried_out(visit):
    visitor = visit("forum_best")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: visitor.post("/join", user=f"user{n}", password="long enough"), range(16)))
    assert {answer.status for answer in answers} == {200}
    assert len(visitor.server._state(visitor.visit).db.execute("SELECT * FROM account").fetchall()) == 26


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("GET", "/products/999999999999999999999999", {}, 404),
        ("GET", "/products/-1", {}, 404),
        ("GET", "/products?page=99999999999&category=x&sort=--&most=%00", {}, 200),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", {}, 404),
        ("GET", "/static/../server.py", {}, 404),
        ("GET", "/static/site.css", {}, 200),
        ("GET", "/%ff%fe", {}, 404),
        ("HEAD", "/", {}, 200),
        ("DELETE", "/cart", {}, 405),
        ("GET", "/orders/1001/cancel", {}, 405),
        ("POST", "/cart", {"Content_Type": "multipart/form-data; boundary=x"}, 404),
        ("POST", "/cart", {"Content_Type": "application/json"}, 404),
    ],
)
def test_odd_requests_get_an_answer(visit, caplog, method, path, headers, status):
    assert visit("shop_buy").ask(method, path, **headers).status == status
    assert not caplog.records


def test_a_form_too_large_is_refused(visit, caplog):
    visitor = visit("forum_best")
    assert visitor.post("/join", user="a" * 300_000, password="x").status == 413
    assert visitor.get("/").status == 200
    assert not caplog.records


def test_broken_http_hurts_nobody_else(visit, server):
    visitor = visit("wiki_fact")
    for said in (
        b"\x00\xff\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(said)
    assert visitor.get("/").status == 200


def test_one_connection_can_be_used_again(visit, server):
    visitor = visit("wiki_fact")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    bodies = []
    for _ in range(3):
        headers = {"Host": visitor.visit.host, "Cookie": "{}={}".format(*visitor.visit.cookie)}
        connection.request("GET", "/", headers=headers)
        bodies.append(connection.getresponse().read())
    connection.close()
    assert len(set(bodies)) == 1


class Broken:
    """A site of one page that fails after it has written, and one that waits."""

    def __init__(self) -> None:
        self.routes = Routes()
        self.go = threading.Event()
        self.routes.get("/fails")(self._fail)
        self.routes.get("/hangs")(self._hang)

    def _fail(self, page: Page) -> Response:
        page.run("DELETE FROM revision")
        raise ZeroDivisionError("on purpose")

    def _hang(self, page: Page) -> Response:
        self.go.wait(20)
        return page.go("/")


def test_a_view_that_fails_is_a_500_and_leaves_nothing_half_done(caplog):
    broken = Broken()
    server = Server(lambda site: broken.routes)
    try:
        visitor = Visitor(server, task_of("wiki_fact"))
        before = server.dump(visitor.visit)
        with caplog.at_level(logging.ERROR):
            answer = visitor.get("/fails")
        assert (answer.status, "Something went wrong on our side." in answer.text) == (500, True)
        assert "on purpose" not in answer.text
        assert "GET /fails of task" in caplog.text
        assert server.dump(visitor.visit) == before
        with pytest.raises(InfraError, match=r"failed at GET /fails \(ZeroDivisionError: on purpose\)"):
            server.check(visitor.visit, "an answer")
        # The next episode of the same task has nothing to do with it.
        assert server.check(Visitor(server, visitor.task).visit, None).score == 0.0
    finally:
        server.close()


def test_what_a_visitor_may_get_wrong_breaks_no_episode(visit, server):
    visitor = visit("shop_buy")
    assert [visitor.get("/nowhere").status, visitor.ask("DELETE", "/cart").status] == [404, 405]
    assert not server.check(visitor.visit, None).success


def test_an_episode_that_hangs_keeps_no_other_waiting():
    broken = Broken()
    server = Server(lambda site: broken.routes if site.kind == "wiki" else views_of(site))
    try:
        slow, quick = Visitor(server, task_of("wiki_fact")), Visitor(server, task_of("shop_buy"))
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(slow.get, "/hangs")
            assert quick.get("/").status == 200
            assert not waiting.done()
            broken.go.set()
            assert waiting.result(10).status == 303
    finally:
        broken.go.set()
        server.close()


def test_the_shared_server_is_one_and_closing_is_for_good():
    assert Server.shared() is Server.shared()
    server = Server()
    visitor = Visitor(server, task_of("wiki_fact"))
    server.close()
    server.close()
    with pytest.raises(OSError, match=r"."):
        visitor.get("/")
