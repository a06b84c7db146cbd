"""From speech to files: silence round it, one loudness, the telephone band, every format, in one run of ffmpeg."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ivr_consent.audio import ffmpeg
from ivr_consent.audio.formats import BAND_RATES, FORMATS, FRAME, RATE
from ivr_consent.audio.measure import (
    METER,
    SILENCE_LUFS,
    TARGET_LUFS,
    Profile,
    Samples,
    mean_level,
    metered,
    peak,
    profiles,
    samples_of,
)
from ivr_consent.audio.phrases import Body
from ivr_consent.core.errors import AudioError

PEAK_DBFS = -3.0
"""No sample is higher: room for the coding noise of G.711 and for what a codec on the way adds."""

LEAD_MS = 90  # silence before speech: the switch's jitter buffer and the caller's handset swallow a beginning
TAIL_MS = 100
MIN_LEAD_MS, MIN_TAIL_MS = 60, 40  # where speech itself begins or ends so softly that it is part of the silence

SHORT_S = 1.2
"""Seconds: a sound shorter than three of the meter's blocks measures as the silence round it; repeated, as itself."""

_LIMIT_DBFS = 20 * math.log10(ffmpeg.LIMIT_AT)  # where the limiter begins
_LEFT_DB = 30.0  # of speech the telephone band takes a few
_CLOSE_LU = 0.3
_FAR_LU = 1.0
_RUNS = 4
_STEPS = 8  # of looking for a gain without writing anything: two or three find it
_STEP_DB = 6.0
_LEAST_SLOPE = 0.1  # LU for a dB: where the limiter takes nearly all of it
_SOFT_DBFS = -38.0  # peaks lower than that are lost in the noise of a telephone line
_MAX_LIMITING = 10.0  # dB: what is pressed further than that is distorted


@dataclass(frozen=True, slots=True)
class Shaped:
    """What was written: samples at 8 kHz, the sound at 8 kHz, its loudness in LUFS and peak in dBFS."""

    samples: int
    master: Samples
    loudness: float
    peak: float
    parts: tuple[tuple[int, int], ...]


