#!/usr/bin/env python3
"""Prints as JSON where the figures come from: the machine, its load before, all versions, the commit."""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", required=True)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--postgres", required=True)
    arguments = parser.parse_args()
    changed = output("git", "status", "--porcelain", "--untracked-files=no")
    machine = {
        "date": datetime.date.today().isoformat(),
        "commit": output("git", "rev-parse", "--short", "HEAD") + (" with changes" if changed else ""),
        "cores": os.cpu_count(),
        "processor": processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load_before": float(arguments.load),
        "system": f"{platform.system()} {platform.release()}",
        "rust": output("rustc", "--version").split()[1],
        "kafka": arguments.kafka,
        "redis": output("redis-server", "--version").split()[2].removeprefix("v="),
        "postgresql": arguments.postgres,
    }
    json.dump(machine, sys.stdout)
    print()


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        return next(names, platform.machine())


if __name__ == "__main__":
    main()
