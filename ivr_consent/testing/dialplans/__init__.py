"""A site's own dialplan under test: copied into the rig, called on every way in, and judged by what calls came to.

::

    copied   the site's files as the rig gets them: trunks cut off, programs not run, paths moved
    ways     where calls come in, and what is dialled there
    call     one call as it was seen: what it executed, the gate, recorders, where it came to
    playing  the calls, side by side, each as somebody who says yes, no, nothing, or hangs up
    judged   what is wrong with a call
    told     all of it for people and for other programs
"""
