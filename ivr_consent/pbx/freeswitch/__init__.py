"""FreeSWITCH: its event socket, its dialplan, its guard."""
