"""Tables of what was measured, as text that is also Markdown, and as JSON."""

import os
import platform
import re
import statistics
from pathlib import Path

EVEN = 0.02  # differences up to this are called even


def text_of(table, subject):
    """`subject` is the server whose wins and losses the last column tells."""
    which = "more is better" if table.more_is_better else "less is better"
    rounds = max((len(values) for values in table.rows.values()), default=0)
    header = ["server", f"median {table.unit}", "min–max", f"{subject} is"]
    body = [[row, number(statistics.median(values)),
             f"{number(min(values))}–{number(max(values))}",
             verdict(table, row, subject)]
            for row, values in table.rows.items()]
    lines = [f"### {table.title} ({which}; rounds: {rounds})", ""]
    lines += aligned([header, *body]) if body else ["nothing was measured"]
    return "\n".join([*lines, *(["", table.note] if table.note else []), ""])


def text_of_sheet(sheet):
    """A line for each kind, medians of everything, and the spread of what the sheet is about."""
    header = [sheet.subject]
    for column in sheet.columns:
        header += [column, "min–max"] if column in sheet.spread else [column]
    body = []
    for row, values in sheet.rows.items():
        cells = [row]
        for column in sheet.columns:
            taken = values.get(column)
            cells.append(fine(statistics.median(taken)) if taken else "–")
            if column in sheet.spread:
                cells.append(f"{fine(min(taken))}–{fine(max(taken))}" if taken else "–")
        body.append(cells)
    lines = [f"### {sheet.title} (medians; rounds: {sheet.rounds})", ""]
    lines += aligned([header, *body]) if body else ["nothing was measured"]
    return "\n".join([*lines, *(["", sheet.note] if sheet.note else []), ""])


def verdict(table, row, subject):
    ratio = ratio_of(table, row, subject)
    if ratio is None:
        return ""
    is_size = table.unit in ("MiB", "%")
    better, worse = ("smaller", "larger") if is_size else ("faster", "slower")
    word = "even" if abs(ratio - 1) <= EVEN else better if ratio > 1 else worse
    return f"{ratio:.2f}x {word}"


def ratio_of(table, row, subject):
    """How many times better the subject is: the median of the ratios of each round's pair."""
    is_one_process_of_a_server = ": " in row
    if row == subject or is_one_process_of_a_server:
        return None
    pairs = zip(table.rows[subject], table.rows[row])
    return statistics.median(ours / theirs if table.more_is_better else theirs / ours
                             for ours, theirs in pairs)


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def fine(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def aligned(rows):
    """A Markdown table whose columns also line up as plain text: names left, numbers right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [[cells[0].ljust(widths[0]),
              *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:]))]
             for cells in [rows[0], rule, *rows[1:]]]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def machine():
    processor = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": processor.group(1) if processor else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memoryMiB": int(memory.group(1)) // 1024,
        "kernel": platform.release(),
        "loadAtStart": round(os.getloadavg()[0], 2),
    }


def json_of(tables, sheets, machine, versions, left_out, failures):
    return {
        "version": 1,
        "machine": machine,
        "versions": versions,
        "leftOut": left_out,
        "failures": failures,
        "tables": [{
            "name": name,
            "title": table.title,
            "unit": table.unit,
            "moreIsBetter": table.more_is_better,
            "comparedWith": subject,
            "rows": [{
                "server": row,
                "values": values,
                "median": statistics.median(values),
                "comparedIsBetterBy": ratio_of(table, row, subject),
            } for row, values in table.rows.items()],
        } for name, (table, subject) in tables.items()],
        "sheets": [{
            "name": name,
            "title": sheet.title,
            "rows": [{sheet.subject: row, "values": values} for row, values in sheet.rows.items()],
        } for name, sheet in sheets.items()],
    }
