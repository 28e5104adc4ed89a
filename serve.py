"""HTTP server and web page: python serve.py, then http://127.0.0.1:8000 or any OpenAI client (docs/server.md)"""

import argparse
import os
import sys
from pathlib import Path

from hierspeech.pipelines.command_line import OUTPUT_RATES, Parser, add_model_options, run, say

KEYS_VARIABLE = "HIERSPEECH_API_KEYS"
# Options of --ray -> fields of `ray_app.Scale`.
SCALE = {
    "replicas": "replicas",
    "max_replicas": "max_replicas",
    "cpus_per_replica": "cpus",
    "gpus_per_replica": "gpus",
}


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and serves; returns the exit code."""
    parser = Parser(prog="serve.py", description="Serve speech over HTTP, as OpenAI's clients ask for it.")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: %(default)s, this machine alone)"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 is any free one (default: %(default)s)")
    add_model_options(parser)
    add_limits(parser)
    parser.add_argument(
        "--output-sr",
        type=int,
        choices=OUTPUT_RATES,
        default=24000,
        help="sample rate in Hz (default: %(default)s, as OpenAI's)",
    )
    parser.add_argument(
        "--stream", action="store_true", help="answer in chunks where a request does not say stream_format"
    )
    parser.add_argument(
        "--api-key-file",
        metavar="FILE",
        help=f"a key per line, one of which requests must bring; or the variable {KEYS_VARIABLE}, commas between",
    )
    parser.add_argument("--voices-folder", metavar="FOLDER", help="where uploaded voices outlive the server")
    parser.add_argument(
        "--cors-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="a web page elsewhere that may call, https://example.org",
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="by which clients call the server, where a proxy passes it on",
    )
    parser.add_argument(
        "--adapt",
        type=int,
        default=0,
        metavar="STEPS",
        help="of gradient descent that bring uploaded voices nearer to their recordings, a third of a second each on one "
        "core (default: %(default)s; 30 to 60 help)",
    )
    add_cluster_options(parser)
    return run(parser, work, argv)


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Replicas under Ray Serve, on one machine or many."""
    group = parser.add_argument_group(
        "many processes and machines (pip install 'hierspeech[server,cluster]')"
    )
    group.add_argument(
        "--ray", action="store_true", help="speak in replicas that Ray Serve starts and replaces"
    )
    group.add_argument(
        "--ray-address", metavar="ADDRESS", help="of a cluster that runs, or auto (default: one of its own)"
    )
    group.add_argument("--replicas", type=int, help="at least so many (default: 1)")
    group.add_argument("--max-replicas", type=int, help="as the load asks for them (default: --replicas)")
    group.add_argument("--cpus-per-replica", type=float, metavar="N", help="reserved (default: 1)")
    group.add_argument(
        "--gpus-per-replica", type=float, metavar="N", help="0.25: four share one (default: 0)"
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """What bounds memory and waiting."""
    number = parser.add_argument_group("limits")
    number.add_argument("--workers", type=int, default=1, help="threads that compute (default: %(default)s)")
    number.add_argument(
        "--queue", type=int, default=64, help="requests at a time, one more gets 429 (default: %(default)s)"
    )
    number.add_argument(
        "--max-batch", type=int, default=8, help="sentences spoken together (default: %(default)s)"
    )
    number.add_argument(
        "--max-text", type=int, default=4096, help="characters of a text (default: %(default)s)"
    )
    number.add_argument(
        "--max-upload", type=int, default=10 * 2**20, help="bytes of a recording (default: %(default)s)"
    )
    number.add_argument(
        "--max-seconds", type=float, default=300.0, help="of a recording (default: %(default)s)"
    )
    number.add_argument("--max-voices", type=int, default=100, help="uploaded voices (default: %(default)s)")
    number.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        help="seconds until there is sound, or 504 (default: %(default)s)",
    )


def work(arguments: argparse.Namespace) -> None:
    """Serves as the arguments say; ValueError with one sentence where they cannot be followed."""
    from hierspeech.web.settings import Settings

    names = ("host", "port", "voice", "device", "precision", "workers", "queue", "max_batch", "max_text")
    names += ("max_upload", "max_seconds", "max_voices", "timeout", "stream", "adapt")
    settings = Settings(
        **{name: getattr(arguments, name) for name in names},
        sample_rate=arguments.output_sr,
        api_keys=read_keys(arguments.api_key_file),
        voices_folder=Path(arguments.voices_folder) if arguments.voices_folder else None,
        cors_origins=tuple(arguments.cors_origin),
        allowed_hosts=tuple(arguments.allowed_host),
    )
    scale = {
        field: getattr(arguments, option)
        for option, field in SCALE.items()
        if getattr(arguments, option) is not None
    }
    if not arguments.ray and (scale or arguments.ray_address):
        option = next((option for option in SCALE if getattr(arguments, option) is not None), "ray_address")
        raise ValueError(f"--{option.replace('_', '-')}: expected with --ray only.")
    try:
        if arguments.ray:
            from hierspeech.web.ray_app import Scale, serve_on_ray

            return serve_on_ray(settings, Scale(**scale), arguments.ray_address, say)
        from hierspeech.web.server import serve
    except ModuleNotFoundError as error:
        extras = "server,cluster" if arguments.ray else "server"
        raise ValueError(f"{error.name} is not installed: pip install 'hierspeech[{extras}]'.") from error
    serve(settings, say)


def read_keys(name: str | None) -> tuple[str, ...]:
    """The keys of the file and of the environment; lines that are empty or begin with # are none."""
    lines = os.environ.get(KEYS_VARIABLE, "").split(",")
    if name is not None:
        try:
            lines += Path(name).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"--api-key-file {name}: cannot be read ({error}).") from error
    keys = tuple(
        dict.fromkeys(line.strip() for line in lines if line.strip() and not line.strip().startswith("#"))
    )
    if name is not None and not keys:
        raise ValueError(f"--api-key-file {name}: holds no key, expected one per line.")
    return keys


if __name__ == "__main__":
    sys.exit(main())
