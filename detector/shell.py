"""The commands that talk to a running daemon: PromQL and the desk, as tables or as JSON."""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

TIMEOUT_S = 30
_ARGUMENT = {
    "ack": None,
    "not-mine": "reason",
    "help": "person",
    "assign": "assignee",
    "escalate": "tier",
    "note": "text",
    "resolve": "resolution",
    "close": None,
    "reopen": "reason",
    "merge": "into",
    "decide": "kind",
    "categorise": "category",
    "prioritise": "priority",
    "wait": "reason",
    "resume": "reason",
    "reply": "text",
    "inform": "tier",
    "hypothesis": "text",
    "settle": "number",
    "fix": "text",
    "restore": "text",
    "record": None,
    "link": "to",
    "split": "symptoms",
    "ask": None,
    "use": "solution",
    "bridge": "link",
    "end-bridge": "text",
    "run": "name",
    "prevent": "text",
    "decline": "text",
    "draft": "status",
    "publish": "status",
    "judge": "verdict",
    "check": "item",
}
"""What the value after the key is, act by act."""
_CALLER = ("name", "contact", "language")
_COLUMNS = ("key", "priority", "phase", "state", "service", "category", "opened_at", "assignee", "title")


class Unreachable(Exception):
    """The daemon did not answer, or not as one."""


class Wrong(Exception):
    """The command was used wrongly."""


def show_query(url: str, expr: str, times: Mapping[str, str | None], as_json: bool) -> bool:
    """Print the answer to ``expr``; False when the daemon refused it."""
    ranged = times.get("start") is not None
    params = {"query": expr, **{k: v for k, v in times.items() if v is not None}}
    answer = _call(url, f"/api/v1/{'query_range' if ranged else 'query'}?{urllib.parse.urlencode(params)}")
    if as_json:
        print(json.dumps(answer))
    elif answer.get("status") == "success":
        _print_result(answer["data"])
    else:
        print(f"{answer.get('errorType', 'error')}: {answer.get('error', answer)}", file=sys.stderr)
    return bool(answer.get("status") == "success")


def list_incidents(url: str, filters: Mapping[str, str | None], as_json: bool) -> bool:
    """Print incidents, newest first, page by page to the end."""
    params = {k: v for k, v in filters.items() if v is not None}
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    cursor: str | None = None
    while True:
        page = _call(url, f"/api/incidents?{urllib.parse.urlencode(params | ({'cursor': cursor} if cursor else {}))}")
        if "items" not in page:
            return _refused(page)
        for item in page["items"]:
            if as_json:
                print(json.dumps(item))
            table.add_row(*(Text(str(item.get(column) or "-")) for column in _COLUMNS))
        cursor = page.get("next")
        if not cursor:
            break
    if not as_json:
        Console().print(table if table.row_count else "no incidents")
    return True


def log_call(url: str, text: str | None, as_json: bool, fields: Sequence[str] = ()) -> bool:
    """Log what somebody tells on the phone, in their words; ``fields`` are ``name=value``: name, contact, language of
    who called, and title, service, kind, security."""
    if not text:
        raise Wrong("`detector incidents log` needs what was told, and --set name='who called'")
    body: dict[str, Any] = {"description": text, "channel": "call"}
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals or name not in (*_CALLER, "title", "service", "kind", "security"):
            raise Wrong(f"--set {field!r}: write name=, contact=, language=, title=, service=, kind= or security=true")
        if name in _CALLER:
            body.setdefault("reporter", {})[name] = value
        else:
            body[name] = value == "true" if name == "security" else value
    answer = _call(url, "/api/reports", body)
    if "key" not in answer:
        return _refused(answer)
    print(json.dumps(answer) if as_json else answer["key"])
    return True


