"""``python -m tcae.demo``: open a page on this computer that reads faces live and edits them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from tcae.cli import command
from tcae.cli.progress import say
from tcae.cli.signals import terminations_as_interrupts


@dataclass(frozen=True)
class DemoOptions:
    """Open a page where pictures, videos and the camera move bars, and sliders move a face.

    It runs until Ctrl-C. Only this computer can reach it, nothing is loaded from anywhere else, and
    no picture is written to the disk.
    """

    port: Annotated[
        int, tyro.conf.arg(help="Port of the page on this computer. 0: any that is free.")
    ] = 8765


def demo(options: DemoOptions) -> int:
    """Run ``tcae demo`` and return its exit status."""
    try:
        from tcae.live import server
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("werkzeug"):
            raise
        raise ValueError("the page needs werkzeug: pip install 'tcae[demo]'") from None
    from tcae.live.answers import Answers

    with server.listen(options.port) as heard:
        application = server.Application(Answers())
        say(f"{server.address_of(heard)}  (Ctrl-C ends it)")
        with terminations_as_interrupts():
            server.serve(application, heard)
    say("stopped")
    return command.DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the command line."""
    return command.run(demo, DemoOptions, prog="tcae.demo", argv=argv)


if __name__ == "__main__":
    sys.exit(main())
