"""Faults on purpose: a disk that errs, a process that dies, and what the log must look like after it.

``faults.c`` is preloaded into the process under test, by a server that forks one for each test (``zygote.py``). A file
system of our own would need rights that a build machine seldom has, strace's injection cannot stop a write half way,
and SQLite's own layer would leave out the key files: a preloaded library sees every file and needs a C compiler alone.
"""
