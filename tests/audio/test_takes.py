"""Studio takes: good ones are played as recorded, bad ones are each told by name, and none reaches further."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from ivr_consent.audio import takes
from ivr_consent.audio.build import build_prompts
from ivr_consent.audio.store import PromptAudio, Recipe, find, verify
from ivr_consent.audio.takes import CONTAINERS, Take, decode, open_take
from ivr_consent.core.errors import AudioError
from tests.audio.support import ffmpeg, lufs, played, power, sine, wav
from tests.tools import need


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("ffmpeg", "ffprobe")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "notice"
    made.mkdir()
    return made


@pytest.fixture
def work(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


def recorded(path: Path, *options: str, rate: int = 44100, seconds: float = 1.0, hz: float = 440) -> None:
    """A recording of one tone, written by ffmpeg in whatever the name and options say."""
    source = ["-f", "s16le", "-ar", str(rate), "-ac", "1", "-i", "-"]
    ffmpeg(*source, *options, path, data=sine(hz, rate, seconds).tobytes())


def refused(folder: Path, file: str, work: Path, message: str) -> None:
    """A take that is opened or decoded with an error which names it; nothing is left of it."""
    with pytest.raises(AudioError, match=message) as caught:
        decode(open_take(file, folder), work)
    assert file in str(caught.value)
    assert str(caught.value).count(". ") >= 1  # what to do
    assert list(work.iterdir()) == []


def build(take: Take, store: Path) -> PromptAudio:
    (audio,) = build_prompts([Recipe("a", "en", "As recorded.", None, take)], store).values()
    return audio


# good ones


@pytest.mark.parametrize(
    ("name", "rate", "options"),
    [
        ("a.wav", 8000, ()),
        ("a.wav", 96000, ("-c:a", "pcm_s24le")),
        ("a.wav", 44100, ("-c:a", "pcm_f32le")),
        ("a.wav", 8000, ("-c:a", "pcm_mulaw")),
        ("a.flac", 48000, ()),
        ("a.flac", 96000, ("-sample_fmt", "s32")),
        ("a.mp3", 22050, ()),
        ("a.mp3", 44100, ("-b:a", "64k")),
        ("a.ogg", 48000, ("-c:a", "libvorbis")),
        ("a.opus", 48000, ()),
        ("a.m4a", 44100, ()),
        ("a.aac", 48000, ()),
        ("a.aiff", 32000, ()),
        ("a.mka", 48000, ("-c:a", "flac")),
        ("a.caf", 44100, ()),
    ],
)
def test_a_take_is_played_as_recorded(
    name: str, rate: int, options: tuple[str, ...], folder: Path, tmp_path: Path
) -> None:
    recorded(folder / name, *options, rate=rate, seconds=1.5)
    take = open_take(name, folder)
    data = (folder / name).read_bytes()
    assert (take.sha256, take.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert take.path == folder / name
    audio = build(take, tmp_path / "store")
    assert verify(audio, tmp_path / "store") == []
    assert audio.made_by == f"take {take.sha256[:16]}"
    assert audio.marks == ()
    sound, _ = played(audio.path(tmp_path / "store").with_suffix(".wav"))
    assert abs(lufs(sound, 8000) + 20) <= 1
    assert power(sound[2000:10000], 440) > 0.9 * float(np.mean(np.square(sound[2000:10000] / 32768)))
    assert abs(audio.duration_s - 1.69) < 0.1


@pytest.mark.parametrize(
    "name", ["a.wav", "with space.wav", "Ærø.wav", "sub/a.wav", "a b/c-d_e.1.wav", "noend", "x.txt"]
)
def test_names_that_are_allowed(name: str, folder: Path, work: Path) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(wav(sine(440, 16000, 1), 16000))
    assert decode(open_take(name, folder), work).rate == 16000


def test_the_same_recording_elsewhere_is_the_same_sound(folder: Path, tmp_path: Path) -> None:
    (folder / "a.wav").write_bytes(wav(sine(440, 16000, 1), 16000))
    (tmp_path / "b.wav").write_bytes((folder / "a.wav").read_bytes())
    first, second = (Recipe("a", "en", "x", None, open_take(*x)) for x in (("a.wav", folder), ("b.wav", tmp_path)))
    (audio,) = build_prompts([first, second], tmp_path / "store").values()
    assert find(second, tmp_path / "store") == audio


def test_a_high_rate_is_brought_down_to_what_is_used(folder: Path, work: Path) -> None:
    recorded(folder / "a.wav", rate=96000)
    speech = decode(open_take("a.wav", folder), work)
    assert (speech.rate, speech.channels) == (48000, 1)
    assert abs(speech.duration_s - 1) < 0.01


def test_a_cover_picture_is_no_video(folder: Path, work: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=red:size=64x64:duration=0.04:rate=25", "-frames:v", "1", folder / "cover.png")
    recorded(folder / "plain.mp3")
    picture: list[str | Path] = [
        "-i",
        folder / "plain.mp3",
        "-i",
        folder / "cover.png",
        "-map",
        "0:a",
        "-map",
        "1:v",
        "-c",
        "copy",
    ]
    ffmpeg(*picture, "-disposition:v", "attached_pic", folder / "a.mp3")
    assert decode(open_take("a.mp3", folder), work).duration_s > 0.9


# names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "empty name"),
        ("/etc/passwd", "absolute"),
        ("../a.wav", "leads out"),
        ("sub/../../a.wav", "leads out"),
        ("sub/..", "leads out"),
        ("./a.wav", "is empty"),
        ("sub//a.wav", "is empty"),
        ("sub/", "is empty"),
        ("-i", "begins with a hyphen"),
        ("sub/-y.wav", "begins with a hyphen"),
        ("http://example.com/a.wav", "cannot stand"),
        ("concat:a.wav|b.wav", "cannot stand"),
        ("pipe:0", "cannot stand"),
        ("a|b", "cannot stand"),
        ("$(touch owned).wav", "cannot stand"),
        ("`id`", "cannot stand"),
        ("a;b", "cannot stand"),
        ("a\nb", "cannot stand"),
        ("a\0b", "cannot stand"),
        ("a\x1b[2J", "cannot stand"),
        ("a\\b", "cannot stand"),
        ("a%03d.wav", "cannot stand"),
        ("a*.wav", "cannot stand"),
        ("a\u202eb", "cannot stand"),
        ("\udcff.wav", "cannot stand"),
        ("a" * 1200, "too long"),
        ("/".join("abcdefghij"), "too long"),
    ],
)
def test_names_that_lead_or_could_lead_elsewhere(name: str, message: str, folder: Path) -> None:
    (folder / "sub").mkdir()
    with pytest.raises(AudioError, match=message) as caught:
        open_take(name, folder)
    assert str(caught.value).isprintable()
    assert [path.name for path in folder.iterdir()] == ["sub"]


# files that are none


def test_what_is_not_there(folder: Path, work: Path) -> None:
    refused(folder, "a.wav", work, "there is no such take")
    refused(folder, "sub/a.wav", work, "there is no such take")
    refused(folder / "none", "a.wav", work, "there is no such take")


def test_empty_and_folder_and_file_as_folder(folder: Path, work: Path) -> None:
    (folder / "empty.wav").write_bytes(b"")
    (folder / "sub.wav").mkdir()
    refused(folder, "empty.wav", work, "is empty")
    refused(folder, "sub.wav", work, "not a plain file")
    refused(folder, "empty.wav/a.wav", work, "is a file or a link")


def test_links_are_not_followed(folder: Path, work: Path, tmp_path: Path) -> None:
    """Neither a link to a good recording, nor a folder that is one."""
    (tmp_path / "real.wav").write_bytes(wav(sine(440, 8000, 1), 8000))
    (folder / "a.wav").symlink_to(tmp_path / "real.wav")
    (folder / "sub").symlink_to(tmp_path)
    (folder / "gone.wav").symlink_to(tmp_path / "gone")
    refused(folder, "a.wav", work, "'a.wav' is a symbolic link")
    refused(folder, "sub/real.wav", work, "'sub' is a symbolic link")
    refused(folder, "gone.wav", work, "is a symbolic link")


def test_a_folder_that_becomes_a_link_meanwhile_is_not_followed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is opened is what was looked at, or nothing."""
    (tmp_path / "real.wav").write_bytes(wav(sine(440, 8000, 1), 8000))
    monkeypatch.setattr(takes, "_no_link", lambda *_: None)
    (folder / "a.wav").symlink_to(tmp_path / "real.wav")
    (folder / "sub").symlink_to(tmp_path)
    for name in ("a.wav", "sub/real.wav"):
        with pytest.raises(AudioError, match="is a file or a link"):
            open_take(name, folder)