def act_incident(
    url: str, action: str, key: str | None, argument: str | None, as_json: bool, fields: Sequence[str] = ()
) -> bool:
    """Show one incident, or do ``action`` on it and show what it became; ``fields`` are further ``name=value``."""
    if action != "show" and action not in _ARGUMENT:
        raise Wrong(f"{action!r} is no action; allowed: list, show, {', '.join(_ARGUMENT)}")
    if key is None:
        raise Wrong(f"`detector incidents {action}` needs the incident's key, such as INC-42")
    path = f"/api/incidents/{urllib.parse.quote(key, safe='')}"
    body: dict[str, Any] | None = None
    if action != "show":
        path += f"/{action}"
        name = _ARGUMENT[action]
        if argument is not None and name is None:
            raise Wrong(f"`detector incidents {action}` takes no value")
        body = {name: _value(name, argument)} if name and argument is not None else {}
        for field in fields:
            name, equals, text = field.partition("=")
            if not equals:
                raise Wrong(f"--set {field!r}: write NAME=VALUE, such as text='a larger disk'")
            body[name] = _value(name, text)
    answer = _call(url, path, body)
    if "key" not in answer:
        return _refused(answer)
    if as_json:
        print(json.dumps(answer))
    else:
        _print_incident(answer)
    return True


_BOXES = ("force", "holds", "helped", "confirmed")


def _value(name: str, text: str) -> str | int | bool | list[str]:
    """As the API takes it: most are text, even where they look like numbers."""
    if name == "number" and text.isascii() and text.isdigit():
        return int(text)
    if name == "minutes" and text.isascii() and text.isdigit():
        return int(text)
    if name in ("attendees", "questions", "components", "symptoms"):
        return [part.strip() for part in text.split(";") if part.strip()]
    return text == "true" if name in _BOXES and text in ("true", "false") else text


def show_oncall(url: str, as_json: bool) -> bool:
    """Print who is on call now."""
    answer = _call(url, "/api/oncall")
    if "items" not in answer:
        return _refused(answer)
    if as_json:
        print(json.dumps(answer))
        return True
    table = Table("team", "on call", "channels", box=None, pad_edge=False)
    for item in answer["items"]:
        people, channels = (", ".join(item[name]) or "-" for name in ("people", "channels"))
        table.add_row(*(Text(text) for text in (item["team"], people, channels)))
    console = Console()
    console.print(table if table.row_count else "nobody is told of anything: no channel is configured")
    for one in answer.get("schedules", ()):
        then = ", ".join(one["next"]) or "nobody"
        console.print(Text(f"{one['name']}: until {one['until']}, then {then}"), soft_wrap=True)
    for problem in answer.get("problems", ()):
        console.print(Text(f"! {problem['text']}"), soft_wrap=True)
    return True


def replay(url: str, channel: str, since: str) -> bool:
    """Hand the changes since a time to a channel that follows the desk once more."""
    answer = _call(url, f"/api/channels/{urllib.parse.quote(channel, safe='')}/replay", {"since": since})
    if "messages" not in answer:
        return _refused(answer)
    print(f"{answer['messages']} messages are handed to {channel} once more")
    return True


def show_why(url: str, subject: str, at: str | None, as_json: bool) -> bool:
    """Print the chain of what was done with an alert or an incident."""
    params = {"subject": subject} | ({"at": at} if at else {})
    answer = _call(url, f"/api/why?{urllib.parse.urlencode(params)}")
    if "episodes" not in answer:
        return _refused(answer)
    if as_json:
        print(json.dumps(answer))
        return True
    console = Console(soft_wrap=True, highlight=False)
    for episode in answer["episodes"]:
        console.print(Text(episode["subject"], style="bold"))
        for step in episode["chain"]:
            console.print(Text(f"  {step['at']:24}  {step['step']:12}  {step['said']}"))
    return True


