#!/usr/bin/env python3
"""Prints the results of all runs: the targets, each figure's median and range, the stages; or all of it as JSON."""

import argparse
import json
import operator
import sys
from pathlib import Path
from statistics import median

COLUMNS = {
    "requests_per_s_whole": "requests/s whole",
    "requests_per_s_mid": "mid",
    "answers_per_s": "answers/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "p999_ms": "p99.9 ms",
    "max_ms": "max ms",
    "worker_cpu_s_mid": "worker CPU-s/M mid",
    "worker_cpu_s": "worker CPU-s/M",
    "kafka_cpu_s": "Kafka",
    "redis_cpu_s": "Redis",
    "postgres_cpu_s": "PostgreSQL",
    "all_cpu_s": "all CPU-s/M",
    "worker_peak_mib": "worker peak MiB",
    "redis_bytes_per_booking": "Redis bytes/booking",
    "redis_bytes_per_request": "Redis bytes/request",
    "kafka_bytes_per_request": "Kafka bytes/request",
    "window_rows": "window rows",
    "few_bookings": "few bookings",
    "few_s": "decisions again after s",
    "many_bookings": "many bookings",
    "many_s": "decisions again after s",
}
# Figures that are compared with the peer's. Its state is in its process and Interlock's is not, so the sum of all
# processes matters more than the worker's part of it.
COMPARED = (
    "requests_per_s_whole",
    "requests_per_s_mid",
    "all_cpu_s",
    "worker_cpu_s",
    "worker_cpu_s_mid",
    "kafka_cpu_s",
    "worker_peak_mib",
    "p50_ms",
    "p99_ms",
    "p999_ms",
)
# Waits: the thread may have worked on something else meanwhile.
WAITS = ("poll", "blocked", "load", "ledger_commit", "transaction")
BOUNDS = {"<=": operator.le, ">=": operator.ge}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--targets", type=Path, required=True)
    parser.add_argument("--machine", type=Path, required=True)
    parser.add_argument("--stable", type=float, required=True)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = collect(arguments.runs, arguments.stable)
    targets = list(read_targets(arguments.targets, rows))
    machine = json.loads(arguments.machine.read_text())
    if arguments.json:
        json.dump({"machine": machine, "targets": targets, "rows": rows}, sys.stdout, indent=2)
        print()
        return
    print("; ".join(f"{name} {value}" for name, value in machine.items()))
    print_targets(targets, rows)
    print_ratios(rows)
    print_figures(rows)
    print_stages(rows)


def collect(runs: Path, stable: float) -> dict[str, dict]:
    """Returns, by row, each figure's median, lowest and highest, and whether the range is small enough to print a figure."""
    rows: dict[str, dict] = {}
    for line in runs.read_text().splitlines():
        run = json.loads(line)
        row = rows.setdefault(run["row"], {"runs": 0, "values": {}, "stages": {}})
        row["runs"] += 1
        for name, value in run["figures"].items():
            row["values"].setdefault(name, []).extend(value if isinstance(value, list) else [value])
        for topology, stages in run.get("stages", {}).items():
            for stage, spent in stages.items():
                row["stages"].setdefault(topology, {}).setdefault(stage, []).append(spent)
    for row in rows.values():
        row["each"] = row["values"]
        row["figures"] = {name: summary(values, stable) for name, values in row.pop("values").items()}
        for stages in row["stages"].values():
            stages.update({stage: median(spent) for stage, spent in stages.items()})
    return rows


def summary(values: list[float], stable: float) -> dict:
    lowest, highest = min(values), max(values)
    # Values near zero have no meaningful ratio.
    return {
        "n": len(values),
        "median": median(values),
        "lowest": lowest,
        "highest": highest,
        "stable": highest <= max(lowest * stable, lowest + 0.5),
    }


