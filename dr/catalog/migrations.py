"""The catalog's schema, step by step. A step that was released is never edited."""

from __future__ import annotations

#: Times are microseconds since the epoch: they sort, and SQL can subtract them.
STEPS: tuple[str, ...] = (
    """
    create table meta (key text primary key, value text not null) without rowid;
    create table plans (digest text primary key, text text not null) without rowid;
    create table evidence (
        seq integer primary key, kind text not null, ref text not null, system text not null,
        at text not null, prev text not null, digest text not null unique, body text not null);
    create index evidence_system on evidence (system, kind, seq);
    create unique index evidence_ref on evidence (ref, kind);
    create table runs (
        run_id text primary key, verb text not null, system text not null, started integer not null,
        finished integer, outcome text, process text not null, plan_digest text not null, seq integer
    ) without rowid;
    create index runs_system on runs (system, verb, started, outcome, finished);
    create index runs_open on runs (finished) where finished is null;
    create table points (
        run_id text primary key, system text not null, consistency integer not null,
        finished integer not null, outcome text not null, complete integer not null,
        bytes integer not null, kinds text not null) without rowid;
    create index points_system on points (system, complete, consistency, finished);
    create table copies (
        run_id text not null, target text not null, complete integer not null, snapshots text not null,
        manifests text not null, proof_level integer not null default 0, proven_at integer,
        damaged integer not null default 0, primary key (run_id, target)) without rowid;
    create table sent (
        system text not null, target text not null, seq integer not null, primary key (system, target)
    ) without rowid;
    create table memory (
        system text not null, target text not null, text text not null, primary key (system, target)
    ) without rowid;
    create table plan_cache (path text primary key, key text not null, text text not null) without rowid;
    """,
    """
    alter table copies add column destroyed integer not null default 0;
    """,
    """
    create table places (
        system text not null, target text not null, seen integer, replicated integer, replication text, problem text,
        worked integer, proven integer, proof text, object_lock text not null default '',
        primary key (system, target)) without rowid;
    """,
    """
    create table changes (
        run_id text not null, source text not null, system text not null, at integer not null,
        loud integer not null, body text not null, primary key (run_id, source)) without rowid;
    create index changes_newest on changes (system, source, at);
    create index changes_loudest on changes (system, source, loud);
    create table marks (
        run_id text primary key, system text not null, consistency integer not null, reason text, trusted text
    ) without rowid;
    create index marks_system on marks (system, consistency);
    """,
    """
    alter table copies add column lock_mode text not null default '';
    alter table copies add column protected_until integer;
    alter table copies add column locked_until integer;
    """,
    """
    alter table runs add column scenario text not null default '';
    update runs set scenario = coalesce(
        (select json_extract(e.body, '$.scenario') from evidence e where e.seq = runs.seq and json_valid(e.body)), '')
        where verb = 'drill';
    drop index runs_system;
    create index runs_system on runs (system, verb, scenario, started, outcome, finished);
    """,
    """
    create table absences (
        system text not null, target text not null, name text not null, size integer not null, since integer not null,
        seen integer not null, waited real not null, state text not null, judged text not null,
        point text not null, primary key (system, target, name)) without rowid;
    """,
    """
    alter table copies add column doubtful integer not null default 0;
    """,
    """
    alter table copies add column missing integer not null default 0;
    alter table copies add column seen integer;
    create table repositories (
        system text not null, target text not null, id text not null, config text not null, begun integer not null,
        primary key (system, target)) without rowid;
    create table strangers (
        system text not null, target text not null, snapshot text not null, run_id text not null,
        installation text not null, machine text not null, primary key (system, target, snapshot)) without rowid;
    """,
    """
    create table notices (
        channel text not null, problem text not null, system text not null, subject text not null,
        state text not null, claim text not null, body text not null,
        primary key (channel, problem, system, subject)) without rowid;
    create table channels (
        name text primary key, failing integer, error text not null, tries integer not null, next_try integer,
        digest integer, report integer) without rowid;
    """,
    """
    create table attempts (
        system text not null, verb text not null, scenario text not null, begun integer not null, settled integer,
        worked integer, primary key (system, verb, scenario)) without rowid;
    insert into attempts
        select system, verb, scenario, max(started), max(case when outcome is not 'aborted' then started end),
            max(case when outcome in ('ok', 'degraded') then started end)
        from runs group by system, verb, scenario;
    """,
    """
    create index evidence_kind on evidence (kind, seq);
    create table chunks (id integer primary key, bodies blob not null);
    create table folded (
        seq integer primary key, kind text not null, system text not null, ref_key integer not null,
        finished integer not null, consistency integer, chunk integer not null, nth integer not null,
        digest blob not null, prev text);
    create index folded_of on folded (system, kind, finished);
    create index folded_ref on folded (ref_key);
    """,
    """
    create table stored_objects (
        system text not null, target text not null, name text not null, size integer, modified integer,
        version text not null, since integer not null, read integer, decrypted integer, indexed integer,
        primary key (system, target, name)) without rowid;
    insert into stored_objects (system, target, name, size, version, since)
        select m.system, m.target, j.key, j.value, '', 0
        from memory m, json_each(case when json_valid(m.text) then m.text else '{}' end, '$.objects') j
        where typeof(j.value) = 'integer';
    insert into stored_objects (system, target, name, version, since, indexed)
        select m.system, m.target, 'data/' || substr(j.key, 1, 2) || '/' || j.key, '', 0, j.value
        from memory m, json_each(case when json_valid(m.text) then m.text else '{}' end, '$.packs') j
        where typeof(j.value) = 'integer'
        on conflict (system, target, name) do update set indexed = excluded.indexed;
    insert into stored_objects (system, target, name, version, since, indexed)
        select m.system, m.target, 'index/' || j.value, '', 0, 1
        from memory m, json_each(case when json_valid(m.text) then m.text else '{}' end, '$.indexes') j
        where typeof(j.value) = 'text'
        on conflict (system, target, name) do update set indexed = 1;
    update memory set text = coalesce(json_extract(text, '$.config_hash'), '')
        where json_valid(text) and json_type(text, '$.objects') = 'object';
    """,
    """
    alter table places add column oldest_read integer;
    alter table places add column whole_within integer;
    alter table places add column unread_objects integer;
    alter table places add column stored_bytes integer;
    """,
    """
    alter table copies add column more text not null default '[]';
    """,
    """
    create table traffic (
        system text not null, target text not null, month text not null, begun integer not null, seen integer not null,
        runs integer not null, writes integer not null, lists integer not null, reads integer not null,
        deletes integer not null, sent integer not null, received integer not null, restic_sent integer not null,
        primary key (system, target, month)) without rowid;
    """,
    """
    alter table changes rename to changes_before;
    create table changes (
        run_id text not null, source text not null, system text not null, at integer not null,
        loud integer not null, body text not null, primary key (system, source, at, run_id)) without rowid;
    insert into changes select run_id, source, system, at, loud, body from changes_before
        order by system, source, at, run_id;
    drop table changes_before;
    """,
    """
    create index copies_damaged on copies (run_id) where damaged = 1;
    create index copies_missing on copies (run_id) where missing = 1;
    create index copies_locked on copies (protected_until) where protected_until is not null;
    """,
    """
    create table unrecorded (run_id text primary key) without rowid;
    insert into unrecorded select run_id from points p
        where not exists (select 1 from evidence e where e.ref = p.run_id and e.kind = 'backup')
        and not exists (select 1 from folded f where f.system = p.system and f.kind = 'backup'
            and f.finished = p.finished);
    """,
    """
    insert or ignore into unrecorded select run_id from points
        where exists (select 1 from evidence where kind in ('rebuild', 'repair'));
    """,
)
