"""Names, streets and cities for the content of all sites, and functions that make names, addresses and timestamps."""

from __future__ import annotations

from ...portable_rng import PortableRng

FIRST_NAMES = (
    "Ada Amir Anja Bela Carla Chidi Clara Dario Dina Elif Emil Esra Femi Fiona Goran Hana Hugo Ines Ivo Jana Joel Kaia "
    "Kofi Lena Liam Lucia Mateo Maya Mila Nadia Nils Noor Omar Petra Priya Rafa Rosa Samir Selma Tariq Thea Tomas Uma "
    "Vera Wanda Yara Yusuf Zoe"
).split()
LAST_NAMES = (
    "Abel Alvarez Baker Becker Bergman Castro Cohen Dalton Ekberg Farkas Fischer Garcia Haddad Hansen Holt Ibarra Iyer "
    "Jansen Keller Khan Kovacs Larsen Lindt Marsh Mendez Moreau Nakata Novak Okafor Olsen Osei Park Quinn Reyes Rossi "
    "Sato Silva Sorensen Tanaka Torres Ueda Varga Weber Wolfe Yilmaz Zeman"
).split()
STREETS = (
    "Alder Road,Beech Lane,Canal Street,Castle Hill,Cedar Avenue,Chapel Row,Elm Grove,Garden Street,Harbour Road,"
    "High Street,Lime Walk,Market Square,Mill Lane,Orchard Way,Park Avenue,River Street,Station Road,Willow Close"
).split(",")
CITIES = (
    "Ashford,Brinley,Calder,Dunmore,Eastwick,Fairhaven,Glenrock,Harwell,Ironbridge,Kingsport,Lakeview,Millbrook,"
    "Northgate,Oakham,Pinecrest,Redcliff,Southwold,Thornbury,Westerly,Yarrow"
).split(",")


def full_name(rng: PortableRng) -> str:
    """Return a random full name."""
    return f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"


def full_names(rng: PortableRng, count: int) -> list[str]:
    """Return `count` different full names. Last names repeat only if `count` exceeds their number."""
    first_names, last_names = rng.sample(FIRST_NAMES, count), rng.sample(LAST_NAMES, min(count, len(LAST_NAMES)))
    return [f"{first} {last_names[i % len(last_names)]}" for i, first in enumerate(first_names)]


def street_address(rng: PortableRng) -> str:
    """Return a random house number and street."""
    return f"{rng.between(1, 99)} {rng.choice(STREETS)}"


def user_name(name: str) -> str:
    """Convert a name to a user name: `Mira Holt` to `mira.holt`."""
    return name.lower().replace(" ", ".")


def past_timestamp(rng: PortableRng, min_days_ago: int, max_days_ago: int) -> str:
    """Return a random ISO timestamp from 8:00 to 21:00, `min_days_ago` to `max_days_ago` days before `core.TODAY`."""
    import datetime

    days, minutes = rng.between(min_days_ago, max_days_ago), rng.between(8 * 60, 21 * 60)
    day = datetime.date(2026, 5, 14) - datetime.timedelta(days=days)
    return f"{day.isoformat()}T{minutes // 60:02d}:{minutes % 60:02d}:00"
