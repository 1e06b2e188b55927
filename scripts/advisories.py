"""Compares Cargo.lock with a copy of the RustSec advisory database: advisories.py CARGO_LOCK DATABASE

Prints each advisory that a locked version is subject to, and exits with 1 if there is any that is not in deny.toml. Those that
only inform (unmaintained, notice) are printed and don't fail.
"""

import re
import sys
import tomllib
from pathlib import Path


def main():
    lock, database = Path(sys.argv[1]), Path(sys.argv[2])
    locked = {}
    for package in tomllib.loads(lock.read_text())["package"]:
        if "source" in package:
            locked.setdefault(package["name"], []).append(package["version"])
    ignored = ignored_ids(lock.parent / "deny.toml")
    advisories, failed = 0, False
    for file in sorted((database / "crates").glob("*/*.md")):
        advisories += 1
        for name, version, advisory in findings(file, locked):
            word = "ignored" if advisory["id"] in ignored else advisory.get("informational", "vulnerable")
            failed |= word in ("vulnerable", "unsound")
            print(f"{name} {version}: {advisory['id']}, {word}: {advisory['title']}")
    if advisories == 0:
        sys.exit(f"{database} holds no advisories")
    print(f"{advisories} advisories compared with {sum(map(len, locked.values()))} locked packages")
    sys.exit(1 if failed else 0)


def findings(file, locked):
    """Of one advisory: the locked versions that are subject to it."""
    if file.parent.name not in locked:
        return
    text = file.read_text()
    header = re.search(r"^```toml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    data = tomllib.loads(header[1])
    advisory, versions = data["advisory"], data.get("versions", {})
    if "withdrawn" in advisory:
        return
    title = re.search(r"^# (.*)$", text, re.MULTILINE)
    safe = versions.get("patched", []) + versions.get("unaffected", [])
    for version in locked[advisory["package"]]:
        if not any(satisfies(version, requirement) for requirement in safe):
            yield advisory["package"], version, advisory | {"title": title[1] if title else ""}


def satisfies(version, requirement):
    """Whether a version meets all parts of a requirement, such as `>= 1.2.3, < 2`; without an operator it means `^`."""
    return all(meets(parse(version), part.strip()) for part in requirement.split(","))


def meets(version, part):
    operator, wanted = re.fullmatch(r"(>=|<=|>|<|=|\^|~)?\s*(\S+)", part).groups()
    if wanted == "*":
        return True
    low = parse(wanted)
    given = len(wanted.split("-")[0].split("+")[0].split("."))
    match operator or "^":
        case ">=":
            return version >= low
        case ">":
            return version > low
        case "<":
            return version < low
        case "<=":
            return version <= low
        case "=":
            return version[:given] == low[:given] if given < 3 else version == low
        case "~":
            return low <= version < raised(low, min(given, 2) - 1)
        case "^":
            first = next((place for place in range(given) if low[place] > 0), given - 1)
            return low <= version < raised(low, first)


def parse(version):
    """Numbers, then whether it is a release, then the parts of what comes before one."""
    version = version.split("+")[0]
    numbers, _, before = version.partition("-")
    parts = ([int(part) for part in numbers.split(".")] + [0, 0])[:3]
    return (*parts, before == "", tuple((not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in before.split(".")))


def raised(version, place):
    """The first version with a higher number at this place; releases before it don't count as below."""
    numbers = list(version[:3])
    numbers[place] += 1
    numbers[place + 1 :] = [0] * (2 - place)
    return (*numbers, False, ())


def ignored_ids(file):
    entries = tomllib.loads(file.read_text()).get("advisories", {}).get("ignore", [])
    return {entry if isinstance(entry, str) else entry["id"] for entry in entries}


main()
