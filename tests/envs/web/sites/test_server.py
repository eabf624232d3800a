"""Tests of the site server: isolated episodes, exact states, and robustness against invalid requests."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from kintsugi.envs.web.sites.pages import Page, Routes
from kintsugi.envs.web.sites.server import Server, load_routes
from kintsugi.envs.web.sites.tasks import make_tasks
from kintsugi.errors import InfraError, UsageError
from site_client import SiteClient, task_of
from werkzeug.wrappers import Response

HOME = "The wiki is "


def test_episodes_are_isolated(new_client):
    one, other = new_client("shop_remove"), new_client("shop_remove")
    before = other.get("/cart").body
    assert one.get("/cart").body == before
    one.post("/cart/1", action="remove")
    assert one.get("/cart").body != before
    assert other.get("/cart").body == before


def test_responses_are_deterministic(new_client):
    def responses_of(client: SiteClient) -> list[bytes]:
        answers = [client.get("/"), client.post("/cart", product=3, colour="?", quantity="x")]
        answers += [client.post("/cart/1", quantity=5), client.get("/orders"), client.get("/nowhere")]
        return [repr((a.status, a.headers, a.body)).encode() for a in answers]

    assert responses_of(new_client("shop_change")) == responses_of(new_client("shop_change"))


def test_states_are_restored_exactly(new_client, server):
    client = new_client("shop_change")
    start = server.dump(client.session)
    client.post("/cart/1", quantity=6)
    later, page = server.dump(client.session), client.get("/cart").body
    assert later != start
    server.load(client.session, start)
    assert server.dump(client.session) == start
    server.load(client.session, later)
    assert client.get("/cart").body == page
    # A state can be loaded into another server, so also into another process.
    other_server = Server()
    try:
        elsewhere = SiteClient(other_server, client.task)
        other_server.load(elsewhere.session, later)
        assert elsewhere.get("/cart").body == page
    finally:
        other_server.close()


def test_invalid_states_are_rejected_and_change_nothing(new_client, server):
    client = new_client("shop_change")
    before = server.dump(client.session)
    for wrong in (b"", b"x" * 5000, before[: len(before) // 2]):
        with pytest.raises(UsageError, match="are not the state of a site"):
            server.load(client.session, wrong)
    assert server.dump(client.session) == before


def test_ended_episode_is_rejected(new_client, server):
    client = new_client("wiki_fact")
    server.end_session(client.session)
    server.end_session(client.session)
    assert client.get("/").status == 404
    for call in (server.dump, lambda v: server.check(v, None), lambda v: server.load(v, b"")):
        with pytest.raises(UsageError, match="has ended or belongs to another server"):
            call(client.session)


def test_request_needs_the_cookie_and_the_host(new_client, server):
    client = new_client("wiki_fact")
    for headers in ({"Cookie": ""}, {"Cookie": "visit=1-0"}, {"Host": "paper-kite.test"}, {"Host": "127.0.0.1"}):
        assert client.request("GET", "/", **headers).status == 404
    assert client.request("GET", "/", Host=f"{client.session.host}:80").status == 200


def test_concurrent_episodes_give_the_same_results_as_serial_ones(server):
    tasks = [task for task in make_tasks("train", 29 * 4) if task.params["type"] == "shop_change"]

    def play(task) -> list[bytes]:
        client = SiteClient(server, task)
        pages = [client.post("/cart/1", quantity=n).body for n in (1, 2, 3)]
        pages.append(server.dump(client.session))
        server.end_session(client.session)
        return pages

    serial = [play(task) for task in tasks] * 3
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(play, tasks * 3)) == serial


def test_concurrent_requests_of_one_episode_all_succeed(new_client):
    client = new_client("forum_best")
    with ThreadPoolExecutor(8) as threads:
        responses = list(
            threads.map(lambda n: client.post("/join", user=f"user{n}", password="long enough"), range(16))
        )
    assert {response.status for response in responses} == {200}
    assert len(client.server._session_state(client.session).db.execute("SELECT * FROM account").fetchall()) == 26


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
def test_unusual_requests_get_a_response(new_client, caplog, method, path, headers, status):
    assert new_client("shop_buy").request(method, path, **headers).status == status
    assert not caplog.records


def test_oversized_form_is_rejected(new_client, caplog):
    client = new_client("forum_best")
    assert client.post("/join", user="a" * 300_000, password="x").status == 413
    assert client.get("/").status == 200
    assert not caplog.records


def test_invalid_http_does_not_affect_other_clients(new_client, server):
    client = new_client("wiki_fact")
    for request in (
        b"\x00\xff\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(request)
    assert client.get("/").status == 200


def test_connection_can_be_reused(new_client, server):
    client = new_client("wiki_fact")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    bodies = []
    for _ in range(3):
        headers = {"Host": client.session.host, "Cookie": "{}={}".format(*client.session.cookie)}
        connection.request("GET", "/", headers=headers)
        bodies.append(connection.getresponse().read())
    connection.close()
    assert len(set(bodies)) == 1


class FaultySite:
    """A site with a page that fails after a database write, and a page that waits for `continue_event`."""

    def __init__(self) -> None:
        self.routes = Routes()
        self.continue_event = threading.Event()
        self.routes.get("/fails")(self._fail)
        self.routes.get("/hangs")(self._hang)

    def _fail(self, page: Page) -> Response:
        page.execute("DELETE FROM revision")
        raise ZeroDivisionError("on purpose")

    def _hang(self, page: Page) -> Response:
        self.continue_event.wait(20)
        return page.redirect("/")


def test_failing_view_returns_500_and_rolls_back(caplog):
    faulty_site = FaultySite()
    server = Server(lambda site: faulty_site.routes)
    try:
        client = SiteClient(server, task_of("wiki_fact"))
        before = server.dump(client.session)
        with caplog.at_level(logging.ERROR):
            response = client.get("/fails")
        assert (response.status, "Something went wrong on our side." in response.text) == (500, True)
        assert "on purpose" not in response.text
        assert "GET /fails of task" in caplog.text
        assert server.dump(client.session) == before
        with pytest.raises(InfraError, match=r"failed at GET /fails \(ZeroDivisionError: on purpose\)"):
            server.check(client.session, "an answer")
        # The failure does not affect the next episode of the same task.
        assert server.check(SiteClient(server, client.task).session, None).score == 0.0
    finally:
        server.close()


def test_client_errors_do_not_break_the_episode(new_client, server):
    client = new_client("shop_buy")
    assert [client.get("/nowhere").status, client.request("DELETE", "/cart").status] == [404, 405]
    assert not server.check(client.session, None).success


def test_hanging_episode_does_not_block_others():
    faulty_site = FaultySite()
    server = Server(lambda site: faulty_site.routes if site.kind == "wiki" else load_routes(site))
    try:
        slow, quick = SiteClient(server, task_of("wiki_fact")), SiteClient(server, task_of("shop_buy"))
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(slow.get, "/hangs")
            assert quick.get("/").status == 200
            assert not waiting.done()
            faulty_site.continue_event.set()
            assert waiting.result(10).status == 303
    finally:
        faulty_site.continue_event.set()
        server.close()


def test_shared_server_is_unique_and_closing_is_final():
    assert Server.shared() is Server.shared()
    server = Server()
    client = SiteClient(server, task_of("wiki_fact"))
    server.close()
    server.close()
    with pytest.raises(OSError, match=r"."):
        client.get("/")
