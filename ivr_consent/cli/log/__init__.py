"""``ivr-consent log``: questions to the log, its evidence, and its copies."""

from __future__ import annotations

import typer

from ivr_consent.cli.log import anchors, copies, exports, personal, questions, receipts, stats, tail, verify

app = typer.Typer(help="Read, verify and look after the log of decisions.", no_args_is_help=True)
app.command("list")(questions.list_)
app.command("show")(questions.show)
app.command("stats")(stats.stats)
app.command("tail")(tail.tail)
app.command("verify")(verify.verify)
app.command("verifier")(verify.verifier_file)
app.command("checkpoint")(verify.checkpoint)
app.command("backup")(copies.backup)
app.command("restore")(copies.restore)
app.command("receipt")(receipts.receipt)
app.command("check-receipt")(receipts.check_receipt)
app.command("anchor")(anchors.anchor)
app.command("anchors")(anchors.anchors)
app.command("export")(exports.export)
app.command("report")(exports.report)
app.command("forget")(personal.forget)
app.command("expire")(personal.expire)