def read_targets(file: Path, rows: dict):
    """Returns the targets of the rows that were run, with their figures."""
    for line in file.read_text().splitlines():
        if line.startswith("#"):
            continue
        row, name, bound, what = line.split(None, 3)
        if row not in rows:
            continue
        figure = rows[row]["figures"].get(name)
        met = None if bound == "-" else bool(figure and BOUNDS[bound[:2]](figure["median"], float(bound[2:])) and figure["stable"])
        yield {"what": what, "row": row, "figure": name, "target": bound, "met": met}


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def cell(figure: dict | None) -> str:
    if figure is None:
        return ""
    if figure["n"] == 1:
        return number(figure["median"])
    spread = f"({number(figure['lowest'])}–{number(figure['highest'])})"
    return f"{number(figure['median'])} {spread}" if figure["stable"] else f"no stable figure {spread}"


def print_table(head: list[str], lines: list[list[str]]) -> None:
    print()
    print("| " + " | ".join(head) + " |")
    print("| --- |" + " --: |" * (len(head) - 1))
    for line in lines:
        print("| " + " | ".join(line) + " |")


def print_targets(targets: list[dict], rows: dict) -> None:
    if not targets:
        return
    lines = []
    for target in targets:
        figure = rows[target["row"]]["figures"].get(target["figure"])
        bound = target["target"]
        aim = "–" if bound == "-" else f"{'≤' if bound[0] == '<' else '≥'} {number(float(bound[2:]))}"
        verdict = {None: "", True: "met", False: "missed"}[target["met"]]
        measured = cell(figure) or ("the rate was not kept up" if target["row"].startswith("latency") else "–")
        lines.append([target["what"], target["row"], measured, str(figure["n"] if figure else rows[target["row"]]["runs"]), aim, verdict])
    print_table(["what", "row", "measured", "n", "target", ""], lines)


def ours(peer: str) -> str:
    """Returns our row that does the work of a row of the peer: `peer-booking:2,store=memory` is `booking:2`."""
    return ",".join(part for part in peer.removeprefix("peer-").split(",") if not part.startswith("store="))


def print_ratios(rows: dict) -> None:
    """Prints our figures beside the peer's, with the ratio of the medians and the range of the ratios in each turn."""
    lines = []
    for name, peer in rows.items():
        own = rows.get(ours(name)) if name.startswith("peer-") else None
        for figure in COMPARED if own else ():
            mine, theirs = own["each"].get(figure, []), peer["each"].get(figure, [])
            if not mine or not theirs:
                continue
            turns = [a / b for a, b in zip(mine, theirs)]
            spread = f" ({number(min(turns))}–{number(max(turns))})" if len(turns) > 1 else ""
            ratio = number(median(mine) / median(theirs)) + spread
            lines.append([f"{COLUMNS[figure]}, {ours(name)} ÷ {name}", number(median(mine)), number(median(theirs)), ratio])
    if lines:
        print_table(["against the peer", "Interlock", "peer", "ratio (of each turn)"], lines)


def print_figures(rows: dict) -> None:
    """Prints one table for each kind of row: drains, a steady load, a fail-over."""
    for first in ("requests_per_s_whole", "answers_per_s", "few_s"):
        kind = {name: row for name, row in rows.items() if first in row["figures"]}
        if not kind:
            continue
        columns = [column for column in COLUMNS if any(column in row["figures"] for row in kind.values())]
        lines = [
            [name, str(row["runs"]), *(cell(row["figures"].get(column)) for column in columns)]
            for name, row in kind.items()
        ]
        print_table(["row", "n", *(COLUMNS[column] for column in columns)], lines)


def print_stages(rows: dict) -> None:
    """Prints the seconds of the threads per million requests."""
    lines = []
    for name, row in rows.items():
        for topology, stages in row["stages"].items():
            most_first = sorted(stages.items(), key=lambda stage: -stage[1])
            own = [f"{stage} {spent:.2f}" for stage, spent in most_first if stage not in WAITS]
            waits = [f"{stage} {spent:.2f}" for stage, spent in most_first if stage in WAITS]
            lines.append([name, topology, ", ".join(own), ", ".join(waits)])
    if lines:
        print_table(["row", "topology", "own work, thread-seconds per million", "waits, which overlap"], lines)


if __name__ == "__main__":
    main()
