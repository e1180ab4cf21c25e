"""Compressed images: who meets whom, on which image."""

import compressed_images as kinds
import decoding
import images
import measures
from decoding import Unpacker
from decodings import Decodings
from runner import Reading, Table
from servers import NBDKitUnpacking, Platter, QCOWMount, QEMUExport, RatarMount

RANDOM_SECONDS = 3
WITHIN_CACHE = 32  # MiB of what platter mount --cache-size keeps: 64 MiB by default


def clusters(field, runner, plan):
    """What QEMU makes and reads."""
    all_of_it = Decodings(field, runner, plan, "clusters", "Compressed clusters and grains")
    all_of_it.measure(kinds.QCOW2_ZLIB, field.raw, QEMUExport(), QCOWMount())
    if not plan.is_small:
        all_of_it.measure(kinds.QCOW2_ZSTD, field.raw, QEMUExport())
        all_of_it.measure(kinds.VMDK, field.raw, QEMUExport())
    return all_of_it.results()


def random_clusters(field, runner, plan):
    """One page of each cluster; then pages of so few clusters that the cache holds them all."""
    tables = {}
    for kind, others in ((kinds.QCOW2_ZLIB, [QCOWMount()]), (kinds.QCOW2_ZSTD, [])):
        image = kind.image(field.raw)
        pair = {
            "cold": Table(f"{kind.title}, random 4 KiB reads, 1 job, no cluster twice", "reads/s",
                          True),
            "again": Table(f"{kind.title}, random 4 KiB reads, 1 job, in {WITHIN_CACHE} MiB of "
                           "clusters read before", "reads/s", True,
                           "the kernel's pages are dropped before each time"),
        }
        cold = decoding.one_in_each_block(image.size)
        few = decoding.places_in_few_blocks(image.size, WITHIN_CACHE)

        def take(contestant):
            server = contestant.server
            with runner.fresh(contestant) as path:
                measures.check_samples(path, image)
                yield Reading("cold", contestant.label, decoding.reads_a_second(
                    path, cold, decoding.PAGE, RANDOM_SECONDS))
            with runner.fresh(contestant) as path:
                decoding.reads_a_second(path, few, decoding.PAGE, float("inf"))
                yield Reading("again", contestant.label, decoding.repeated_reads_a_second(
                    path, few, decoding.PAGE, RANDOM_SECONDS / 2,
                    lambda: server.forget_cached(path)))

        contestants = field.contestants(
            (Platter(field.platter), image), *((server, image) for server in (QEMUExport(), *others)))
        runner.alternate(contestants, plan.unpacking_rounds, pair, take)
        tables |= {f"{kind.title} {name}": table for name, table in pair.items()}
    return tables


def gzip_first(field, runner, plan):
    """Nobody has seen the file before: what is found on the way is found in this time."""
    all_of_it = Decodings(field, runner, plan, "gzip first", "gzip, first time")
    all_of_it.measure(
        kinds.GZIP, field.raw, RatarMount(field.python_peers), NBDKitUnpacking("gzip"),
        *unpackers(field), title="gzip -6, first time", from_the_command=True)
    return all_of_it.results()


def gzip(field, runner, plan):
    """With what was kept of the first time."""
    kept = runner.new_directory()
    index = runner.scratch / "gzip.sqlite"
    all_of_it = Decodings(field, runner, plan, "gzip", "gzip, index kept")
    all_of_it.measure(
        kinds.GZIP, field.raw, RatarMount(field.python_peers, index), *unpackers(field),
        title="gzip -6, index kept", kept=lambda: kept)
    return all_of_it.results()


def unpackers(field):
    """The fastest that there are, besides gzip itself."""
    yield Unpacker("libdeflate-gunzip", "-c", package="libdeflate-tools")
    yield Unpacker(field.python_peers / "bin/rapidgzip", "-dc", "-P", "0", name="rapidgzip -dc")


