"""Reads the files of an Asterisk and says where a recording can start, and whether the gate stands before it.

Nothing is run and no switch is asked: names of recorders stand here to be recognised in text, never to be commanded.

::

    sections   Asterisk's configuration syntax: sections, templates, includes, comments
    patterns   which numbers an extension's name takes, and in which order
    dialplan   contexts, extensions, priorities, as Asterisk has them after loading
    conf       extensions.conf into a dialplan;  ael (with ael_code) and lua likewise, as far as they can be read
    texts      arguments, options, variables, $[ ]
    recorders  which application and which option records
    known      what is known on a way: results of the gate, values of variables
    graph      steps in their contexts, subroutines, entry points; a way as stops
    steps      where a call goes after a step;  channels: dialling, queues, programs
    ways       every way from every entry point
    site       the other files: entry points, queues, features, conferences, users of the interfaces
    judge      places and ways into findings
"""
