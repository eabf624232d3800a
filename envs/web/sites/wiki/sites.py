"""The wikis."""

from __future__ import annotations

from ..core import Site

SITES = (
    Site(
        "Veridia Atlas",
        "wiki",
        "train",
        "teal",
        "atlas",
        {"facts": "right", "search": "go"},
        {
            "edit": "Edit",
            "history": "History",
            "save": "Save changes",
            "new": "New article",
            "search": "Search the wiki",
            "all": "All articles",
        },
        "Everything about a country that does not exist",
    ),
    Site(
        "Railpedia",
        "wiki",
        "train",
        "slate",
        "rail",
        {"facts": "left", "search": "list"},
        {
            "edit": "Edit this page",
            "history": "View history",
            "save": "Publish",
            "new": "Create a page",
            "search": "Search Railpedia",
            "all": "Index",
        },
        "Lines, stations and engines",
    ),
    Site(
        "The Book of Dishes",
        "wiki",
        "train",
        "rust",
        "dishes",
        {"facts": "left", "search": "go"},
        {
            "edit": "Change this article",
            "history": "Past versions",
            "save": "Save",
            "new": "Write an article",
            "search": "Find an article",
            "all": "Contents",
        },
        "Written by those who cook",
    ),
    Site(
        "Garden Commons",
        "wiki",
        "valid",
        "moss",
        "garden",
        {"facts": "right", "search": "list"},
        {
            "edit": "Edit",
            "history": "Past versions",
            "save": "Publish",
            "new": "New article",
            "search": "Find an article",
            "all": "Contents",
        },
        "What grows, where, and who grew it first",
    ),
    Site(
        "Star Almanac",
        "wiki",
        "valid_unseen",
        "ink",
        "stars",
        {"facts": "right", "search": "list"},
        {
            "edit": "Edit this page",
            "history": "History",
            "save": "Save this version",
            "new": "Write an article",
            "search": "Search the almanac",
            "all": "Index",
        },
        "A guide to skies that nobody has seen",
    ),
)
"""Every split has wikis of its own."""
