"""Reading what `synvita doctor --json` wrote."""


def said(report: dict, subject: str, state: str | None = None) -> str:
    """All that a report says about something."""
    return "\n".join(
        f"{check['state']} {check['text']} {check['fix'] or ''}"
        for check in report["checks"]
        if check["subject"] == subject and state in (None, check["state"])
    )
