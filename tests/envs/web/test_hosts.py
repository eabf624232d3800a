"""Tests of the allow-list of hosts."""

from __future__ import annotations

import os
import socket
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs.web.hosts import LOOPBACK, AllowedHosts, BlockingProxy, parse_address
from kintsugi.errors import UsageError

LABEL = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
PART = st.sampled_from(["..", "%2e%2e", ".%2E", ".", "", "a", "b.html", "%2f", "%5c..", "\\", "\\..", ";", "%00"])
"""Parts of the path of a URL."""
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
def test_only_loopback_is_allowed_by_default(url: str, allowed: bool):
    assert AllowedHosts().allows(url) is allowed


@given(NAME, LABEL)
def test_a_name_allows_only_itself_and_a_star_only_subdomains(name: str, label: str):
    exact, below = AllowedHosts((name,)), AllowedHosts((f"*.{name}",))
    assert exact.allows(f"https://{name}:444/a?b#c")
    assert not exact.allows(f"https://{label}.{name}/")
    assert below.allows(f"https://{label}.{name}/")
    assert not below.allows(f"https://{label}{name}/")
    assert not below.allows(f"https://{name}/")
    assert AllowedHosts(("*",)).allows(f"http://{name}/")


def test_only_files_below_an_allowed_folder_are_allowed():
    hosts = AllowedHosts((), ("file:///srv/pages/",))
    assert hosts.allows("file:///srv/pages/a/b.html")
    assert not hosts.allows("file:///srv/pages/../secret")
    assert not hosts.allows("file:///srv/other.html")
    assert not hosts.allows("file:///srv/pages-2/a.html")
    assert not hosts.allows("file://elsewhere/srv/pages/a.html")
    assert AllowedHosts((), ("file:///srv/pages",)).allows("file://localhost/srv/%70ages/a.html")


@given(st.lists(PART))
def test_no_path_leads_out_of_a_folder(parts: list[str]):
    url = "/".join(["file:///srv/pages", *parts])
    resolved = os.path.normpath(unquote(urlsplit(url).path).replace("\\", "/"))
    inside = resolved == "/srv/pages" or resolved.startswith("/srv/pages/")
    encoded = {"%2f", "%5c..", "%00"} & set(parts)
    assert AllowedHosts((), ("file:///srv/pages/",)).allows(url) == (inside and not encoded)


@pytest.mark.parametrize("folder", ["/srv/pages", "http://x/", "file:srv", "file://elsewhere/srv", "", "file:///a%00b"])
def test_an_invalid_folder_is_an_error(folder: str):
    with pytest.raises(UsageError, match="is no URL of a folder"):
        AllowedHosts((), (folder,))


@pytest.mark.parametrize(
    "host", ["http://example.org", "example.org:80", "a b", "", "*example.org", "*.", "EXAMPLE.org"]
)
def test_an_invalid_host_is_an_error(host: str):
    with pytest.raises(UsageError, match="is not a valid host"):
        AllowedHosts((host,))


def test_a_string_instead_of_a_tuple_is_an_error():
    with pytest.raises(UsageError, match=r"expected a tuple of hosts, like \('example.org',\)"):
        AllowedHosts("example.org")
    with pytest.raises(UsageError, match=r"expected a tuple of folders, like \('file:///tmp/',\)"):
        AllowedHosts((), "file:///tmp/")


@pytest.mark.parametrize("path", ["srv/../..", "../", "srv/%2e%2e/etc/", "srv/.%2E", "a\\..\\b/"])
def test_a_folder_that_goes_up_is_refused(path: str):
    with pytest.raises(UsageError, match=r"goes up with '\.\.', to '/.*'; write the path of the folder itself"):
        AllowedHosts((), (f"file:///{path}",))


def test_names_with_dots_are_folders():
    assert AllowedHosts((), ("file:///srv/..pages/a..b/",)).allows("file:///srv/..pages/a..b/x.html")


def test_the_blocking_proxy_refuses_connections_and_allowed_hosts_bypass_it():
    blocking_proxy = BlockingProxy()
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", blocking_proxy.port), timeout=5)
        settings = AllowedHosts().proxy_settings(blocking_proxy)
        assert settings == {
            "server": f"http://127.0.0.1:{blocking_proxy.port}",
            "bypass": ",".join(("<-loopback>", *LOOPBACK)),
        }
        assert AllowedHosts(("*",)).proxy_settings(blocking_proxy) is None
    finally:
        blocking_proxy.close()


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("example.org", "http://example.org"),
        (" example.org:80/x ", "http://example.org:80/x"),
        ("https://example.org", "https://example.org"),
        ("about:blank", "about:blank"),
    ],
)
def test_a_missing_scheme_is_added(typed: str, url: str):
    assert parse_address(typed) == url


@pytest.mark.parametrize("typed", ["", "two words", "javascript:f()", "http://", "chrome://crash", "a\x00b"])
def test_an_invalid_address_is_an_error(typed: str):
    with pytest.raises(ValueError, match=r"."):
        parse_address(typed)
