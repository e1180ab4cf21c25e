"""Reading compressed disks from end to end: a table for each kind of image, and a sheet for all of
them that says how much of what the cores allow each one gives."""

import os

import decoding
import measures
from decoding import Unpacker
from images import MIB
from runner import Reading, Sheet, Table
from servers import NullServer, Platter

MOUNT, CAT, NULL = "platter", "platter cat", "null server, raw image"
ACHIEVED, ALLOWED, SHARE = "MiB/s", "cores allow", "share"
SHARE_OF_ONE, SHARE_BY_REFERENCE = "of one decoder's", "by reference"
BUSY, DECODER, FUSE, REFERENCE = "cores busy", "decoder ms/MiB", "FUSE ms/MiB", "reference ms/MiB"
NOTE = (
    "Processor time is user and system. Decoder: platter cat > /dev/null. FUSE: the null server and "
    "its reader. Cores allow: cores / (decoder + FUSE). Of one decoder's: the share of that or of "
    "1 / decoder, whichever is less. By reference: the share with the reference's time in the "
    "decoder's place. Cores busy: by the mount and its reader. Reference: the format's own tool with "
    "one thread, > /dev/null.")


class Decodings:
    def __init__(self, field, runner, plan, name, title):
        self.field = field
        self.runner = runner
        self.rounds = plan.unpacking_rounds
        self.name = name
        self.tables = {}
        self.sheet = Sheet(
            f"{title}: how much of what the cores allow", "image",
            [ACHIEVED, ALLOWED, SHARE, SHARE_OF_ONE, SHARE_BY_REFERENCE, BUSY, DECODER, FUSE,
             REFERENCE],
            [SHARE], NOTE, self.rounds)

    def results(self):
        return self.tables | {f"{self.name} cores": self.sheet}

    def measure(self, kind, raw, *others, title=None, kept=None, from_the_command=False):
        """Platter beside the servers and commands in `others`.

        `kept` gives the folder with what Platter keeps of the stream from one time to the next;
        without it, each time is the first. `from_the_command`: getting ready counts too.
        """
        title = title or kind.title
        image = kind.image(raw)
        kept = kept or self.runner.new_directory
        cat = Unpacker(self.field.platter.absolute(), "cat", name=CAT, kept=kept)
        entries = [(Platter(self.field.platter, kept=kept), image, MOUNT)]
        if "platter" not in self.field.unwanted:
            entries.append((cat, image))
        entries += [(server, image) for server in others]
        reference = Unpacker(*kind.reference, package=kind.package) if kind.reference else None
        if reference:
            entries.append((reference, image))
        entries.append((NullServer(self.field.null_server), raw, NULL))

        whole = ", from the command to the last byte" if from_the_command else ""
        speed = Table(f"{title}, sequential read, 1 MiB at a time{whole}", "MiB/s", True)
        cost = Table("processor time", "ms/MiB", False)
        busy = Table("cores busy", "", True)
        proven = set()

        def take(contestant):
            contestant.image.warm()
            if contestant.label not in proven:
                self.prove(contestant)
                proven.add(contestant.label)
                return
            seconds_to_ready, done = self.once(contestant)
            mebibytes = contestant.image.size / MIB
            seconds = done.seconds + (seconds_to_ready if from_the_command else 0)
            yield Reading("speed", contestant.label, mebibytes / seconds)
            yield Reading("cost", contestant.label, done.processor * 1000 / mebibytes)
            yield Reading("busy", contestant.label, done.processor / done.seconds)

        self.runner.alternate(list(self.field.contestants(*entries)), self.rounds,
                              {"speed": speed, "cost": cost, "busy": busy}, take)
        self.tables[f"{self.name} {title}"] = speed
        self.sheet.rows[title] = sheet_row(
            speed.rows, cost.rows, busy.rows, reference.name if reference else None)

    def prove(self, contestant):
        if isinstance(contestant.server, Unpacker):
            contestant.server.check(contestant.image)
        else:
            with self.runner.fresh(contestant) as path:
                measures.check_everything(path, contestant.image)

    def once(self, contestant):
        """(seconds until it was ready, the Pass over all of it)"""
        server, image = contestant.server, contestant.image
        if isinstance(server, Unpacker):
            return 0, server.unpack(image)
        with self.runner.fresh(contestant) as path:
            return server.seconds_to_ready, decoding.read_all(server, path, image.size)


def sheet_row(speed, cost, busy, reference):
    """Each column's value of each round; those that cannot be told are not there."""
    values = {}
    if MOUNT in speed:
        values |= {ACHIEVED: speed[MOUNT], BUSY: busy[MOUNT]}
    if reference in cost:
        values[REFERENCE] = cost[reference]
    if NULL in cost:
        values[FUSE] = cost[NULL]
    if CAT in cost:
        values[DECODER] = cost[CAT]
    if {ACHIEVED, FUSE, DECODER} <= values.keys():
        values[ALLOWED] = allowed(values[DECODER], values[FUSE])
        values[SHARE] = quotients(values[ACHIEVED], values[ALLOWED])
        by_one = map(min, values[ALLOWED], (1000 / decoder for decoder in values[DECODER]))
        values[SHARE_OF_ONE] = quotients(values[ACHIEVED], by_one)
    if {ACHIEVED, FUSE, REFERENCE} <= values.keys():
        values[SHARE_BY_REFERENCE] = quotients(
            values[ACHIEVED], allowed(values[REFERENCE], values[FUSE]))
    return values


def allowed(decoder, fuse):
    """MiB/s of all cores together, of ms/MiB each round."""
    cores = len(os.sched_getaffinity(0))
    return [1000 * cores / sum(pair) for pair in zip(decoder, fuse)]


def quotients(numbers, divisors):
    return [number / divisor for number, divisor in zip(numbers, divisors)]
