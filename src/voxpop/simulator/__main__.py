"""Run the simulated network until interrupted: `python -m voxpop.simulator --port 8765 --speed 10`.

`python -m voxpop.simulator firehose --rate 6000` plays a flood in its place.
"""

import argparse
import asyncio
import contextlib
import sys

from voxpop.simulator import firehose
from voxpop.simulator.jetstream import Jetstream


async def _serve(options: argparse.Namespace) -> None:
    server = Jetstream(seed=options.seed)
    url = await server.start(port=options.port, elapsed=options.elapsed, speed=options.speed)
    print(
        f"Jetstream at {url}, directories at {server.http_url}; a made-up night, {options.elapsed / 3600:g} h old."
    )
    try:
        await asyncio.Event().wait()
    finally:
        await server.stop()


def main() -> None:
    """Read the options and serve."""
    if sys.argv[1:2] == ["firehose"]:
        firehose.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m voxpop.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=8765, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--seed", type=int, default=7, help="which night")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of the night in a second")
    parser.add_argument(
        "--elapsed", type=float, default=7200.0, help="how old the night is at the start, in seconds"
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
