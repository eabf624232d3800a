"""Embedded websites with their own server code: shops, wikis, forums, booking sites and admin consoles.

Usage::

    server = Server.shared()
    session = server.start_session(task)  # own copy of the site; open session.url with session.cookie set
    ...                                   # start Chromium with --host-resolver-rules=<server.resolver_rule>
    server.check(session, answer)         # Verdict(score, success)
    state = server.dump(session)
    server.load(session, state)
    server.end_session(session)
"""
