"""Side by side: rounds in which every contestant has a turn, and the tables they fill."""

import os
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import images
import measures
from images import MIB
from servers import Server, ServerFailed

# A read from a server that hangs cannot be interrupted, not even by Ctrl-C: only by ending the
# server. The slowest honest one (vhdimount) takes 30 seconds.
PATIENCE_SECONDS = 300


@dataclass
class Contestant:
    label: str
    server: Server
    image: images.Image


class Reading(NamedTuple):
    table: str
    row: str
    value: float


@dataclass
class Table:
    title: str
    unit: str
    more_is_better: bool
    note: str = ""
    rows: dict[str, list[float]] = field(default_factory=dict)  # one value for each round

    def remove(self, label):
        self.rows = {row: values for row, values in self.rows.items()
                     if not belongs(row, label)}

    def sort(self, labels):
        """Rows in the order of their contestants, not in that of the first counted round."""
        self.rows = {row: self.rows[row] for label in labels for row in self.rows
                     if belongs(row, label)}


@dataclass
class Sheet:
    """Several numbers of each of several things, computed round by round."""
    title: str
    subject: str        # what the rows are
    columns: list[str]  # each with its unit
    spread: list[str]   # those whose least and most value are shown
    note: str = ""
    rounds: int = 0
    rows: dict[str, dict[str, list[float]]] = field(default_factory=dict)


def belongs(row, label):
    return row == label or row.startswith(label + ": ")


class Runner:
    """A contestant that fails is out of its workload, and the failure is kept for the end."""

    def __init__(self, scratch):
        self.scratch = scratch
        self.failures = []
        self.numbers = count()

    def throughput(self, contestants, rounds, tables, measure_of):
        """All mounted at once, and proved right before the first round."""
        with ExitStack() as mounted:
            paths = {}
            for contestant in contestants:
                mounted.callback(self.stop, contestant)
                with self.failing(contestant):
                    path = contestant.server.start(contestant.image, self.new_directory())
                    print(f"  checking every byte of {contestant.label}", flush=True)
                    measures.check_everything(path, contestant.image)
                    paths[contestant.label] = path

            for name, measure in measure_of.items():
                def take(contestant):
                    path = paths[contestant.label]

                    def forget():
                        contestant.server.forget_cached(path)

                    contestant.image.warm()
                    value = measure(path, contestant.image.size, forget)
                    forget()  # so that its pages do not crowd out the next one's
                    yield Reading(name, contestant.label, value)

                started = [each for each in contestants if each.label in paths]
                self.alternate(started, rounds, {name: tables[name]}, take)

    def writes(self, contestants, rounds, tables, load):
        """Each turn starts a server with changes of its own, none yet; they are gone after it."""
        def take(contestant):
            server, image = contestant.server, contestant.image
            os.sync()  # so that nobody writes back what the one before left
            with self.fresh(contestant) as path:
                taken = load.measure(path, image.size)
                for name in taken.keys() & tables.keys():
                    yield Reading(name, contestant.label, taken[name])
                server.forget_cached(path)
                load.check(path, image)
                if "closing" in tables and server.changes:
                    begun = time.perf_counter()
                    server.close()
                    seconds = taken["close"] + time.perf_counter() - begun
                    yield Reading("closing", contestant.label, seconds * 1000)
            if "size" in tables and server.changes:
                yield Reading("size", contestant.label, server.allocated() / MIB)

        def take_and_forget(contestant):
            try:
                yield from take(contestant)
            finally:
                if contestant.server.changes:
                    contestant.server.changes.unlink(missing_ok=True)

        self.alternate(contestants, rounds, tables, take_and_forget)

    def time_to_ready(self, contestants, rounds, tables):
        def take(contestant):
            with self.fresh(contestant) as path:
                measures.check_samples(path, contestant.image)
                yield Reading("ready", contestant.label,
                              contestant.server.seconds_to_ready * 1000)
                if "peak" in tables:
                    yield Reading("peak", contestant.label,
                                  measures.peak_in_mib(contestant.server))

        self.alternate(contestants, rounds, tables, take)

    def descriptions(self, contestants, rounds, tables):
        def take(contestant):
            contestant.image.warm()
            milliseconds, mebibytes = contestant.server.described(contestant.image)
            yield Reading("time", contestant.label, milliseconds)
            yield Reading("peak", contestant.label, mebibytes)

        self.alternate(contestants, rounds, tables, take)

    def memory(self, contestants, rounds, tables):
        def take(contestant):
            server, image = contestant.server, contestant.image
            with self.fresh(contestant) as path:
                measures.check_samples(path, image)
                measures.sequential(path, image.size, lambda: server.forget_cached(path))
                used = list(measures.memory_in_mib(server))
            sums = Counter()
            for process, resident, proportional in used:
                own_row = [f"{contestant.label}: {process}"] if len(used) > 1 else []
                for row in [contestant.label, *own_row]:
                    sums["resident", row] += resident
                    sums["proportional", row] += proportional
            for (table, row), mebibytes in sums.items():
                yield Reading(table, row, mebibytes)

        self.alternate(contestants, rounds, tables, take)

    def alternate(self, contestants, rounds, tables, take):
        """One uncounted round to warm up, then rounds in which everyone has a turn.

        The order moves on by one each round, so nobody always follows the same neighbour.
        """
        print("  " + ", ".join(table.title for table in tables.values()), flush=True)
        contestants = list(contestants)
        labels = [contestant.label for contestant in contestants]
        for number in range(rounds + 1):
            print(f"    round {number} of {rounds}" if number else "    warm-up", flush=True)
            turn = number % max(1, len(contestants))
            for contestant in contestants[turn:] + contestants[:turn]:
                failures = len(self.failures)
                with self.failing(contestant):
                    for table, row, value in list(take(contestant)):
                        if number:
                            tables[table].rows.setdefault(row, []).append(value)
                if len(self.failures) > failures:
                    contestants.remove(contestant)
                    for table in tables.values():
                        table.remove(contestant.label)
        for table in tables.values():
            table.sort(labels)

    @contextmanager
    def fresh(self, contestant):
        contestant.image.warm()
        try:
            yield contestant.server.start(contestant.image, self.new_directory())
        finally:
            contestant.server.stop()

    def stop(self, contestant):
        with self.failing(contestant):
            contestant.server.stop()

    @contextmanager
    def failing(self, contestant):
        watchdog = threading.Timer(PATIENCE_SECONDS, contestant.server.kill)
        watchdog.start()
        try:
            yield
        except (ServerFailed, OSError) as error:
            self.failures.append(f"{contestant.label}: {error}")
            print(f"FAILED  {self.failures[-1]}", flush=True)
        finally:
            watchdog.cancel()

    def new_directory(self):
        return self.scratch / f"{next(self.numbers):04}"
