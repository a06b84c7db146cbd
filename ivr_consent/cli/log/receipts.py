"""``ivr-consent log receipt``: what a caller consented to, for that caller."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ivr_consent.cli import files
from ivr_consent.cli.terminal import Json, of, print_json, say
from ivr_consent.core.errors import ConsentError, LedgerError

if TYPE_CHECKING:
    from ivr_consent.config import Settings
    from ivr_consent.manifest import Spoken
    from ivr_consent.pseudonyms import Pseudonyms
    from ivr_consent.store.reader import CallRecord, LedgerReader


def receipt(
    context: typer.Context,
    call: Annotated[str | None, typer.Argument(metavar="[ID]", help="The call's id, or the beginning of it.")] = None,
    reference: Annotated[str | None, typer.Option(help="The reference code that the caller was told.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the signed receipt to this file.")] = None,
    json: Json = False,
) -> None:
    """Show what a caller consented to, with the reference code; with --out also as a signed file.

    The file is verified without the log: ivr-consent log check-receipt FILE.
    """
    from ivr_consent.core.errors import SignatureError
    from ivr_consent.receipt import issue
    from ivr_consent.signing import signer

    if (call is None) == (reference is None):
        raise typer.BadParameter("give the call's ID, or --reference and its code")
    settings = of(context).settings()
    document = _document(settings, call, reference)
    if out is not None:
        try:
            line = issue(document, signer(settings.path(settings.prompts.signing_key_file)))
        except SignatureError as error:
            raise ConsentError(f"a receipt is signed with the key of the notices: {error}") from None
        if not files.write_new(out, line.decode(), 0o600):
            raise ConsentError(f"{out} is there already; name another file")
    if json:
        print_json({"ok": True, "file": None if out is None else str(out), "receipt": document})
        return
    _say(document)
    if out is not None:
        say()
        say(f"written to {out}; who gets it can verify it with notices.key.pub: ivr-consent log check-receipt {out}")


def check_receipt(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The receipt.")],
    key: Annotated[Path | None, typer.Option(help="The site's public key (notices.key.pub).")] = None,
    json: Json = False,
) -> None:
    """Verify a receipt: its signature, and that its decision is in the tree of its checkpoint. Needs no log."""
    from ivr_consent.core.errors import SignatureError
    from ivr_consent.receipt import MAX_RECEIPT_BYTES, checked
    from ivr_consent.signing import public_path, read_plain, verifier, verifier_of

    try:
        line, _ = read_plain(file, MAX_RECEIPT_BYTES + 1)
    except OSError as error:
        raise ConsentError(f"{file} cannot be read ({error.strerror}); name the receipt's file") from None
    by = verifier_of(key) if key is not None else verifier(_private_key(context))
    try:
        document = checked(line, by)
    except SignatureError as error:
        named = key if key is not None else public_path(_private_key(context))
        raise ConsentError(f"{file} is no receipt under the key {named}: {error}; ask the site for it again") from None
    if json:
        print_json({"ok": True, "receipt": document})
        return
    say("the receipt is good")
    say()
    _say(document)


def _private_key(context: typer.Context) -> Path:
    settings = of(context).settings()
    return settings.path(settings.prompts.signing_key_file)


def _document(settings: Settings, call: str | None, reference: str | None) -> dict[str, Any]:
    from ivr_consent import receipt as receipts
    from ivr_consent.pseudonyms import open_pseudonyms
    from ivr_consent.store.place import open_for_reading, place_of
    from ivr_consent.store.reader import LedgerReader
    from ivr_consent.versions import now

    place, pseudonyms = place_of(settings), open_pseudonyms(settings)
    with LedgerReader(place) as reader:
        record = reader.call(call.lower()) if call is not None else _by_code(reader, pseudonyms, str(reference))
    if record is None:
        raise ConsentError("no call, or more than one, has an id that begins so; see: ivr-consent log list")
    if record.decision.outcome != "granted":
        raise ConsentError(f"the caller did not consent ({record.decision.outcome}); there is no receipt of that")
    database = open_for_reading(place)
    try:
        inclusion = receipts.included(database, record.decision.sequence)
    finally:
        database.close()
    if inclusion is None:
        raise LedgerError(
            "the decision is under no checkpoint yet; one is made every few minutes, or now: "
            "ivr-consent log checkpoint --seal"
        )
    spoken = _spoken(settings, record)
    return receipts.receipt(record, inclusion, spoken, _code(pseudonyms, record), now())


def _by_code(reader: LedgerReader, pseudonyms: Pseudonyms, code: str) -> CallRecord | None:
    from ivr_consent.store.search import Wanted

    found = list(reader.calls(Wanted(references=pseudonyms.find(code)), limit=2))
    if not found:
        raise ConsentError("no call in the log has this reference code; its personal data may have been erased")
    return found[0] if len(found) == 1 else None


def _code(pseudonyms: Pseudonyms, record: CallRecord) -> str | None:
    """The reference code, where it can still be told: its keyed hash in the log says whether it is the right one."""
    from ivr_consent.pseudonyms import period_of

    ref = record.decision.payload.get("reference_ref")
    if not isinstance(ref, str):
        return None
    try:
        code = pseudonyms.reference_code(record.call_id, period_of(ref))
        return code if pseudonyms.reference_ref(code, period_of(ref)) == ref else None
    except ConsentError:
        return None


def _spoken(settings: Settings, record: CallRecord) -> Spoken:
    from ivr_consent.signing import verifier
    from ivr_consent.versions import Versions

    notice = record.decision.payload["notice"]
    by = verifier(settings.path(settings.prompts.signing_key_file))
    manifest = Versions(settings.path(settings.prompts.versions), record.line).published(notice["version"], by)
    if manifest.sha256 != notice["manifest_sha256"]:
        raise ConsentError(
            f"version {notice['version']} of line {record.line} is not the one that the decision names; "
            "restore the folder of versions from its copy"
        )
    return next(spoken for spoken in manifest.languages if spoken.language == notice["language"])


def _say(document: Mapping[str, Any]) -> None:
    facts = document["facts"]
    rows = [
        ("reference", document["reference"] or "not to be told any more"),
        ("consent given", f"{document['time']}, line {document['line']}"),
        ("to", facts.get("controller", "-")),
        ("for", ", ".join(document["purposes"])),
        ("kept for", f"{document['retention_days']} days after the call"),
        ("heard by", facts.get("recipients", "-")),
        ("recording", document["recording"]),
        ("withdrawal", facts.get("withdrawal_contact", "-")),
        ("rights", facts.get("rights_contact", "-")),
        ("complaints", facts.get("authority", "-")),
        ("call", document["call_id"]),
    ]
    for name, value in rows:
        say(f"{name + ':':<15}{value}")
    notice = document["notice"]
    say()
    say(f"What was said before the yes (notice {notice['id']}, version {notice['version']}, {notice['language']}):")
    for prompt in notice["text"]:
        say(f"  {prompt['text']}")
