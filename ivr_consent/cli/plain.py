"""What can be said without loading anything: safe lines of text, and which configuration is meant.

Nothing that comes from a log, a switch or a file reaches the terminal unescaped: a caller's name or a line of the log
may hold the bytes that move the cursor, change a title or fake another line (I6).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

ENVIRONMENT: Final = "IVR_CONSENT_CONFIG"
DEFAULT_CONFIG: Final = Path("/etc/ivr-consent/ivr-consent.toml")
LOCAL_CONFIG: Final = Path("ivr-consent.toml")


def config_path(given: Path | None) -> Path:
    """The configuration file to use: the one named, else the one in the current directory, else the system's."""
    if given is not None:
        return given
    return LOCAL_CONFIG if LOCAL_CONFIG.is_file() else DEFAULT_CONFIG


def safe(value: object) -> str:
    """Any value as one line of text without a character that a terminal would act upon."""
    return "".join(
        character if character.isprintable() else _escaped(character) for character in str(value).expandtabs(4)
    )


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"


def say(text: object = "", *, error: bool = False) -> None:
    """Print one line, made safe."""
    stream = sys.stderr if error else sys.stdout
    line = safe(text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    # A terminal that cannot show a letter of a notice must not end the program.
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
