"""Write requirements-dev.txt: every package that development and tests need, with digests of its files; and beside the
fuzzer's targets what they need besides.

pip-tools resolves for the Python that runs it, and leaves out what only a later one needs; that is added here with its
marker. Run it with the oldest Python that we support: `make lock`.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "requirements-dev.txt"
FUZZER = ROOT / "tests" / "fuzz" / "requirements.txt"
OLDEST = (3, 11)

# What a later Python needs in addition: requirement (as in pyproject.toml), marker, a Python that it installs on.
LATER = (("audioop-lts>=0.2.1", 'python_version >= "3.13"', "3.13"),)
# The fuzzer: the last version for 3.11 is not the one that later ones have.
FUZZING = (
    ("atheris>=3,<4", 'python_version < "3.12"', "3.11"),
    ("atheris>=3,<4", 'python_version >= "3.12"', "3.12", "3.13", "3.14"),
)
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux2014_aarch64", "manylinux_2_28_aarch64")

HEAD = """\
# Every package for development and tests, with the digests of its files. Written by `make lock`; do not edit.
# It holds for Python 3.11 to 3.14.
"""

FUZZER_HEAD = """\
# The fuzzer of `make fuzz`, with the digests of its files: Linux on x86-64. Written by `make lock`; do not edit.
"""


def compiled(output: Path) -> str:
    """What pip-tools resolves, the build's own needs included."""
    options = (
        "--quiet --upgrade --extra dev --build-deps-for editable --generate-hashes --allow-unsafe --strip-extras "
        "--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --no-annotate"
    )
    command = [sys.executable, "-m", "piptools", "compile", *options.split(), "-o", str(output), "pyproject.toml"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=1800)
    return output.read_text()


def pinned(requirement: str, marker: str, *versions: str) -> str:
    """One requirement as a line of the lock, with the digests of its wheels for the platforms that we support."""
    digests: set[str] = set()
    pins: set[str] = set()
    for version, platform in itertools.product(versions, PLATFORMS):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"]
        command += ["--ignore-requires-python"]
        command += ["--only-binary", ":all:", "--target", "none", "--report", "-"]
        command += ["--python-version", version, "--platform", platform, requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            continue  # not every platform name has a wheel of its own
        for item in json.loads(done.stdout)["install"]:
            pins.add(f"{item['metadata']['name']}=={item['metadata']['version']}")
            digests.add(item["download_info"]["archive_info"]["hashes"]["sha256"])
    if len(pins) != 1:
        raise SystemExit(f"{requirement}: no wheels, or of several versions: {sorted(pins)}")
    hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(digests))
    return f"{pins.pop()} ; {marker}{hashes}\n"


def main() -> None:
    """Write the lock."""
    if sys.version_info[:2] != OLDEST:
        raise SystemExit(f"run this with Python {OLDEST[0]}.{OLDEST[1]}: the lock has to hold for it too")
    with tempfile.TemporaryDirectory() as name:
        text = compiled(Path(name) / "lock.txt")
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    for requirement, marker, version in LATER:
        text += pinned(requirement, marker, version)
    OUTPUT.write_text(HEAD + text)
    FUZZER.write_text(FUZZER_HEAD + "".join(itertools.starmap(pinned, FUZZING)))


if __name__ == "__main__":
    main()
