"""Words that the contents of all kinds of site are made of."""

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


def person(rng: PortableRng) -> str:
    """A full name."""
    return f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"


def people(rng: PortableRng, n: int) -> list[str]:
    """Different full names, no first or last name twice while there are enough."""
    firsts, lasts = rng.sample(FIRST_NAMES, n), rng.sample(LAST_NAMES, min(n, len(LAST_NAMES)))
    return [f"{first} {lasts[i % len(lasts)]}" for i, first in enumerate(firsts)]


def street(rng: PortableRng) -> str:
    """A street with a house number."""
    return f"{rng.between(1, 99)} {rng.choice(STREETS)}"


def handle(name: str) -> str:
    """`mira.holt` for `Mira Holt`."""
    return name.lower().replace(" ", ".")


def moment(rng: PortableRng, newest: int, oldest: int) -> str:
    """A moment of this world, so many days before its today (14 May 2026), as ISO text."""
    import datetime

    days, minutes = rng.between(newest, oldest), rng.between(8 * 60, 21 * 60)
    day = datetime.date(2026, 5, 14) - datetime.timedelta(days=days)
    return f"{day.isoformat()}T{minutes // 60:02d}:{minutes % 60:02d}:00"