def test_pipes_sockets_and_devices_do_not_hang(folder: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "pipe.wav")
    refused(folder, "pipe.wav", work, "not a plain file")
    monkeypatch.chdir(folder)  # a socket's name may not be long
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.wav")
        refused(folder, "socket.wav", work, "not a plain file")
    with pytest.raises(AudioError, match="not a plain file"):
        open_take("null", Path("/dev"))
    monkeypatch.setattr(takes, "_no_link", lambda *_: None)  # as if it had become one since
    with pytest.raises(AudioError, match="not a plain file"):
        open_take("pipe.wav", folder)


def test_what_may_not_be_read_is_explained(folder: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.wav").write_bytes(b"x")

    def denied(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("ivr_consent.audio.takes.os.open", denied)
    refused(folder, "a.wav", work, r"cannot be read \(Permission denied\)")


def test_too_large_is_not_read(folder: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (folder / "a.wav").open("wb") as file:
        file.truncate(takes.MAX_TAKE + 1)
    refused(folder, "a.wav", work, "more than 256 MiB")
    (folder / "b.wav").write_bytes(b"x" * 5000)
    monkeypatch.setattr(takes, "MAX_TAKE", 4000)
    refused(folder, "b.wav", work, "more than 0 MiB")


def test_a_file_that_grows_while_it_is_read_is_cut_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.wav").write_bytes(b"x" * 3000)
    monkeypatch.setattr(takes, "MAX_TAKE", 4000)
    monkeypatch.setattr(takes, "_CHUNK", 1000)
    real = os.fstat

    def grown(descriptor: int) -> os.stat_result:
        state = real(descriptor)
        with (folder / "a.wav").open("ab") as file:
            file.write(b"x" * 3000)
        return state

    monkeypatch.setattr("ivr_consent.audio.takes.os.fstat", grown)
    with pytest.raises(AudioError, match="has more than"):
        open_take("a.wav", folder)


def test_a_take_that_changed_since_it_was_opened_is_refused(folder: Path, work: Path) -> None:
    """What is decoded is what was hashed."""
    (folder / "a.wav").write_bytes(wav(sine(440, 8000, 1), 8000))
    take = open_take("a.wav", folder)
    (folder / "a.wav").write_bytes(wav(sine(441, 8000, 1), 8000))
    with pytest.raises(AudioError, match="was changed while it was read"):
        decode(take, work)
    assert list(work.iterdir()) == []


# contents that are none


def test_sound_that_does_not_fit_a_telephone(folder: Path, work: Path) -> None:
    recorded(folder / "stereo.wav", "-ac", "2")
    recorded(folder / "same.flac", "-af", "pan=stereo|c0=c0|c1=c0")
    recorded(folder / "low.wav", rate=6000)
    recorded(folder / "high.wav", rate=192000)
    recorded(folder / "long.mp3", "-b:a", "16k", rate=8000, seconds=302)
    refused(folder, "stereo.wav", work, "has 2 channels.*Save it as mono")
    refused(folder, "same.flac", work, "has 2 channels.*Save it as mono")
    refused(folder, "low.wav", work, "has 6000 samples a second")
    refused(folder, "high.wav", work, "has 192000 samples a second")
    refused(folder, "long.mp3", work, "lasts longer than 300 s")


def test_hours_of_sound_are_not_decoded(folder: Path, work: Path) -> None:
    """Much silence is a small file as FLAC; five minutes of it are enough to know."""
    silent = ["-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", str(1500)]
    ffmpeg(*silent, "-c:a", "flac", "-compression_level", "0", folder / "a.flac")
    refused(folder, "a.flac", work, "lasts longer than 300 s")


def test_videos_and_several_tracks(folder: Path, work: Path) -> None:
    video = ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:duration=1"]
    tone = ["-f", "lavfi", "-i", "sine=440:duration=1:sample_rate=16000"]
    ffmpeg(*video, *tone, "-shortest", folder / "a.mp4")
    ffmpeg(*video, folder / "silent.mkv")
    ffmpeg(*tone, *tone, "-map", "0:a", "-map", "1:a", folder / "two.mka")
    refused(folder, "a.mp4", work, "is a video")
    refused(folder, "silent.mkv", work, "is a video")
    refused(folder, "two.mka", work, "has 2 sound tracks")


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"hello, this is a text\n" * 50,
        bytes(range(256)) * 200,
        b"RIFF\x24\0\0\0WAVEfmt ",
        wav(sine(440, 8000, 1), 8000)[:44],
        b"OggS" + bytes(2000),
        b"fLaC" + bytes(2000),
        b"#!/bin/sh\ntouch owned\n",
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        b"ID3" + bytes(500),
    ],
    ids=lambda data: data[:8].hex(),
)
def test_what_is_no_sound(data: bytes, folder: Path, work: Path) -> None:
    (folder / "a.wav").write_bytes(data)
    refused(folder, "a.wav", work, "is no sound file that can be read|no sound in it")


@pytest.fixture
def server() -> socket.socket:
    """A listener that must not be called."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    return listening


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{secret}'\n",
        "ffconcat version 1.0\nfile '{url}'\n",
        "[playlist]\nFile1={url}\nNumberOfEntries=1\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{url}</BaseURL></MPD>',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "{url}\n",
        "subfile,,start,0,end,0,,:{secret}",
        '; this is an AviSynth script\nWavSource("{secret}")\n',
    ],
)
def test_a_file_that_names_others_reaches_none(text: str, server: socket.socket, folder: Path, tmp_path: Path) -> None:
    """A playlist, a list of parts, a description of a stream: whatever it is called, nothing else is opened."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav(sine(440, 16000, 1), 16000))
    filled = text.format(url=f"http://127.0.0.1:{server.getsockname()[1]}/a.wav", secret=secret)
    work = tmp_path / "work"
    work.mkdir()
    for name in ("a.wav", "a.m3u8", "a.ffconcat", "a.sdp", "a.mpd"):
        (folder / name).write_text(filled)
        refused(folder, name, work, "is no sound file that can be read")
    with pytest.raises(BlockingIOError):
        server.accept()
    server.close()


@pytest.mark.parametrize("name", ["a.voc", "a.wv", "a.tta"])
def test_a_container_that_is_not_among_those_read_is_refused(name: str, folder: Path, work: Path) -> None:
    recorded(folder / name)
    refused(folder, name, work, "is no sound file that can be read")


def test_containers_that_may_name_other_files_are_not_among_those_read() -> None:
    assert not {"hls", "concat", "dash", "sdp", "image2", "lavfi", "svg_pipe", "tedcaptions", "rtsp"} & set(CONTAINERS)


def test_silence_is_told_from_sound(folder: Path, tmp_path: Path) -> None:
    (folder / "a.wav").write_bytes(wav(np.zeros(16000, np.int16), 16000))
    with pytest.raises(AudioError, match="only silence"):
        build(open_take("a.wav", folder), tmp_path / "store")


def test_a_truncated_take_is_refused_or_played_as_far_as_it_goes(folder: Path, work: Path) -> None:
    """Half a FLAC is damaged; a WAV says no more than that it is shorter."""
    recorded(folder / "a.flac", seconds=3)
    data = (folder / "a.flac").read_bytes()
    (folder / "a.flac").write_bytes(data[: len(data) // 2])
    refused(folder, "a.flac", work, "is no sound file that can be read")


def test_a_program_that_hangs_is_ended(
    folder: Path, work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ffprobe").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (programs / "ffprobe").chmod(0o755)
    (folder / "a.wav").write_bytes(wav(sine(440, 8000, 1), 8000))
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(takes, "_PROBE_S", 0.5)
    refused(folder, "a.wav", work, "did not end within 0.5 s")
    stop = threading.Event()
    stop.set()
    with pytest.raises(AudioError, match="stopped"):
        decode(open_take("a.wav", folder), work, stop)


def test_missing_programs_name_the_remedy(folder: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.wav").write_bytes(wav(sine(440, 8000, 1), 8000))
    monkeypatch.setenv("PATH", str(work))
    refused(folder, "a.wav", work, "apt-get install ffmpeg")


def test_no_argument_of_a_program_comes_from_a_take(folder: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    real = subprocess.Popen

    class Noted(real):  # type: ignore[misc, valid-type]  # a class that is in a variable
        def __init__(self, argv: list[str], *args: object, **named: object) -> None:
            seen.append(argv)
            super().__init__(argv, *args, **named)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    (folder / "secret name.wav").write_bytes(wav(sine(440, 8000, 1), 8000))
    decode(open_take("secret name.wav", folder), work)
    assert len(seen) == 2
    assert not any("secret" in argument or str(folder) in argument for argv in seen for argument in argv)
    assert all(argv[argv.index("-protocol_whitelist") + 1] == "file,pipe" for argv in seen)
