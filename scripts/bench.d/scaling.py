#!/usr/bin/env python3
"""scaling.py BENCH_JSON: prints the tables of docs/SCALING.md from the results of scripts/bench --json.

Formulas and assumptions are the ones of that page; here they are once more, as the thing that computes.
"""

import argparse
import json
from math import ceil, log2
from pathlib import Path

UTILISATION = 0.6  # of a core or a Redis server, which leaves room for a fail-over or an hour's peak
TRAINS_A_DAY = 10_000
SEATS = 1_068  # of a train: SL 10×72, 3A 4×64, 2A 2×46
REUSE = 1.2  # passengers of a seat
PARTY = 1.7  # passengers of a booking
DAYS_AHEAD_MEAN = 20  # between booking and departure
DAYS_ON_SALE = 60
RETENTION_DAYS = 90  # of events: the sale, and the past that audits look at
REDIS_GIB = 16  # of a master, half of it for writes during a rewrite of the append-only file
REPLICAS = 3
BROKER_CORES = 8
BUSY_HOURS = 10  # hours in which a day's requests arrive, at the given rate
RATES = {"1,000/s": 1_000, "10,000/s": 10_000, "burst, 10 × 10,000/s": 100_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    unit = units(json.loads(parser.parse_args().results.read_text())["rows"])
    print_units(unit)
    print_needs(unit)
    print_stock(unit)


def units(rows: dict) -> dict[str, float]:
    """Returns the costs of a request: the medians of the rows with four threads."""

    def of(row: str, figure: str) -> float:
        return rows[row]["figures"][figure]["median"]

    return {
        "worker CPU, µs": of("booking:4", "worker_cpu_s"),
        "with windows, µs": of("all:4", "worker_cpu_s"),
        "Redis CPU, µs": of("booking:4", "redis_cpu_s"),
        "Kafka CPU, one broker, µs": of("booking:4", "kafka_cpu_s"),
        "TimescaleDB CPU, µs": of("all:4", "postgres_cpu_s"),
        "one thread, requests/s": rows["booking:1"]["figures"].get("requests_per_s_mid", {}).get("median")
        or of("booking:1", "requests_per_s_whole"),
        "Redis, bytes of a live booking": of("booking:4", "redis_bytes_per_booking"),
        "Redis, bytes of any request": of("booking:4", "redis_bytes_per_request"),
        "Kafka, bytes of one copy": of("booking:4", "kafka_bytes_per_request"),
    }


def cores(rate: float, microseconds: float) -> float:
    return rate * microseconds / 1e6 / UTILISATION


def print_units(unit: dict[str, float]) -> None:
    print("| of one request | measured |\n| --- | --: |")
    for name, value in unit.items():
        print(f"| {name} | {value:,.0f} |" if value >= 100 else f"| {name} | {value:.1f} |")


def print_needs(unit: dict[str, float]) -> None:
    print("\n| requests | stream threads, with windows | partitions at least | Redis masters, by CPU | Kafka cores | brokers | TimescaleDB cores | Kafka disk a day, 3 copies | Redis grows a day |")
    print("| --- | --: | --: | --: | --: | --: | --: | --: | --: |")
    for name, rate in RATES.items():
        threads = ceil(cores(rate, unit["with windows, µs"]))
        # A ledger is one thread. Twice as many ledgers as needed can be spread evenly, and leave a hot one room to be
        # twice as busy as the others.
        ledgers = max(4, threads, rate / unit["one thread, requests/s"])
        partitions = 2 ** ceil(log2(2 * ledgers))
        masters = ceil(cores(rate, unit["Redis CPU, µs"]))
        kafka = cores(rate, unit["Kafka CPU, one broker, µs"]) * REPLICAS
        database = cores(rate, unit["TimescaleDB CPU, µs"])
        a_day = rate * BUSY_HOURS * 3600
        disk = a_day * unit["Kafka, bytes of one copy"] * REPLICAS / 1e9
        memory = a_day * unit["Redis, bytes of any request"] / 1e9
        grows = "– | –" if name.startswith("burst") else f"{disk:,.0f} GB | {memory:,.0f} GB"
        brokers = max(REPLICAS, ceil(kafka / BROKER_CORES))
        print(f"| {name} | {threads} | {partitions} | {masters} | {kafka:.1f} | {brokers} | {database:.1f} | {grows} |")


def print_stock(unit: dict[str, float]) -> None:
    """Prints the needs of 10,000 sold-out trains a day: bookings are limited by the seats, whatever the rate of requests."""
    a_day = TRAINS_A_DAY * SEATS * REUSE / PARTY
    live = a_day * DAYS_AHEAD_MEAN
    redis = live * unit["Redis, bytes of a live booking"]
    kafka = a_day * RETENTION_DAYS * unit["Kafka, bytes of one copy"] * REPLICAS
    print("\n| of 10,000 trains a day, all sold out | |\n| --- | --: |")
    print(f"| bookings a day | {a_day / 1e6:.1f} million |")
    print(f"| train-dates on sale | {TRAINS_A_DAY * DAYS_ON_SALE:,} |")
    print(f"| live bookings | {live / 1e6:.0f} million |")
    print(f"| Redis | {redis / 2**30:.0f} GiB |")
    print(f"| Redis masters of {REDIS_GIB} GiB, by memory | {ceil(redis / 2**30 / (REDIS_GIB / 2))} |")
    print(f"| Kafka, {RETENTION_DAYS} days of accepted bookings, {REPLICAS} copies | {kafka / 1e12:.1f} TB |")


if __name__ == "__main__":
    main()
