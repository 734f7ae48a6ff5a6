"""What every command shares: names of options, form of error messages, exit statuses."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from unittest import mock

import docstring_parser
import tyro
from tqdm import tqdm

from tcae import __version__
from tcae.cli.messages import first_line
from tcae.cli.streams import unfailing_streams
from tcae.cli.usage_errors import usage_error

if TYPE_CHECKING:
    import torch

DONE = 0
"""Exit status: everything asked for was done."""
SOME_FAILED = 1
"""Exit status: finished, but some of the input failed, each named on a line of its own."""
FAILED = 2
"""Exit status: the work could not be done; one line says why."""
INTERRUPTED = 130
"""Exit status: stopped by Ctrl-C."""

DataOption = Annotated[
    Path, tyro.conf.arg(help="Packed data set: the directory that tcae.pack wrote.")
]
OutOption = Annotated[Path, tyro.conf.arg(help="Directory for the result.")]
EncoderOption = Annotated[
    Path,
    tyro.conf.arg(
        help="A run directory of tcae.train, an encoder.safetensors file, or the name of weights "
        "that ship with the package, such as synthetic-64."
    ),
]
FaceEncoderOption = Annotated[
    Path,
    tyro.conf.arg(
        help="A run directory of tcae.train, an encoder.safetensors file, or the name of weights "
        "that ship with the package, such as synthetic-64. To compare: a method without training "
        "(pixels, random_weights, hog, lbp), or a network of somebody else's and the side of its "
        "images, as vgg.onnx@224."
    ),
]
ProbeOption = Annotated[
    Path | None,
    tyro.conf.arg(
        help="Probe of this encoder: a directory or probe.safetensors of tcae.probe, a run "
        "directory of tcae.train, or the name of weights that ship with the package."
    ),
]
NeutralOption = Annotated[
    str,
    tyro.conf.arg(
        help="Which face is at rest: what it shows is taken off the person's action units. auto: "
        "the calmest tenth of the face's frames in the video; START:END: seconds of the video; "
        "FILE: a picture or video of the person; or none."
    ),
]
SmoothOption = Annotated[
    float,
    tyro.conf.arg(help="Smooth action units over so many seconds, without a delay. Default: no."),
]
LabelsOption = Annotated[
    Path | None,
    tyro.conf.arg(
        help="CSV file frame,subject,AU01,AU02,... with 0 (absent), 1 (present), 9 or nothing "
        "(unknown). Default: DATA/labels.csv."
    ),
]
FoldsOption = Annotated[
    str | None,
    tyro.conf.arg(
        help="Number of folds that the subjects are divided into, or a CSV file subject,fold. "
        "Subjects of a fold named train are never tested, those of a fold named unused are "
        "left out. Default: DATA/folds.csv, or 3 folds if there is none."
    ),
]
ImageSizeOption = Annotated[
    int,
    tyro.conf.arg(help="Side of the square face images in pixels: a multiple of 16, at least 32."),
]
BatchSizeOption = Annotated[
    int, tyro.conf.arg(help="Samples in a batch, over all processes together.")
]
SeedOption = Annotated[
    int,
    tyro.conf.arg(
        help="Seed of all random numbers. The same seed gives the same result to the bit."
    ),
]
DeviceOption = Annotated[
    str,
    tyro.conf.arg(
        help="Where to compute: auto (on a GPU if there is one), cpu, cuda, cuda:1, mps ..."
    ),
]
WorkersOption = Annotated[
    int, tyro.conf.arg(help="Processes that load data. 0: the main process loads it.")
]
ToneMapOption = Annotated[
    bool,
    tyro.conf.arg(
        help="Read HDR (PQ, HLG) in ordinary colours instead of refusing it: videos and pictures."
    ),
    tyro.conf.FlagCreatePairsOff,
]
OverwriteOption = Annotated[
    bool,
    tyro.conf.arg(help="Replace an earlier result at --out."),
    tyro.conf.FlagCreatePairsOff,
]

OptionsT = TypeVar("OptionsT")

# Errors that a user can cause and correct. Anything else is a bug and keeps its traceback.
_EXPECTED = (ValueError, TypeError, OSError, FloatingPointError)


def run(
    main: Callable[[OptionsT], int],
    options: type[OptionsT],
    *,
    prog: str,
    argv: Sequence[str] | None = None,
    default: Callable[[Sequence[str]], OptionsT] | None = None,
) -> int:
    """Parse the command line, do the work, return the exit status.

    A ``ValueError``, ``TypeError``, ``OSError`` or ``FloatingPointError`` becomes one line on
    stderr and status 2; with ``TCAE_TRACEBACK=1`` in the environment it keeps its traceback.
    What the package says with ``logging.getLogger(__name__).warning`` is one line on stderr too.
    A line that cannot be printed undoes no work: see `unfailing_streams`.

    Args:
        main: Does the work and returns the exit status (``DONE``, ``SOME_FAILED`` ...).
        options: Dataclass of the options; its docstring is the command's description.
        prog: The command's module, such as ``"tcae.probe"``, perhaps with the process's number
            after it. Messages and help name the command as the user started it: ``tcae probe`` or
            ``python -m tcae.probe``.
        argv: The words after the command's name, ``sys.argv[1:]`` if None.
        default: Gives the options' defaults when they depend on the command line itself.

    Example:
        >>> def main(argv: Sequence[str] | None = None) -> int:
        ...     return command.run(probe, ProbeOptions, prog="tcae.probe", argv=argv)
    """
    words = list(sys.argv[1:] if argv is None else argv)
    name = prog.replace(".", " ", 1) if _started_by_name() else prog
    logging.getLogger("tcae").handlers = [_LineHandler(name)]
    with unfailing_streams():
        if "--version" in words:
            print(f"{name} {__version__}")
            return DONE
        return _status(lambda: main(_parse(options, words, name, default)), name)


def _status(work: Callable[[], int], name: str) -> int:
    """Do the work and return its exit status; what stops it is said on a line."""
    try:
        return work()
    except KeyboardInterrupt:
        _say(name, "interrupted")
        return INTERRUPTED
    except _EXPECTED as error:
        if os.environ.get("TCAE_TRACEBACK") == "1":
            raise
        _say(name, f"error: {one_line(error)}")
        return FAILED
    except SystemExit as stop:  # --help
        return int(stop.code or 0)


def one_line(error: BaseException) -> str:
    """Return the message of an error as a single line. An ``OSError`` names its file first.

    Example:
        >>> one_line(FileNotFoundError(2, "No such file or directory", "a.mp4"))
        'a.mp4: No such file or directory'
    """
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def check_out_file(path: Path, overwrite: bool) -> None:
    """Refuse to replace a file without --overwrite, or a directory, before any work is done.

    Raises:
        ValueError: Something is there that may not be replaced.
    """
    if path.is_dir() or (path.exists() and not overwrite):
        raise ValueError(f"--out {path}: already there; give another or --overwrite")


def check_out_directory(path: Path, overwrite: bool) -> None:
    """Refuse to write into a directory with something in it without --overwrite, or over a file.

    Raises:
        ValueError: Something is there that may not be replaced.
    """
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not overwrite)):
        raise ValueError(f"--out {path}: already there; choose another or give --overwrite")


def device_of(name: str) -> torch.device:
    """Return the device that ``--device`` names.

    Raises:
        ValueError: No such device, or torch cannot use it on this machine.
    """
    import torch  # not above: --help and commands without a network need not wait for it

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"--device {name}: torch cannot use it here ({first_line(error)})"
        ) from None
    return device


class _LineHandler(logging.Handler):
    """Prints log records as lines like the commands' own, beside a progress bar."""

    def __init__(self, prog: str) -> None:
        super().__init__(logging.WARNING)
        self._prog = prog

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        _say(self._prog, f"{record.levelname.lower()}: {text}")