def shape(body: Body, formats: Sequence[str], work: Path, stop: threading.Event | None = None) -> Shaped:
    """Write every format of a prompt into ``work``, under its final name.

    Raises :class:`AudioError` when it cannot be brought to the target loudness within the peak limit.
    """
    bands = sorted({FORMATS[form].band for form in formats} | {"narrow"})
    times = math.ceil(SHORT_S * body.rate * 2 / len(body.pcm))
    expected = profiles(samples_of(body.pcm * times), body.rate, bands)
    if expected["narrow"].loudness() <= max(SILENCE_LUFS, mean_level(samples_of(body.pcm)) - _LEFT_DB):
        raise AudioError("nothing is left of it in the telephone band, 200 to 3400 Hz. Use another voice or recording")
    gains = {band: _first_gain(profile) for band, profile in expected.items()}
    lead, tail = (body.rate * ms // 1000 for ms in _silences(expected["narrow"], gains["narrow"]))
    samples = math.ceil((lead + body.samples + tail) * RATE / body.rate / FRAME) * FRAME
    spoken = tuple(place * RATE // body.rate for place in (lead, lead + body.samples))
    job = _Job(body.pcm, body.rate, lead, samples, spoken if times > 1 else None, tuple(formats), work, stop)
    master, loudness = _levelled(job, expected, gains)
    highest = peak(master)
    if highest > PEAK_DBFS or len(master) != samples:
        raise AudioError(
            f"ffmpeg wrote {len(master)} samples with peaks of {highest:.1f} dBFS where {samples} and at most "
            f"{PEAK_DBFS:g} belong. Use the distribution's: {ffmpeg.INSTALL_FFMPEG}"
        )
    parts = tuple(
        (round((begin + lead) * RATE / body.rate), round((end + lead) * RATE / body.rate)) for begin, end in body.parts
    )
    return Shaped(samples, master, loudness, highest, parts)


@dataclass(frozen=True, slots=True)
class _Job:
    """What is written: 16-bit mono PCM after ``lead`` samples of silence, as a sound of ``samples`` at 8 kHz.

    ``repeated``: from which sample to which a short sound is repeated where it is measured.
    """

    pcm: bytes
    rate: int
    lead: int
    samples: int
    repeated: tuple[int, ...] | None
    formats: tuple[str, ...]
    work: Path
    stop: threading.Event | None


def _levelled(job: _Job, expected: Mapping[str, Profile], gains: Mapping[str, float]) -> tuple[Samples, float]:
    """Write the files until each band measures the target; returns the sound at 8 kHz and its loudness."""
    # not for the limiter to hide: the voice may be fine, but a click in it is not
    most = {band: _LIMIT_DBFS + _MAX_LIMITING - profile.peak for band, profile in expected.items()}
    for band, profile in expected.items():
        if gains[band] > most[band] and profile.loudness(most[band]) < TARGET_LUFS - _FAR_LU:
            raise _clicks(profile)
    tried: Mapping[str, float] = {}
    for _ in range(_RUNS):
        gains = {band: min(gain, most[band]) for band, gain in gains.items()}
        if gains == tried:
            break
        master, tried = _encode(job, gains), gains
        found = {band: _metered(job, band) for band in gains}
        off = [band for band, value in found.items() if abs(TARGET_LUFS - value) > _CLOSE_LU]
        gains = {**gains, **{band: _better(expected[band], gains[band], found[band]) for band in off}}
    for band, value in found.items():
        (job.work / f"{band}.r128").unlink()
        if abs(TARGET_LUFS - value) > _FAR_LU:
            if tried[band] == most[band]:
                raise _clicks(expected[band])
            raise AudioError(
                f"its loudness stays at {value:.1f} LUFS where {TARGET_LUFS:g} belong. Use another voice, or record it "
                "more evenly"
            )
    return master, found["narrow"]


def _clicks(profile: Profile) -> AudioError:
    return AudioError(
        f"single peaks are {profile.peak - profile.loudness():.0f} dB above its loudness, so it cannot be "
        "made loud enough. Remove clicks and knocks from the recording, or use another voice"
    )


def _metered(job: _Job, band: str) -> float:
    """The loudness of a band. A disk that is full cuts files short without a word from ffmpeg, the meter's own too."""
    text = (job.work / f"{band}.r128").read_text()
    cut = [form for form in job.formats if (job.work / FORMATS[form].file).stat().st_size != _size(job, form)]
    if cut or not text.endswith("\n") or "lavfi.r128.I=" not in text:
        raise AudioError(f"{job.work.parent}: what ffmpeg wrote was cut short. Free space there, then build again")
    return metered(text)


def _size(job: _Job, form: str) -> int:
    return FORMATS[form].bytes(job.samples)


def _silences(profile: Profile, gain: float) -> tuple[int, int]:
    """Milliseconds of silence before and after: shorter where the speech fades in or out, as an s does by telephone."""
    loud = profile.louder_than(_SOFT_DBFS - gain)
    before, after = (loud[0], len(profile.peaks) - 1 - loud[1]) if loud else (0, 0)
    return max(LEAD_MS - before, MIN_LEAD_MS), max(TAIL_MS - after, MIN_TAIL_MS)


def _first_gain(profile: Profile) -> float:
    """The gain in dB with which a sound is going to have the target loudness."""
    return _gain_to(profile, TARGET_LUFS, TARGET_LUFS - profile.loudness(limited=False))


def _better(profile: Profile, gain: float, found: float) -> float:
    """The gain in dB to try after one with which a sound measured as ``found``, in LUFS.

    More gain brings less loudness where the limiter works: how much less, the profile knows, whatever it is off by.
    """
    return _gain_to(profile, profile.loudness(gain) + TARGET_LUFS - found, gain)


def _gain_to(profile: Profile, target: float, gain: float) -> float:
    """The gain in dB with which a profile has a loudness, to within a third of what is close enough; from a guess."""
    slope, before = 1.0, (gain, profile.loudness(gain))
    for _ in range(_STEPS):
        off = target - before[1]
        if abs(off) <= _CLOSE_LU / 3:
            break
        gain = before[0] + min(max(off / slope, -_STEP_DB), _STEP_DB)
        now = gain, profile.loudness(gain)
        slope = min(max((now[1] - before[1]) / (now[0] - before[0]), _LEAST_SLOPE), 1.0)
        before = now
    return before[0]


def _encode(job: _Job, gains: Mapping[str, float]) -> Samples:
    """One run of ffmpeg writes all formats and measures each band; returns the sound at 8 kHz."""
    graph = [
        f"[0:a]aformat=sample_fmts=fltp,adelay=delays={job.lead}S,asplit={len(gains)}"
        + "".join(f"[in-{band}]" for band in gains)
    ]
    options: list[str] = []
    for band, gain in gains.items():
        members = [form for form in job.formats if FORMATS[form].band == band]
        outputs = [f"meter-{band}", *(f"to-{form}" if _finish(form, job) else form for form in members)]
        outputs += ["master"] if band == "narrow" else []
        chain = _chain(band, gain, job.samples)
        graph.append(f"[in-{band}]{chain},asplit={len(outputs)}" + "".join(f"[{name}]" for name in outputs))
        graph.append(f"[meter-{band}]{_repetition(job, band)}{METER}{band}.r128,anullsink")
        graph += [f"[to-{form}]{_finish(form, job)}[{form}]" for form in members if _finish(form, job)]
        for form in members:
            made = FORMATS[form]
            # -bitexact: no tag with the encoder's name, hence the plain header, and the same bytes on every build
            options += ["-map", f"[{form}]", "-map_metadata", "-1", "-bitexact", "-c:a", made.encoder]
            options += ["-f", made.muxer, f"file:{made.file}"]
    options += ["-map", "[master]", "-f", "s16le", *ffmpeg.TO_PIPE]
    command = [*ffmpeg.pcm_input(job.rate), "-filter_complex", ";".join(graph), *options]
    return samples_of(ffmpeg.run(command, job.pcm, stop=job.stop, folder=job.work))


def _chain(band: str, gain: float, samples: int) -> str:
    """Filters of one band; the gain is applied where floating point cannot clip."""
    to_rate = {
        "narrow": f"{ffmpeg.WIDE},{ffmpeg.NARROW}",
        "wide": ffmpeg.WIDE,
        "full": "aresample=48000:filter_size=64",
    }
    factor = BAND_RATES[band] // RATE
    delay = ffmpeg.LIMIT_DELAY_MS * RATE // 1000 * factor
    length = samples * factor
    return (
        f"volume={gain:.3f}dB:precision=float,{to_rate[band]},apad=whole_len={length + delay},{ffmpeg.LIMIT},"
        # what the limiter delays is cut off again, so that every part is where its mark says
        f"atrim=start_sample={delay}:end_sample={length + delay},asetpts=PTS-STARTPTS,"
        f"aformat=sample_rates={BAND_RATES[band]}"
    )


def _repetition(job: _Job, band: str) -> str:
    """Filters before the meter, which sees a short sound as often as makes it long; none for a longer one."""
    if job.repeated is None:
        return ""
    begin, end = (sample * BAND_RATES[band] // RATE for sample in job.repeated)
    times = math.ceil(SHORT_S * BAND_RATES[band] / (end - begin))
    return f"atrim=start_sample={begin}:end_sample={end},asetpts=PTS-STARTPTS,aloop=loop={times}:size={end - begin},"


def _finish(name: str, job: _Job) -> str:
    """Filters of one format alone; none for most."""
    form = FORMATS[name]
    if form.gain:
        return f"volume={form.gain}dB"
    if form.rate == BAND_RATES[form.band]:
        return ""
    # a resampler of its own, or else ffmpeg puts one before the band's other formats too
    length = job.samples * form.rate // RATE
    return f"aresample={form.rate}:filter_size=64,apad=whole_len={length},atrim=end_sample={length}"
