"""``ivr-consent prompts prune``: what nobody can need any more goes, and nothing else."""

from __future__ import annotations

from pathlib import Path

from tests.cli.support import Place, run, run_json


def reword(place: Place, text: str) -> None:
    """Another wording of one prompt, published."""
    notices = place.etc / "prompts" / "en"
    if not notices.exists():
        notices.mkdir(parents=True)
        place.edit('# directory = "prompts"', 'directory = "prompts"')
        from ivr_consent.site import shipped

        (notices / "recording.toml").write_text((shipped("prompts") / "en" / "recording.toml").read_text())
    path = notices / "recording.toml"
    old = next(line for line in path.read_text().splitlines() if line.startswith("unrecorded = "))
    path.write_text(path.read_text().replace(old, f'unrecorded = "{text}"'))
    for verb in ("build", "publish"):
        done = run("--config", place.config, "prompts", verb)
        assert done.exit_code == 0, done.output


def sounds(place: Place) -> set[Path]:
    return {path.parent for path in (place.state / "audio" / "en").rglob("prompt.ulaw")}


def test_a_version_goes_only_when_no_decision_names_it(ready: Place) -> None:
    """R22: what a decision names stays as long as the decision."""
    versions = Path(run_json("--config", ready.config, "prompts", "check")[1]["lines"][0]["draft"]["notices"]["en"])
    assert versions.exists()
    first = sounds(ready)
    assert run("--config", ready.config, "call", "support", "--keys", "2").exit_code == 0  # names version 1
    for text in ("This call is not recorded, truly.", "This call is not recorded at all.", "Not recorded."):
        reword(ready, text)
    assert len(sounds(ready)) == len(first) + 3
    folder = next(path for path in ready.root.rglob("support/2"))
    code, told = run_json("--config", ready.config, "prompts", "prune")
    assert (code, told["removed"]) == (0, False)
    # 1 is named by a decision, 4 is in force, 3 is the one to go back to
    assert told["versions"] == [str(folder)]
    assert len(told["sounds"]) == 1
    assert folder.exists()
    assert run("--config", ready.config, "prompts", "prune", "--remove").exit_code == 0
    assert not folder.exists()
    assert len(sounds(ready)) == len(first) + 2
    assert not list(ready.root.rglob(".gone-*"))
    assert run_json("--config", ready.config, "prompts", "prune")[1]["versions"] == []
    for version in ("3", "1"):
        done = run("--config", ready.config, "prompts", "rollback", "support", "--to", version)
        assert done.exit_code == 0, done.output
        assert run("--config", ready.config, "call", "support", "--keys", "1").exit_code == 0
    gone = run("--config", ready.config, "prompts", "rollback", "support", "--to", "2")
    assert gone.exit_code == 3
    assert "support/2" in gone.stderr


def test_without_a_log_nothing_is_known_and_nothing_goes(ready: Place) -> None:
    ready.log.unlink()
    result = run("--config", ready.config, "prompts", "prune", "--remove")
    assert result.exit_code == 1
    assert "nothing is removed" in result.stderr