def _started_by_name() -> bool:
    """Whether the user wrote ``tcae COMMAND``, not ``python -m tcae.COMMAND``."""
    program = Path(sys.argv[0])
    return program.stem == "tcae" or program.parts[-2:] == ("tcae", "__main__.py")


def _parse(
    options: type[OptionsT],
    words: list[str],
    name: str,
    default: Callable[[Sequence[str]], OptionsT] | None,
) -> OptionsT:
    chosen = tyro.MISSING_NONPROP if default is None else default(words)
    typed = name.partition(" (")[0]
    typed = typed if " " in typed else f"python -m {typed}"
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages), _whole_sentences():
            return tyro.cli(options, prog=typed, args=words, default=chosen)
    except SystemExit as stop:
        if not stop.code:
            raise
        described = io.StringIO()
        with contextlib.redirect_stdout(described), contextlib.suppress(SystemExit):
            tyro.cli(options, args=["--help"], default=chosen)
        line = usage_error(messages.getvalue(), words, described.getvalue())
        raise ValueError(f"{line} ({typed} --help explains the options)") from None


def _whole_sentences() -> AbstractContextManager[Any]:
    """Let help texts flow: tyro breaks their lines where the docstring of a field has a break."""
    parse = docstring_parser.parse_from_object

    def parse_joined(options: Any) -> docstring_parser.Docstring:
        docstring = parse(options)
        for field in docstring.params:
            field.description = " ".join((field.description or "").split())
        return docstring

    return mock.patch.object(docstring_parser, "parse_from_object", parse_joined)


def _say(prog: str, text: str) -> None:
    tqdm.write(f"{prog}: {text}", file=sys.stderr)
    sys.stderr.flush()
