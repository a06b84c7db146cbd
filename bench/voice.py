"""A voice of no words: a second of a tone for whatever text comes in, so that nothing has to be spoken first."""

from __future__ import annotations

import math
import struct
import sys
import wave

RATE = 16000
SECONDS = 1

if __name__ == "__main__":
    sys.stdin.buffer.read()
    samples = [int(9000 * math.sin(2 * math.pi * 440 * n / RATE)) for n in range(RATE * SECONDS)]
    with wave.open(sys.stdout.buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(struct.pack(f"<{len(samples)}h", *samples))
