#!/usr/bin/env python3
"""Summarises one run of a row as a line of JSON, from the files that the run left in --work."""

import argparse
import json
import re
import sys
from collections import defaultdict
from pathlib import Path

CPU = ("worker", "kafka", "redis", "postgres")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row")
    parser.add_argument("requests", type=int)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--before", type=int, default=0, help="requests before those measured")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--drain", type=Path)
    kind.add_argument("--steady", type=Path)
    kind.add_argument("--failover", type=Path)
    arguments = parser.parse_args()
    run = {"row": arguments.row, "figures": {}}
    if arguments.failover:
        run["figures"] = failover(arguments.failover.read_text())
    else:
        if arguments.drain:
            run["figures"] = drain(arguments.drain.read_text(), arguments.requests)
        else:
            run["figures"] = steady(json.loads(arguments.steady.read_text()))
        run["figures"] |= costs(arguments.work, arguments.requests, arguments.before)
        run["stages"] = stages((arguments.work / "metrics").read_text(), arguments.requests)
    json.dump(run, sys.stdout)
    print()


def drain(text: str, requests: int) -> dict[str, float]:
    """Returns throughput, and the workers' CPU in the middle, from lines `seconds applied CPU`."""
    samples = [tuple(map(float, line.split())) for line in text.splitlines()]
    # Samples after the last decision only confirm that it was the last.
    end = next(sample for sample in samples if sample[1] == samples[-1][1])
    figures = {"requests_per_s_whole": requests / end[0]}
    low = next(sample for sample in samples if sample[1] >= 0.1 * requests)
    high = next((sample for sample in samples if sample[1] >= 0.9 * requests), end)
    # A backlog that is drained between two samples has no middle.
    if high[1] > low[1]:
        figures["requests_per_s_mid"] = (high[1] - low[1]) / (high[0] - low[0])
        figures["worker_cpu_s_mid"] = (high[2] - low[2]) / (high[1] - low[1]) * 1e6
    return figures


def steady(report: dict) -> dict[str, float]:
    latency = report["latency"]
    figures = {f"{name}_ms": latency[f"{name}_us"] / 1000 for name in ("p50", "p99", "p999", "max")}
    return figures | {"answers_per_s": report["throughput_per_s"]}


def costs(work: Path, requests: int, earlier: int) -> dict[str, float]:
    """Returns CPU seconds per million requests, the largest worker's memory, and the bytes of a booking in Redis and a request in Kafka."""
    empty, before, after = (table(work / name) for name in ("empty", "before", "after"))
    figures = {f"{part}_cpu_s": (after[part] - before.get(part, 0)) / requests * 1e6 for part in CPU if part in after}
    figures["all_cpu_s"] = sum(figures[f"{part}_cpu_s"] for part in CPU if part in after)
    figures["worker_peak_mib"] = after["worker_peak_mib"]
    figures["kafka_bytes_per_request"] = (after["kafka_bytes"] - empty["kafka_bytes"]) / (requests + earlier)
    audit = json.loads((work / "audit").read_text())
    if "totals" not in audit:
        return figures  # the peer: it has no Redis and no invariants of ours
    bookings = audit["totals"]["bookings"]
    if bookings:
        figures["redis_bytes_per_booking"] = (after["redis_bytes"] - empty["redis_bytes"]) / bookings
    figures["redis_bytes_per_request"] = (after["redis_bytes"] - empty["redis_bytes"]) / (requests + earlier)
    rows = sum(line["checked"] for line in audit["invariants"] if line["invariant"] == "I6")
    return figures | ({"window_rows": rows} if rows else {})


def table(file: Path) -> dict[str, float]:
    values: dict[str, float] = {}
    for line in file.read_text().splitlines():
        name, value = line.split()
        values[name] = max(values.get(name, 0.0), float(value))
    return values


def stages(metrics: str, requests: int) -> dict[str, dict[str, float]]:
    """Returns the seconds of the workers' threads per million requests, by topology and stage."""
    found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    line = re.compile(r'interlock_stage_seconds_sum\{topology="(\w+)",stage="(\w+)"\} ([\d.e+-]+)')
    for topology, stage, seconds in line.findall(metrics):
        found[topology][stage] += float(seconds) / requests * 1e6
    return {topology: {stage: spent for stage, spent in spent.items() if spent} for topology, spent in found.items()}


def failover(text: str) -> dict[str, list[float]]:
    """Reads the table of `scripts/chaos --failover`: bookings, Redis memory, n, times. Its last row is the one with bookings."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    rows = [row for row in rows if row[0].isdigit()]
    few, many = rows[0], rows[-1]
    return {
        "few_bookings": [float(few[0])],
        "few_s": [float(time) for time in few[3].split(",")],
        "many_bookings": [float(many[0])],
        "many_s": [float(time) for time in many[3].split(",")],
    }


if __name__ == "__main__":
    main()
