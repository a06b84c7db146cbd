"""The guard on FreeSWITCH: what records there, and by which grant."""
