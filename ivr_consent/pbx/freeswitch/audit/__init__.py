"""Reads the configuration of a FreeSWITCH and says where a recording can start, and whether the gate stands before it.

Nothing is run and no switch is asked: names of recorders stand here to be recognised in text, never to be commanded.

::

    documents    files as FreeSWITCH joins them into one text, and that text as elements with their places
    grammar      regular expressions as they are written;  expressions: whether a text, or any of a kind, can match
    texts        ${variables}, ${api(arguments)}, arguments, dial strings
    dialplan     contexts, extensions, conditions, actions
    site         the other files: entry points, conferences, queues, menus, modules, interfaces
    recorders    which application, command or variable records, and what runs another application
    memory       what is known of variables
    hunt         what a call finds in a context: every row of actions that the conditions let through
    gate         whether the gate's context is as it was shipped
    ways         every way from every entry point;  steps: where a call goes after an action
    judge        places and ways into findings
"""
