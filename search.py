"""Random search of hyper-parameters: train.py again and again with drawn values, into a table. Goes on where it was stopped.

    python search.py configs/spear/t2s.yaml configs/search/token_models.yaml train.max_steps=500 data.pack=PACK --trials 20

Each trial is a run of its own, runs/NAME/trial_N; runs/NAME/search.md is the table, runs/NAME/search.json the same for programs. What
the files of a search look like is said in speech/search.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from speech.config import build, load_yaml, override
from speech.search import Record, Result, Search, last_figure, ranked, table

STOPPED = 130
TRAIN = Path(__file__).resolve().parent / "train.py"


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        if args.trials < 1:
            raise ValueError(f"--trials {args.trials}: expected 1 or more")
        search = build(Search, load_yaml(args.space), "")
        config = override(load_yaml(args.config), args.overrides)
        train = config.get("train") or {}
        out = args.out or Path(train.get("runs_folder", "runs")) / f"search_{args.config.stem}"
        plan = {"config": config, "search": vars(search), "seed": args.seed}
        record = Record(out, search, plan)
        for trial in range(args.trials):
            if trial not in record.results:
                record.add(_try(args, search, out, trial, int(train.get("seed", 1234))))
                best = ranked(record.results.values(), search.best)[0]
                print(
                    f"trial {trial}: {search.metric} {record.results[trial].mean:.4g}; best so far: trial {best.trial}"
                )
        print(table(search, record.results.values()), end="")
    except (ValueError, OSError) as error:
        print(f"search.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nsearch.py: stopped; the same command goes on from here", file=sys.stderr)
        return STOPPED
    return 0


def _try(args: argparse.Namespace, search: Search, out: Path, trial: int, seed: int) -> Result:
    """Train a trial, once for each repeat; a training that fails is a result too."""
    values, began = search.draw(trial, args.seed), time.monotonic()
    result = Result(trial, values)
    for repeat in range(search.repeats):
        name = f"trial_{trial}" + (f"_seed_{repeat}" if search.repeats > 1 else "")
        drawn = [f"{key}={_written(value)}" for key, value in values.items()]
        own = [f"train.runs_folder={out}", f"train.run={name}", f"train.seed={seed + repeat}"]
        kept = (
            []
            if any(o.startswith("train.keep_checkpoints=") for o in args.overrides)
            else ["train.keep_checkpoints=1"]
        )
        out.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(TRAIN), str(args.config), *kept, *args.overrides, *drawn, *own]
        failed = _run(command, out / f"{name}.log")
        figure = None if failed else last_figure(out / name, search.metric)
        if failed:
            result.problem = f"failed ({out / name}.log)"
        elif figure is None:
            raise ValueError(
                f"{out / name}: no validation to compare trials by, expected train.validate_every above 0 and a `dev` split"
            )
        result.figures.append(figure)
        if figure is None:
            break  # its mean can be no number any more
    result.minutes = round((time.monotonic() - began) / 60, 2)
    return result


def _run(command: list[str], log: Path) -> bool:
    """A training, its output added to `log`; whether it failed. Ctrl-C reaches it too: it is waited for, as it saves first."""
    with open(log, "a", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            return process.wait() != 0
        except KeyboardInterrupt:
            process.wait()
            raise


def _written(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="of train.py")
    parser.add_argument("space", type=Path, help="metric and space of the search, as in configs/search/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of train.py, for all trials")
    parser.add_argument("--trials", type=int, default=20, help="in all; more later go on (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: runs/search_NAME")
    return parser


if __name__ == "__main__":
    sys.exit(main())
