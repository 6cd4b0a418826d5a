"""The layout of the database, as the steps that lead to it from an empty file."""

from __future__ import annotations

__all__ = ["MIGRATIONS"]

_FIRST = """
CREATE TABLE models (
    name TEXT PRIMARY KEY, path TEXT NOT NULL, fingerprint TEXT NOT NULL DEFAULT '',
    format TEXT NOT NULL DEFAULT '', architecture TEXT NOT NULL DEFAULT '',
    quantization TEXT NOT NULL DEFAULT '', size INTEGER,
    parameters INTEGER, added TEXT NOT NULL, last_seen TEXT NOT NULL
);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, time TEXT NOT NULL, fingerprint TEXT NOT NULL, backend TEXT NOT NULL,
    engine_version TEXT NOT NULL DEFAULT '', device TEXT NOT NULL DEFAULT 'cpu',
    gpu_layers INTEGER NOT NULL DEFAULT 0, context_size INTEGER, threads INTEGER, load_seconds REAL,
    resident_bytes INTEGER, device_bytes INTEGER, prompt_tokens INTEGER, completion_tokens INTEGER,
    prompt_seconds REAL, generate_seconds REAL, first_token_seconds REAL, success INTEGER NOT NULL,
    error TEXT NOT NULL DEFAULT '', estimated_bytes INTEGER
);
CREATE INDEX runs_by_model ON runs (fingerprint, backend, id);
"""

# What a migration brought over from another program, and can take away again.
_ORIGINS = """
ALTER TABLE models ADD COLUMN origin TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN origin TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN details TEXT NOT NULL DEFAULT '';
CREATE INDEX runs_by_origin ON runs (origin) WHERE origin <> '';
"""

# Models by content, failures, benchmarks, and what estimates learn from.
_EVIDENCE = """
ALTER TABLE models ADD COLUMN source TEXT NOT NULL DEFAULT '';
CREATE TABLE seen (
    fingerprint TEXT PRIMARY KEY, path TEXT NOT NULL, format TEXT NOT NULL DEFAULT '',
    architecture TEXT NOT NULL DEFAULT '', quantization TEXT NOT NULL DEFAULT '', size INTEGER,
    parameters INTEGER, metadata TEXT NOT NULL DEFAULT '{}', first_seen TEXT NOT NULL, last_seen TEXT NOT NULL
);
ALTER TABLE runs ADD COLUMN batch_size INTEGER;
ALTER TABLE runs ADD COLUMN cached_tokens INTEGER;
ALTER TABLE runs ADD COLUMN total_seconds REAL;
ALTER TABLE runs ADD COLUMN finish_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN estimated_speed REAL;
ALTER TABLE runs ADD COLUMN weight_bytes REAL;
ALTER TABLE runs ADD COLUMN weight_count REAL;
ALTER TABLE runs ADD COLUMN cache_bytes REAL;
ALTER TABLE runs ADD COLUMN layers INTEGER;
ALTER TABLE runs ADD COLUMN session TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN purpose TEXT NOT NULL DEFAULT 'use';
ALTER TABLE runs ADD COLUMN machine TEXT NOT NULL DEFAULT '';
CREATE INDEX runs_by_backend ON runs (backend, device, id);
CREATE TABLE failures (
    id INTEGER PRIMARY KEY, time TEXT NOT NULL, fingerprint TEXT NOT NULL, backend TEXT NOT NULL,
    engine_version TEXT NOT NULL DEFAULT '', device TEXT NOT NULL DEFAULT 'cpu',
    gpu_layers INTEGER NOT NULL DEFAULT 0, context_size INTEGER, phase TEXT NOT NULL DEFAULT '',
    cause TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '', advice TEXT NOT NULL DEFAULT '',
    session TEXT NOT NULL DEFAULT '', machine TEXT NOT NULL DEFAULT '',
    after_run INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX failures_by_model ON failures (fingerprint, backend, id);
CREATE TABLE benchmark_documents (
    id INTEGER PRIMARY KEY, time TEXT NOT NULL, machine TEXT NOT NULL DEFAULT '', document TEXT NOT NULL
);
CREATE TABLE benchmarks (
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL, time TEXT NOT NULL, fingerprint TEXT NOT NULL,
    model TEXT NOT NULL DEFAULT '', backend TEXT NOT NULL, engine_version TEXT NOT NULL DEFAULT '',
    device TEXT NOT NULL DEFAULT 'cpu', gpu_layers INTEGER NOT NULL DEFAULT 0, context_size INTEGER,
    threads INTEGER, machine TEXT NOT NULL DEFAULT '', load_seconds REAL, prompt_speed REAL,
    generate_speed REAL, first_token_seconds REAL, resident_bytes INTEGER, device_bytes INTEGER,
    gpu_utilization REAL, stable INTEGER, success INTEGER NOT NULL DEFAULT 1, error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX benchmarks_by_model ON benchmarks (fingerprint, backend, id);
CREATE INDEX benchmarks_by_document ON benchmarks (document);
"""

MIGRATIONS: tuple[str, ...] = (_FIRST, _ORIGINS, _EVIDENCE)
"""Statements that lead from each layout to the next; the layout's number is how many have been run."""
