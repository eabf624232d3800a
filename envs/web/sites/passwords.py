"""Salted PBKDF2 hashes of the passwords of site accounts."""

from __future__ import annotations

import hashlib
import hmac

ITERATIONS = 200
"""PBKDF2 iterations. Few, because the accounts are fictitious and content must be built within milliseconds."""


def hash_password(password: str, salt: str) -> str:
    """Return the hash of a password in hexadecimal digits. Deterministic."""
    return hashlib.pbkdf2_hmac("sha256", password.encode("utf-8", "replace"), salt.encode(), ITERATIONS).hex()


def verify_password(password: str, salt: str, expected_hash: str) -> bool:
    """Return whether the hash of `password` is `expected_hash`, in constant time."""
    return hmac.compare_digest(hash_password(password, salt), expected_hash)
