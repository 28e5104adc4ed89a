"""Figures of `hierspeech.benchmarking.inference` as markdown."""

from typing import Any

COLUMNS = (
    "part",
    "batch",
    "variant",
    "RTF",
    "times faster",
    "first call, s",
    "peak memory, MB",
    "difference",
    "LSD, dB",
)

GPU_FACTS = {"triton_kernel": "Triton kernel", "graphs": "CUDA graphs", "tf32": "TF32 in convolutions"}


def markdown(figures: dict[str, Any], command: str) -> str:
    """All of one run: the command, the machine, the table of parts and totals, first audio and start-up."""
    machine, others = figures["machine"], figures.get("other_cores")
    described = [
        machine["cpu"],
        f"{machine['cores']} cores, {machine['threads']} threads",
        *([machine["gpu"]] if "gpu" in machine else []),
        f"torch {machine['torch']}",
        f"Python {machine['python']}",
        f"compiled kernels: {'yes' if machine['compiled_kernels'] else 'no'}",
        *(
            f"{said}: {'yes' if machine[name] else 'no'}"
            for name, said in GPU_FACTS.items()
            if name in machine
        ),
        *([] if others is None else [f"other processes meanwhile: {others:.2f} cores"]),
    ]
    lines = [f"`{command}`", "", "; ".join(described) + ".", "", *table(figures["rows"])]
    if figures["first_audio"]:
        lines += ["", "| first audio of a stream | variant | latency, ms | first chunk, s |", "|---|---|---|---|"]  # fmt: skip
        lines += [
            f"| at {row['rate'] // 1000} kHz | {row['variant']} | {1000 * row['seconds']:.0f} | {row['first_chunk_seconds']:.2f} |"
            for row in figures["first_audio"]
        ]
    if figures.get("new_lengths"):
        lines += ["", *new_lengths_table(figures["new_lengths"])]
    lines += ["", "| start-up | |", "|---|---|"]
    lines += [f"| {name} | {value:.2f} s |" for name, value in figures["start_up"].items()]
    return "\n".join([*lines, ""])


def new_lengths_table(rows: list[dict[str, Any]]) -> list[str]:
    """The lines about texts of many lengths: how much was recorded for them, and how long they took."""
    lines = [
        "| texts of new lengths | texts | variant | graphs recorded | median call, ms | slowest call, ms |",
        "|---|---|---|---|---|---|",
    ]
    return lines + [
        f"| {row['pass']} | {row['texts']} | {row['variant']} | {row['recordings']} "
        f"| {1000 * row['median_seconds']:.1f} | {1000 * row['worst_seconds']:.1f} |"
        for row in rows
    ]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The lines of the table of parts and totals; the variants of a part follow each other."""
    parts = list(dict.fromkeys((row["batch"], row["part"]) for row in rows))
    ordered = sorted(rows, key=lambda row: parts.index((row["batch"], row["part"])))
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    for row in ordered:
        cells = [
            row["part"],
            str(row["batch"]),
            row["variant"],
            f"{row['rtf']:.4f}",
            f"{row['times_faster']:.2f}",
            f"{row['first_call_seconds']:.2f}",
            _cell(row["peak_mb"], ".0f"),
            _cell(row["max_difference"], ".1e"),
            _cell(row["log_spectral_distance_db"], ".3f"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
