"""What reading a compressed disk costs: time, and processor time of the server and of its reader."""

import hashlib
import os
import random
import resource
import subprocess
import time
from typing import NamedTuple

import images
import measures
import processes
from images import MIB
from servers import Server, ServerFailed

BLOCK = 65536  # of all that is read at random here: a qcow2 cluster, a ratarmount read
PAGE = 4096
SEED = 20


class Pass(NamedTuple):
    """Over the whole disk, once, from end to end."""
    seconds: float
    processor: float  # seconds of it, user and system, of everybody


class Unpacker(Server):
    """No server either: a command that writes the whole disk to its standard output."""

    def __init__(self, *words, name=None, package="", kept=None):
        """`kept`: as Platter's."""
        super().__init__()
        self.name = name or " ".join(map(str, words))
        self.words = words
        self.packages = {words[0]: package}
        self.kept = kept

    def environment(self):
        return {"XDG_CACHE_HOME": str(self.kept())} if self.kept else {}

    def popen(self, image, target):
        command = [str(word) for word in (*self.words, image.path)]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=target,
                                stderr=subprocess.PIPE, text=target != subprocess.PIPE,
                                env=os.environ | self.environment())

    def unpack(self, image):
        with open("/dev/null", "wb") as nowhere:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            begun = time.perf_counter()
            process = self.popen(image, nowhere)
            _, said = process.communicate()
            seconds = time.perf_counter() - begun
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.judge(process, said)
        return Pass(seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)

    def check(self, image):
        process = self.popen(image, subprocess.PIPE)
        digest = hashlib.sha256()
        with process.stdout as stream:
            while piece := stream.read(MIB):
                digest.update(piece)
        said = process.stderr.read()
        process.wait()
        self.judge(process, said)
        if digest.digest() != images.digest_of(image.content):
            raise ServerFailed("WRONG BYTES: what it unpacks is not what the image holds")

    def judge(self, process, said):
        if process.returncode:
            raise ServerFailed(f"{self.name}: exit status {process.returncode}: {said[-500:]}")


def read_all(server, path, size):
    """As measures.sequential; the server's processor time is all that it takes meanwhile."""
    server_before = processor_of(server)
    seconds = reader = 0
    with open(path, "rb", buffering=0) as file:
        for start in range(0, size, measures.PIECE):
            server.forget_cached(path)
            end = min(start + measures.PIECE, size)
            begun, reader_begun = time.perf_counter(), time.thread_time()
            for offset in range(start, end, MIB):
                if os.preadv(file.fileno(), [images.CHUNK], offset) != min(MIB, end - offset):
                    raise ServerFailed(f"short read at {offset}")
            seconds += time.perf_counter() - begun
            reader += time.thread_time() - reader_begun
    return Pass(seconds, processor_of(server) - server_before + reader)


def processor_of(server):
    return sum(processes.processor_seconds_of(pid) for _, pid in server.pids())


def one_in_each_block(size):
    """A page of each block of the disk, in no order, the same for everyone."""
    numbers = random.Random(SEED)
    blocks = list(range(size // BLOCK))
    numbers.shuffle(blocks)
    return [block * BLOCK + numbers.randrange(BLOCK // PAGE) * PAGE for block in blocks]


def places_in_few_blocks(size, mebibytes):
    """One page in each quarter of so many MiB of blocks, which lie anywhere; in no order."""
    numbers = random.Random(SEED)
    quarter = BLOCK // 4
    places = [block * BLOCK + part * quarter + numbers.randrange(quarter // PAGE) * PAGE
              for block in numbers.sample(range(size // BLOCK), mebibytes * MIB // BLOCK)
              for part in range(4)]
    numbers.shuffle(places)
    return places


def whole_blocks(size):
    blocks = list(range(size // BLOCK))
    random.Random(SEED).shuffle(blocks)
    return [block * BLOCK for block in blocks]


def reads_a_second(path, places, length, seconds):
    """At these places in this order, until the time is over."""
    buffer = memoryview(images.CHUNK)[:length]
    with open(path, "rb", buffering=0) as file:
        begun = time.perf_counter()
        deadline = begun + seconds
        for done, place in enumerate(places, 1):
            if os.preadv(file.fileno(), [buffer], place) != length:
                raise ServerFailed(f"short read at {place}")
            if time.perf_counter() > deadline:
                break
        return done / (time.perf_counter() - begun)


def repeated_reads_a_second(path, places, length, seconds, forget):
    """At these places again and again, the kernel's pages dropped before each time (not timed), until
    that long was read."""
    done = spent = 0
    while spent < seconds:
        forget()
        begun = time.perf_counter()
        reads_a_second(path, places, length, float("inf"))
        spent += time.perf_counter() - begun
        done += len(places)
    return done / spent