def gzip_random(field, runner, plan):
    """Mounted a second time: the warm-up is the first, and reads all of it."""
    image = kinds.GZIP.image(field.raw)
    kept = runner.new_directory()
    index = runner.scratch / "gzip-random.sqlite"
    tables = {
        "first byte": Table("gzip -6, first time: from the command to the first 512 bytes", "ms",
                            False),
        "random": Table("gzip -6, second mount, random 64 KiB reads, 1 job", "reads/s", True),
        "index": Table("gzip -6: what is kept for the second mount, of the disk's size", "%", False),
    }
    places = decoding.whole_blocks(image.size)
    seen = set()

    def first_time(contestant):
        with runner.fresh(contestant) as path:
            measures.check_samples(path, image)
            yield Reading("first byte", contestant.label, contestant.server.seconds_to_ready * 1000)

    runner.alternate(
        field.contestants((Platter(field.platter, kept=runner.new_directory), image),
                          (RatarMount(field.python_peers), image),
                          (NBDKitUnpacking("gzip"), image)),
        plan.unpacking_rounds, {"first byte": tables["first byte"]}, first_time)

    def later(contestant):
        with runner.fresh(contestant) as path:
            if contestant.label not in seen:
                seen.add(contestant.label)
                measures.check_everything(path, image)
                return
            measures.check_samples(path, image)
            contestant.server.forget_cached(path)
            yield Reading("random", contestant.label, decoding.reads_a_second(
                path, places, decoding.BLOCK, RANDOM_SECONDS))
        is_platter = isinstance(contestant.server, Platter)
        files = (file for file in kept.rglob("*") if file.is_file()) if is_platter else [index]
        size = sum(file.stat().st_size for file in files)
        yield Reading("index", contestant.label, size / image.size * 100)

    runner.alternate(
        field.contestants((Platter(field.platter, kept=lambda: kept), image),
                          (RatarMount(field.python_peers, index), image)),
        plan.unpacking_rounds, {name: tables[name] for name in ("random", "index")}, later)
    return {f"gzip {name}": table for name, table in tables.items()}


def zstandard(field, runner, plan):
    all_of_it = Decodings(field, runner, plan, "zstd", "Zstandard")
    some = (kinds.ZSTD_FRAMES, kinds.ZSTD_SINGLE, kinds.ZSTD_SEEKABLE, kinds.ZSTD_PARALLEL)
    for kind in some[:1] if plan.is_small else some:
        all_of_it.measure(kind, field.raw, *ratarmount(field, runner, kind))
    return all_of_it.results()


def lz4(field, runner, plan):
    all_of_it = Decodings(field, runner, plan, "lz4", "LZ4")
    for kind in (kinds.LZ4_LARGE, kinds.LZ4_SMALL, kinds.LZ4_LINKED)[:1 if plan.is_small else 3]:
        all_of_it.measure(kind, field.raw)
    return all_of_it.results()


def xz_blocks(field, runner, plan):
    all_of_it = Decodings(field, runner, plan, "xz", "xz with several blocks")
    for kind in (kinds.XZ_BLOCKS, kinds.XZ_THREADED):
        all_of_it.measure(kind, field.raw, Unpacker("xz", "-T2", "-dc", package="xz-utils"),
                          NBDKitUnpacking("xz"))
    return all_of_it.results()


def slow(field, runner, plan):
    """On a quarter of the disk: decoded by one core, each of these takes half a minute for it."""
    raw = images.raw_disk(field.work, max(128, plan.mebibytes // 4))
    all_of_it = Decodings(field, runner, plan, "slow", "xz in one block, bzip2")
    for kind in (kinds.XZ_SINGLE, kinds.BZIP2):
        all_of_it.measure(kind, raw, *ratarmount(field, runner, kind))
    return all_of_it.results()


def ratarmount(field, runner, kind):
    index = runner.scratch / f"ratarmount-{kind.suffix}.sqlite"
    return [RatarMount(field.python_peers, index)]


def discs(field, runner, plan):
    all_of_it = Decodings(field, runner, plan, "discs", "Disc images, ZIP")
    for kind in (kinds.CSO, kinds.CSO2, kinds.ZSO, kinds.DAX, kinds.DMG, kinds.CLOOP, kinds.ZIP):
        all_of_it.measure(kind, field.raw, *([QEMUExport()] if kind.format else []))
    return all_of_it.results()


ALL = {"compressed-clusters": clusters, "compressed-random": random_clusters,
       "compressed-gzip-first": gzip_first, "compressed-gzip": gzip,
       "compressed-gzip-random": gzip_random, "compressed-zstd": zstandard, "compressed-lz4": lz4,
       "compressed-xz": xz_blocks, "compressed-slow": slow, "compressed-discs": discs}
# Those whose images take long to make.
NOT_SMALL = {"compressed-xz", "compressed-slow", "compressed-discs"}
