"""Coverage-guided fuzzing of everything that reads what somebody else has written: ``make fuzz``.

::

    target      a target: a reader, what must hold for every input, and where its inputs are kept
    targets     all of them; wires, answers, files, evidence, audits, small: what each one holds
    seeds       where the first inputs come from: transcripts, scenarios, notices, a small log
    base/       that log, a manifest and a receipt, as they were made once (made.py)
    corpus/     inputs that reach what no other one reaches, a folder for each target
    crashes/    inputs that once broke something; each is a test from then on
    coverage    what an input reaches, without atheris: by it the corpus is kept small
    least       a crash made as small as it can be
    engine      one target under atheris, in a process of its own
    __main__    the runner: time shared out, crashes kept, corpus kept
"""
