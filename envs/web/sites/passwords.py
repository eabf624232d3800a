"""Passwords of accounts at the sites: salted and stretched, and never kept as they are."""

from __future__ import annotations

import hashlib
import hmac

ROUNDS = 200
"""Few, since the accounts are made up and a content with accounts is to be made in milliseconds."""


def hashed(password: str, salt: str) -> str:
    """Hexadecimal digits to keep; the same for the same arguments."""
    return hashlib.pbkdf2_hmac("sha256", password.encode("utf-8", "replace"), salt.encode(), ROUNDS).hex()


def fits(password: str, salt: str, kept: str) -> bool:
    """Whether `kept` is what `hashed` made of this password."""
    return hmac.compare_digest(hashed(password, salt), kept)
