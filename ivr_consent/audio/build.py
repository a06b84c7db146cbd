"""Prompts for the switch: text to speech, trimmed, levelled, and written in every format, with a manifest.

The proof that a caller heard a notice counts samples, so every length here is exact: all formats at 8 kHz have the
same number of samples, a multiple of 160 (20 ms, one frame of GSM), and the one at 16 kHz has exactly twice as many.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ivr_consent.audio.speech import CommandError, Speech, Voice, engine_version, run_bounded, speak
from ivr_consent.core.errors import AudioError, Problem
from ivr_consent.core.notice import IDENTIFIER, text_sha256

with warnings.catch_warnings():
    # pydub as released has invalid escapes in its patterns, and warns when it does not find the ffmpeg
    # that it is never asked to run here
    warnings.simplefilter("ignore")
    from pydub import AudioSegment
    from pydub.silence import detect_leading_silence

MANIFEST = "manifest.json"
MANIFEST_SCHEMA = 1
FORMATS = ("ulaw", "alaw", "wav", "sln16", "gsm")
"""Every format by its file name's ending, Asterisk's name for it; ``gsm`` only where ffmpeg has the encoder."""

RATE = 8000  # Hz, of every format but sln16
FRAME = 160  # samples at 8 kHz in 20 ms
LEAD_MS = 120  # silence before speech: the switch's jitter buffer and the caller's handset swallow a beginning
TAIL_MS = 250
MIN_SPEECH_S = 0.1
MAX_PROMPT_S = 600.0
TARGET_DBFS = -20.0  # mean level of the speech itself, in dB below a full-scale square wave
PEAK_DBFS = -3.0
INSTALL_FFMPEG = "install ffmpeg: apt-get install ffmpeg"
FFMPEG_TIMEOUT_S = 60.0
MAX_MANIFEST = 16 * 1024 * 1024  # bytes

# Raised with every change below that changes the sound, so that older files are built anew.
_PIPELINE = 1
_WAV_HEADER = 44  # bytes: all that Asterisk's reader copes with
_LOSS_DB = 1.1  # what the telephone band and the limiter take from speech: a first guess, corrected by measuring
_CLOSE_DB = 0.5
_SILENCE_DB = 40.0  # so far below the mean level lies silence
_SHA256 = re.compile(r"[0-9a-f]{64}")

# 0.66 is -3.6 dBFS, a little under PEAK_DBFS for the coding noise of A-law, mu-law. A limiter delays by its attack:
# both branches by 5 ms, which the silence at the end pays for.
_LIMIT = (
    "aformat=sample_fmts=dbl:channel_layouts=mono,alimiter=limit=0.66:attack=5:release=50:level=0,"
    "aformat=sample_fmts=s16"
)
_WIDE = "aresample=16000:filter_size=64"
# From 16 kHz always, also for a voice of 8 kHz: so the steep cut at 0.85 x 4000 Hz holds for every source.
_NARROW = "highpass=f=200:p=2,aresample=8000:filter_size=128:cutoff=0.85"

Progress = Callable[[str, int, int], None]
"""Called after each prompt with its id, how many are done, and of how many."""


@dataclass(frozen=True, slots=True)
class AudioFile:
    """One file of a prompt: ``samples`` in the format's own rate, ``bytes`` on disk, digest in hexadecimal."""

    name: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PromptAudio:
    """One prompt: the digest of its text, its length in samples at 8 kHz, and its files by format."""

    id: str
    text_sha256: str
    samples: int
    files: Mapping[str, AudioFile]

    @property
    def sha256(self) -> str:
        """One digest for all formats: of the lines ``FORMAT SHA256``, sorted, each ended by a line feed."""
        lines = sorted(f"{form} {file.sha256}\n" for form, file in self.files.items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def duration_s(self) -> float:
        """Seconds that it plays."""
        return self.samples / RATE


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was built into one directory, from what, and by which voice; prompts by id, in the order of the texts."""

    language: str
    engine: str
    engine_version: str
    voice: str
    parameters: str
    prompts: Mapping[str, PromptAudio]

    @property
    def duration_s(self) -> float:
        """Seconds of all prompts together."""
        return sum(prompt.duration_s for prompt in self.prompts.values())


@functools.lru_cache(maxsize=1)
def available_formats() -> tuple[str, ...]:
    """The formats that this machine's ffmpeg writes. Raises :class:`AudioError` when it is missing or lacks one."""
    try:
        listing = run_bounded(["ffmpeg", "-hide_banner", "-encoders"], b"", timeout_s=20, max_output=1 << 20)
    except CommandError as error:
        raise AudioError(f"{error}. If it is missing, {INSTALL_FFMPEG}") from None
    encoders = {words[1] for line in listing.decode("utf-8", "replace").splitlines() if len(words := line.split()) > 1}
    for needed in ("pcm_mulaw", "pcm_alaw", "pcm_s16le"):
        if needed not in encoders:
            raise AudioError(f"this ffmpeg has no encoder {needed}. Use the distribution's: {INSTALL_FFMPEG}")
    return FORMATS if "libgsm" in encoders else FORMATS[:-1]


def build_prompts(
    texts: Mapping[str, str],
    language: str,
    destination: Path,
    *,
    voice: Voice,
    progress: Progress | None = None,
) -> Manifest:
    """Speak every text (id to final text) into ``destination``, in every format, and write its ``manifest.json``.

    A prompt whose text, voice, engine version and parameters are those of the manifest already there, and whose files
    are intact, is kept as it is. Files appear whole or not at all, the manifest last: after an interruption
    :func:`verify_manifest` finds what does not fit, and building again mends it. Files of ids that are no longer in
    ``texts`` stay on disk, since a call may be playing them, but leave the manifest.

    Blocks while it builds on all processors. Raises :class:`AudioError` (with the prompt's id) on the first failure.
    """
    for prompt_id in texts:
        if not IDENTIFIER.fullmatch(prompt_id):
            raise AudioError(
                f"{prompt_id!r} cannot become a file name. Use small letters, digits and hyphens, at most 64"
            )
    if not texts:
        raise AudioError("there is no text to build a prompt from. Give at least one segment")
    if voice.language != language:
        raise AudioError(f"the voice speaks {voice.language!r}, the prompts are in {language!r}. Choose another voice")
    formats = available_formats()
    made = Manifest(
        language, voice.engine, engine_version(voice), voice.name, _parameters(voice, formats), MappingProxyType({})
    )
    folder = _make_folder(destination)
    prompts = dict(_kept(texts, made, folder))
    done = 0
    for prompt_id in prompts:
        done += 1
        if progress is not None:
            progress(prompt_id, done, len(texts))
    missing = [prompt_id for prompt_id in texts if prompt_id not in prompts]
    if missing:
        work = Path(tempfile.mkdtemp(prefix=".build-", dir=folder))
        stop = threading.Event()
        pool = ThreadPoolExecutor(min(os.cpu_count() or 1, len(missing)), thread_name_prefix="prompt")
        try:
            futures: dict[Future[PromptAudio], str] = {
                pool.submit(_build, prompt_id, texts[prompt_id], voice, formats, work, stop): prompt_id
                for prompt_id in missing
            }
            for future in as_completed(futures):
                prompt = future.result()
                _publish(prompt, work, folder)
                prompts[prompt.id] = prompt
                done += 1
                if progress is not None:
                    progress(prompt.id, done, len(texts))
        finally:
            # also on Ctrl-C: running programs are ended, waiting ones never start, nothing half-made stays
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            shutil.rmtree(work, ignore_errors=True)
    manifest = Manifest(
        made.language,
        made.engine,
        made.engine_version,
        made.voice,
        made.parameters,
        MappingProxyType({prompt_id: prompts[prompt_id] for prompt_id in texts}),
    )
    _write_manifest(manifest, folder)
    return manifest


def load_manifest(path: Path) -> Manifest:
    """Read a ``manifest.json``. Raises :class:`AudioError` when it is missing, damaged, or not of our form.

    That it is well formed says nothing about the files: ask :func:`verify_manifest`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST + 1)
        return _manifest_from(json.loads(data) if len(data) <= MAX_MANIFEST else None)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror}). Build the prompts") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise AudioError(f"{path}: is not a manifest of ours ({error}). Build the prompts again") from None


def verify_manifest(manifest: Manifest, directory: Path) -> list[Problem]:
    """Compare every file with the manifest: there, of the right size, not empty, unchanged. Reads every byte."""
    problems = []
    for prompt in manifest.prompts.values():
        for form, file in prompt.files.items():
            where = directory / file.name
            found = _fault(where, form, prompt, file)
            if found:
                problems.append(Problem(str(where), found, "Build the prompts again; until then nothing is recorded"))
    return problems


def telephone_band(pcm: bytes, rate: int) -> bytes:
    """Resample 16-bit mono PCM of ``rate`` Hz to 8 kHz through the very filters that prompts go through.

    Returns 16-bit PCM, limited to 200–3400 Hz and to -3.6 dBFS, neither levelled nor padded.
    """
    graph = f"aformat=sample_fmts=fltp,{_WIDE},{_NARROW},{_LIMIT}"
    argv = [*_ffmpeg(rate), "-af", graph, "-f", "s16le", "pipe:1"]
    return _run_ffmpeg(argv, pcm, None, max_output=int(MAX_PROMPT_S * RATE * 2))


# one prompt


def _build(
    prompt_id: str, text: str, voice: Voice, formats: Sequence[str], work: Path, stop: threading.Event
) -> PromptAudio:
    """Make all files of one prompt in ``work``."""
    try:
        audio = _trimmed(speak(text, voice, stop=stop))
        samples = _shape(audio, prompt_id, formats, work, stop)
        files = {form: _measured(work / f"{prompt_id}.{form}", form, samples) for form in formats}
    except AudioError as error:
        raise AudioError(f"prompt {prompt_id!r}: {error}") from error
    return PromptAudio(prompt_id, text_sha256(text), samples, MappingProxyType(files))


def _shape(speech: Any, prompt_id: str, formats: Sequence[str], work: Path, stop: threading.Event) -> int:
    """Put silence round the speech, bring it to its level, write every format; returns the samples at 8 kHz."""
    lead = AudioSegment.silent(LEAD_MS, frame_rate=speech.frame_rate)
    tail = AudioSegment.silent(TAIL_MS, frame_rate=speech.frame_rate)
    padded = lead + speech + tail
    samples: int = math.ceil(int(padded.frame_count()) * RATE / padded.frame_rate / FRAME) * FRAME
    gain = TARGET_DBFS + _LOSS_DB - float(speech.dBFS)
    peak = 0.0
    for _ in range(3):
        _encode(padded, gain, samples, prompt_id, formats, work, stop)
        level, peak = _levels(work / f"{prompt_id}.wav", speech.duration_seconds)
        if abs(TARGET_DBFS - level) <= _CLOSE_DB:
            break
        gain += TARGET_DBFS - level
    if not peak <= PEAK_DBFS:
        raise AudioError(f"its peaks reach {peak:.1f} dBFS. Use the distribution's ffmpeg: {INSTALL_FFMPEG}")
    return samples


def _trimmed(speech: Speech) -> Any:
    """As a mono pydub segment without the silence at both ends."""
    audio = AudioSegment(data=speech.pcm, sample_width=2, frame_rate=speech.rate, channels=speech.channels)
    audio = audio.set_channels(1)
    if audio.max == 0 or audio.dBFS < -70:
        raise AudioError("the voice said nothing. Write words that it speaks")
    threshold = audio.dBFS - _SILENCE_DB
    begin = detect_leading_silence(audio, threshold)
    end = detect_leading_silence(audio.reverse(), threshold)
    audio = audio[begin : len(audio) - end]
    if audio.duration_seconds < MIN_SPEECH_S:
        raise AudioError(f"only {audio.duration_seconds:.2f} s were spoken. Write words that the voice speaks")
    if audio.duration_seconds > MAX_PROMPT_S:
        raise AudioError(f"{audio.duration_seconds:.0f} s were spoken. Split the segment")
    return audio


def _encode(
    audio: Any, gain: float, samples: int, prompt_id: str, formats: Sequence[str], work: Path, stop: threading.Event
) -> None:
    """One run of ffmpeg writes all formats; the gain is applied there, where floating point cannot clip."""
    split = "".join(f"[{form}]" for form in formats if form != "sln16")
    graph = (
        f"aformat=sample_fmts=fltp,volume={gain:.3f}dB:precision=float,{_WIDE},asplit=2[wide][band];"
        f"[wide]{_LIMIT},apad=whole_len={2 * samples},atrim=end_sample={2 * samples}[sln16];"
        f"[band]{_NARROW},{_LIMIT},apad=whole_len={samples},atrim=end_sample={samples},"
        f"asplit={len(formats) - 1}{split}"
    )
    codecs = {
        "ulaw": ("pcm_mulaw", "mulaw"),
        "alaw": ("pcm_alaw", "alaw"),
        "wav": ("pcm_s16le", "wav"),
        "sln16": ("pcm_s16le", "s16le"),
        "gsm": ("libgsm", "gsm"),
    }
    argv = [*_ffmpeg(audio.frame_rate), "-filter_complex", graph]
    for form in formats:
        encoder, muxer = codecs[form]
        # -bitexact: no tag with the encoder's name, hence the plain header, and the same bytes on every build
        argv += ["-map", f"[{form}]", "-map_metadata", "-1", "-bitexact", "-c:a", encoder, "-f", muxer]
        argv.append(f"file:{work / f'{prompt_id}.{form}'}")
    _run_ffmpeg(argv, bytes(audio.raw_data), stop, max_output=0)


def _ffmpeg(rate: int) -> list[str]:
    """The command up to its input: 16-bit mono PCM of ``rate`` Hz on stdin, no other protocol than files and pipes."""
    options = ["-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-protocol_whitelist", "file,pipe"]
    return ["ffmpeg", *options, "-f", "s16le", "-ar", str(rate), "-ac", "1", "-i", "pipe:0"]


def _run_ffmpeg(argv: list[str], pcm: bytes, stop: threading.Event | None, *, max_output: int) -> bytes:
    try:
        return run_bounded(argv, pcm, timeout_s=FFMPEG_TIMEOUT_S, max_output=max_output, stop=stop)
    except CommandError as error:
        raise AudioError(f"{error}. If it is missing, {INSTALL_FFMPEG}") from None


def _levels(wav: Path, speech_s: float) -> tuple[float, float]:
    """Mean level of the speech between the silences, and highest peak of all, both in dBFS, of an 8 kHz WAV."""
    pcm = wav.read_bytes()[_WAV_HEADER:]
    whole = AudioSegment(data=pcm, sample_width=2, frame_rate=RATE, channels=1)
    begin = LEAD_MS * RATE // 1000
    inner = pcm[2 * begin : 2 * (begin + round(speech_s * RATE))]
    speech = AudioSegment(data=inner, sample_width=2, frame_rate=RATE, channels=1)
    if speech.max == 0:
        raise AudioError("nothing is left of the speech in the telephone band. Use another voice")
    return float(speech.dBFS), float(whole.max_dBFS)


def _size(form: str, samples: int) -> int:
    """Bytes that a format needs for a prompt of so many samples at 8 kHz."""
    return {
        "ulaw": samples,
        "alaw": samples,
        "wav": _WAV_HEADER + 2 * samples,
        "sln16": 4 * samples,
        "gsm": samples // FRAME * 33,
    }[form]


def _measured(path: Path, form: str, samples: int) -> AudioFile:
    """Describe a file just made; its length is checked, not assumed."""
    size, digest = _digest(path)
    if size != _size(form, samples):
        raise AudioError(
            f"{path.name} has {size} bytes where {_size(form, samples)} belong. Use another ffmpeg: {INSTALL_FFMPEG}"
        )
    return AudioFile(path.name, 2 * samples if form == "sln16" else samples, size, digest)


def _digest(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


# the folder and its manifest


def _make_folder(destination: Path) -> Path:
    """Make the folder if needed; the switch, another user, must be able to enter what we make."""
    folder = destination.absolute()
    try:
        new = [part for part in (folder, *folder.parents) if not part.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for part in new:
            part.chmod(0o755)
    except OSError as error:
        raise AudioError(f"{folder}: cannot be made ({error.strerror}). Choose a folder you may write to") from None
    return folder


def _parameters(voice: Voice, formats: Sequence[str]) -> str:
    """All that shapes the sound beside text, voice and engine version, as canonical JSON."""
    return json.dumps(
        {"argv": voice.argv, "speed": voice.speed, "pipeline": _PIPELINE, "formats": formats},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )


def _kept(texts: Mapping[str, str], made: Manifest, folder: Path) -> list[tuple[str, PromptAudio]]:
    """Prompts of an earlier build that this one would make again, and whose files are intact."""
    try:
        old = load_manifest(folder / MANIFEST)
    except AudioError:
        return []
    fields = ("language", "engine", "engine_version", "voice", "parameters")
    if any(getattr(old, field) != getattr(made, field) for field in fields):
        return []
    return [
        (prompt_id, prompt)
        for prompt_id, text in texts.items()
        if (prompt := old.prompts.get(prompt_id)) is not None
        and prompt.text_sha256 == text_sha256(text)
        and not any(_fault(folder / file.name, form, prompt, file) for form, file in prompt.files.items())
    ]


def _fault(path: Path, form: str, prompt: PromptAudio, file: AudioFile) -> str:
    """What is wrong with a file on disk; ``""`` when nothing is."""
    try:
        if not path.is_file():
            return "the file is missing"
        size = path.stat().st_size
        if size == 0:
            return "the file is empty"
        if size != file.bytes or size != _size(form, prompt.samples):
            return f"the file has {size} bytes where {_size(form, prompt.samples)} belong"
        if _digest(path)[1] != file.sha256:
            return "the file was changed after it was built"
    except OSError as error:
        return f"the file cannot be read ({error.strerror})"
    return ""


def _publish(prompt: PromptAudio, work: Path, folder: Path) -> None:
    """Move the files of a finished prompt to their place, each in one step and already on disk."""
    try:
        for file in prompt.files.values():
            made = work / file.name
            made.chmod(0o644)
            _sync(made)
            made.replace(folder / file.name)
    except OSError as error:
        raise AudioError(f"{folder}: cannot be written ({error.strerror}). Free space, or choose another") from None


def _write_manifest(manifest: Manifest, folder: Path) -> None:
    text = json.dumps(_manifest_to(manifest), sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    try:
        descriptor, name = tempfile.mkstemp(prefix=".manifest-", dir=folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            Path(name).replace(folder / MANIFEST)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise
        _sync(folder)
    except OSError as error:
        raise AudioError(f"{folder / MANIFEST}: cannot be written ({error.strerror}). Free space") from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _manifest_to(manifest: Manifest) -> dict[str, Any]:
    return {
        "schema": MANIFEST_SCHEMA,
        "language": manifest.language,
        "engine": manifest.engine,
        "engine_version": manifest.engine_version,
        "voice": manifest.voice,
        "parameters": manifest.parameters,
        "order": list(manifest.prompts),  # keys are sorted in the file
        "prompts": {
            prompt.id: {
                "text_sha256": prompt.text_sha256,
                "samples": prompt.samples,
                "files": {
                    form: {"name": file.name, "samples": file.samples, "bytes": file.bytes, "sha256": file.sha256}
                    for form, file in prompt.files.items()
                },
            }
            for prompt in manifest.prompts.values()
        },
    }


def _manifest_from(document: Any) -> Manifest:
    """Check and convert a parsed manifest. Raises ValueError, KeyError or TypeError for anything not of the form."""
    if not isinstance(document, dict) or document.get("schema") != MANIFEST_SCHEMA:
        raise ValueError(f"its schema is not {MANIFEST_SCHEMA}")
    order, table = document["order"], document["prompts"]
    if not isinstance(order, list) or not isinstance(table, dict) or sorted(order) != sorted(table):
        raise ValueError("its order does not list its prompts")
    prompts = {prompt_id: _prompt_from(prompt_id, table[prompt_id]) for prompt_id in order}
    words = {name: document[name] for name in ("language", "engine", "engine_version", "voice", "parameters")}
    if not all(isinstance(word, str) for word in words.values()):
        raise ValueError("a name in it is not a text")
    return Manifest(**words, prompts=MappingProxyType(prompts))


def _prompt_from(prompt_id: str, document: Any) -> PromptAudio:
    samples, files = document["samples"], {}
    if not IDENTIFIER.fullmatch(prompt_id) or not _SHA256.fullmatch(document["text_sha256"]):
        raise ValueError(f"prompt {prompt_id!r} has a wrong id or digest")
    if type(samples) is not int or samples <= 0 or samples % FRAME:
        raise ValueError(f"prompt {prompt_id!r} has {samples!r} samples")
    if not document["files"]:
        raise ValueError(f"prompt {prompt_id!r} has no files")
    for form, entry in document["files"].items():
        file = AudioFile(entry["name"], entry["samples"], entry["bytes"], entry["sha256"])
        own = 2 * samples if form == "sln16" else samples
        # the name follows from the id: nothing in this file can point outside its folder
        if form not in FORMATS or file.name != f"{prompt_id}.{form}" or not _SHA256.fullmatch(file.sha256):
            raise ValueError(f"prompt {prompt_id!r} has a wrong name or digest for {form!r}")
        if type(file.samples) is not int or type(file.bytes) is not int:
            raise ValueError(f"prompt {prompt_id!r} has a length that is no whole number")
        if file.samples != own or file.bytes != _size(form, samples):
            raise ValueError(f"prompt {prompt_id!r} has a length in {form!r} that does not fit")
        files[form] = file
    return PromptAudio(prompt_id, document["text_sha256"], samples, MappingProxyType(files))
