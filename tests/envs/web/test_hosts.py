"""The allow-list: what is named is let through, and nothing else, however an address is written."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs.web.hosts import LOOPBACK, Hosts, Wall, address
from kintsugi.errors import UsageError

LABEL = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
NAME = st.lists(LABEL, min_size=2, max_size=4).map(".".join)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:8000/x", True),
        ("http://LOCALHOST/", True),
        ("ws://[::1]:9/", True),
        ("about:blank", True),
        ("data:text/html,x", True),
        ("http://127.0.0.1.example.org/", False),
        ("http://localhost@example.org/", False),
        ("http://example.org/?u=localhost", False),
        ("ftp://localhost/", False),
        ("javascript:alert(1)", False),
        ("file:///etc/passwd", False),
        ("chrome://settings", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_by_default_this_machine_alone(url: str, allowed: bool):
    assert Hosts().allows(url) is allowed


@given(NAME, LABEL)
def test_a_name_is_itself_and_a_star_is_all_below(name: str, label: str):
    exact, below = Hosts((name,)), Hosts((f"*.{name}",))
    assert exact.allows(f"https://{name}:444/a?b#c")
    assert not exact.allows(f"https://{label}.{name}/")
    assert below.allows(f"https://{label}.{name}/")
    assert not below.allows(f"https://{label}{name}/")
    assert not below.allows(f"https://{name}/")
    assert Hosts(("*",)).allows(f"http://{name}/")


def test_files_below_a_folder_and_no_way_out_of_it():
    hosts = Hosts((), ("file:///srv/pages/",))
    assert hosts.allows("file:///srv/pages/a/b.html")
    assert not hosts.allows("file:///srv/pages/../secret")
    assert not hosts.allows("file:///srv/other.html")


@pytest.mark.parametrize(
    "host", ["http://example.org", "example.org:80", "a b", "", "*example.org", "*.", "EXAMPLE.org"]
)
def test_what_is_no_host_is_refused(host: str):
    with pytest.raises(UsageError, match="is no host to allow"):
        Hosts((host,))


def test_one_host_without_a_tuple_around_it_is_refused():
    with pytest.raises(UsageError, match=r"expected a tuple of them, like \('example.org',\)"):
        Hosts("example.org")


def test_the_wall_refuses_every_connection_and_is_passed_by_what_is_allowed():
    wall = Wall()
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", wall.port), timeout=5)
        proxy = Hosts().proxy(wall)
        assert proxy == {"server": f"http://127.0.0.1:{wall.port}", "bypass": ",".join(("<-loopback>", *LOOPBACK))}
        assert Hosts(("*",)).proxy(wall) is None
    finally:
        wall.close()


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("example.org", "http://example.org"),
        (" example.org:80/x ", "http://example.org:80/x"),
        ("https://example.org", "https://example.org"),
        ("about:blank", "about:blank"),
    ],
)
def test_addresses_as_people_type_them(typed: str, url: str):
    assert address(typed) == url


@pytest.mark.parametrize("typed", ["", "two words", "javascript:f()", "http://", "chrome://crash", "a\x00b"])
def test_what_is_no_address_is_refused(typed: str):
    with pytest.raises(ValueError, match=r"."):
        address(typed)