def make_token(url: str, name: str, scopes: Sequence[str], days: int, as_json: bool) -> bool:
    """Make a token and print it, this once."""
    answer = _call(url, "/api/tokens", {"name": name, "scopes": list(scopes), "days": days})
    if "token" not in answer:
        return _refused(answer)
    print(json.dumps(answer) if as_json else answer["token"])
    if not as_json:
        scoped = ", ".join(answer["scopes"])
        told = f"token {answer['id']} of {answer['who']} ({scoped}) until {answer['expires_at']}; it is shown this once"
        print(told, file=sys.stderr)
    return True


def list_tokens(url: str, as_json: bool) -> bool:
    """Print the own tokens; an admin's print everybody's."""
    answer = _call(url, "/api/tokens")
    if "items" not in answer:
        return _refused(answer)
    if as_json:
        print(json.dumps(answer))
        return True
    table = Table("id", "name", "who", "scopes", "expires", "revoked", box=None, pad_edge=False)
    for it in answer["items"]:
        row = (it["id"], it["name"], it["who"], ", ".join(it["scopes"]), it["expires_at"], it["revoked_at"] or "-")
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table if table.row_count else "no tokens")
    return True


def revoke_token(url: str, id: int, as_json: bool) -> bool:
    """End a token."""
    answer = _call(url, f"/api/tokens/{id}", method="DELETE")
    if "revoked_at" not in answer:
        return _refused(answer)
    print(json.dumps(answer) if as_json else f"token {id} of {answer['who']} opens nothing any more")
    return True


def _call(url: str, path: str, body: Mapping[str, Any] | None = None, method: str | None = None) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise Unreachable(f"--url {url!r} must begin with http:// or https://")
    method = method or ("GET" if body is None else "POST")
    request = urllib.request.Request(url.rstrip("/") + path, method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if token := os.environ.get("DETECTOR_TOKEN"):
        request.add_header("Authorization", f"Bearer {token}")
    elif user := os.environ.get("DETECTOR_USER"):
        pair = f"{user}:{os.environ.get('DETECTOR_PASSWORD', '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            raw = response.read()
    except urllib.error.HTTPError as error:
        raw = error.read()
    except OSError as error:
        raise Unreachable(f"no daemon answers at {url}: {getattr(error, 'reason', error)}") from None
    try:
        answer = json.loads(raw)
    except ValueError:
        raise Unreachable(f"what answers at {url} is not a detector") from None
    if not isinstance(answer, dict):
        raise Unreachable(f"what answers at {url} is not a detector")
    return answer


def _refused(problem: Mapping[str, Any]) -> bool:
    print(problem.get("detail") or problem.get("title") or json.dumps(problem), file=sys.stderr)
    return False


def _print_result(data: Mapping[str, Any]) -> None:
    kind, result = data["resultType"], data["result"]
    if kind in ("scalar", "string"):
        print(result[1])
        return
    table = Table("series", "time", "value", box=None, pad_edge=False)
    for series in result:
        labels = dict(series["metric"])
        name = labels.pop("__name__", "")
        text = name + "{" + ", ".join(f'{k}="{v}"' for k, v in sorted(labels.items())) + "}"
        for at, value in series["values"] if kind == "matrix" else [series["value"]]:
            table.add_row(Text(text), str(at), value)
    Console(soft_wrap=True).print(table if table.row_count else "no series")


def _print_incident(item: Mapping[str, Any]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    console.print(Text(f"{item['key']}  {item.get('priority') or '-'}  {item.get('title') or ''}", style="bold"))
    for name in ("phase", "state", "service", "category", "tier", "team", "assignee", "opened_at",
                 "predicted_disruption_at", "disrupted_at", "resolution", "priority_reason"):  # fmt: skip
        if item.get(name):
            console.print(Text(f"  {name.replace('_', ' '):24} {item[name]}"))
    for symptom in item.get("symptoms", ()):
        console.print(Text(f"  {'active' if symptom['active'] else 'quiet':24} {symptom['summary']}"))
    for entry in item.get("timeline", ()):
        console.print(Text(f"  {entry['at']:24} {entry['who']}: {entry['what']}"))
