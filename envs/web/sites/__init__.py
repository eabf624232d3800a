"""Embedded sites: a shop, a wiki, a forum, a booking site and an admin console, with back ends of their own.

server = Server.shared()
visit = server.begin(task)          # fresh content; open visit.url with visit.cookie set
...                                 # Chromium needs --host-resolver-rules=<server.resolver_rule>
server.check(visit, answer)         # Verdict(score, success)
server.dump(visit), server.load(visit, blob)
server.end(visit)
"""
