"""What the audits of all switches share: findings, the report and its SARIF form, results of the gate, opening files.

::

    library    files, opened with care and within bounds
    results    which results of the gate are possible on a way
    findings   a place, what can happen there, the way that leads there, what to do
    report     what was read and found;  sarif: the same for other programs
"""
