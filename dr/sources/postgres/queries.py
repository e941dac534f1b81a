"""What is asked of a database's catalogue, each statement once: rows, objects, needs. One JSON array a row.

Written for PostgreSQL 11 and later. Names are quoted where SQL would quote them. What an extension brings
along is not listed: the extension is.
"""

# What goes into these texts is written here; nothing comes from outside.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Sequence

#: So many tables are counted in one statement.
_TOGETHER = 100

#: A session that sees one moment, changes nothing, spells every name in full and is never cut off for waiting.
BEGIN = """
set search_path = ''; set max_parallel_workers_per_gather = 0; set extra_float_digits = 0;
begin isolation level repeatable read read only
"""

SNAPSHOT = "select to_json(pg_export_snapshot())"
VERSION = "select to_json(split_part(current_setting('server_version'), ' ', 1))"

#: The time zone that a session has before it sets its own.
ZONE = "select to_json(reset_val) from pg_settings where name = 'TimeZone'"

#: The bytes that the database takes, its indexes too.
SIZE = "select to_json(pg_database_size(current_database()))"

#: Databases that can be connected to, and what each must be made with again.
DATABASES = """
select jsonb_build_array(d.datname, jsonb_build_object(
  'owner', pg_get_userbyid(d.datdba), 'encoding', pg_encoding_to_char(d.encoding), 'collate', d.datcollate,
  'ctype', d.datctype, 'provider', coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'),
  'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
  'rules', to_jsonb(d) ->> 'daticurules', 'limit', d.datconnlimit, 'template', d.datistemplate,
  'comment', shobj_description(d.oid, 'pg_database'),
  'grants', (select jsonb_agg(g order by g::text collate "C") from (
     select case a.grantee when 0 then null else pg_get_userbyid(a.grantee) end as role, a.privilege_type as right,
       a.is_grantable as passes_on
     from aclexplode(d.datacl) a where a.grantee <> d.datdba) g),
  'settings', (select jsonb_agg(jsonb_build_array(r.rolname, split_part(c, '=', 1), substr(c, strpos(c, '=') + 1))
       order by r.rolname collate "C", c collate "C")
     from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole, unnest(s.setconfig) c
     where s.setdatabase = d.oid)))
from pg_database d where d.datallowconn and d.datname not in ('template0', 'template1')
order by d.datname collate "C"
"""

#: Whether the account may read the passwords of roles, as digests.
READS_PASSWORDS = "select to_json(has_table_privilege('pg_catalog.pg_authid', 'select'))"
#: Settings that every role has in every database, which pg_dumpall passes over, as statements. Lists are kept as they
#: are to be spelled, with quotes where an item needs them; all else is one text.
SETTINGS_OF_ALL = """
select to_json('ALTER ROLE ALL SET ' || (select string_agg(quote_ident(p), '.' order by i)
    from unnest(string_to_array(k, '.')) with ordinality q(p, i)) || ' TO '
  || case when k in ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries',
    'shared_preload_libraries', 'unix_socket_directories') and v not in ('', '""') then v
    when v = '""' then quote_literal('') else quote_literal(v) end || ';')
from pg_db_role_setting s, unnest(s.setconfig) c,
  lateral (select split_part(c, '=', 1) as k, substr(c, strpos(c, '=') + 1) as v) x
where s.setdatabase = 0 and s.setrole = 0 order by k collate "C"
"""

#: Labels of databases (asked for by name), roles and tablespaces, with the statements that make them again.
SHARED_LABELS = """
select json_build_array(i.type || ' ' || i.identity, format('SECURITY LABEL FOR %I ON %s %s IS %L;', l.provider,
  upper(i.type), i.identity, l.label))
from pg_shseclabel l cross join lateral pg_identify_object(l.classoid, l.objoid, 0) i
where l.classoid <> 'pg_database'::regclass or (select datname from pg_database where oid = l.objoid) = any({names})
order by i.type, i.identity collate "C"
"""

#: Materialised views that hold rows.
FILLED = """
select json_build_array(n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'm' and c.relispopulated
"""

#: What a dump makes after the rows and what cannot be made twice, as pg_restore calls it: kind, schema, name.
AFTERWARDS = """
with named as (select c.oid, n.nspname, c.relname, c.relkind
  from pg_class c join pg_namespace n on n.oid = c.relnamespace)
select json_build_array('INDEX', nspname, relname) from named where relkind in ('i', 'I')
union all select json_build_array(case contype when 'f' then 'FK CONSTRAINT' when 'c' then 'CHECK CONSTRAINT'
  else 'CONSTRAINT' end, nspname, relname || ' ' || conname) from pg_constraint join named on named.oid = conrelid
union all select json_build_array('TRIGGER', nspname, relname || ' ' || tgname)
  from pg_trigger join named on named.oid = tgrelid
union all select json_build_array('RULE', nspname, relname || ' ' || rulename)
  from pg_rewrite join named on named.oid = ev_class
union all select json_build_array('POLICY', nspname, relname || ' ' || polname)
  from pg_policy join named on named.oid = polrelid
union all select json_build_array('STATISTICS', nspname, stxname)
  from pg_statistic_ext join pg_namespace n on n.oid = stxnamespace
union all select json_build_array('EVENT TRIGGER', '', evtname) from pg_event_trigger
union all select json_build_array('PUBLICATION', '', pubname) from pg_publication
union all select json_build_array('PUBLICATION TABLE', nspname, pubname || ' ' || relname)
  from pg_publication_rel join pg_publication p on p.oid = prpubid join named on named.oid = prrelid
union all select json_build_array('SUBSCRIPTION', '', subname) from pg_subscription
  where subdbid = (select oid from pg_database where datname = current_database())
"""

#: Whether a database holds anything of somebody's own.
IN_USE = """
select to_json(exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and not exists (
    select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e'))
  or exists (select from pg_proc p where p.oid >= 16384 and not exists (
    select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype = 'e'))
  or exists (select from pg_extension where extname <> 'plpgsql') or exists (select from pg_largeobject_metadata)
  or exists (select from pg_namespace where oid >= 16384 and nspname !~ '^pg_(toast|temp)'))
"""

#: The tables whose rows are counted, each by its own, without those of tables that inherit.
TABLES_OF_ROWS = """
select to_json(quote_ident(n.nspname) || '.' || quote_ident(c.relname))
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and (c.relpersistence = 'p' or c.relpersistence = 'u' and not pg_is_in_recovery())
  and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid
    and e.deptype = 'e')
"""
LARGE_OBJECTS = "select json_build_array('pg_largeobject', count(*)) from pg_largeobject_metadata having count(*) > 0"


def rows_of(tables: Sequence[str]) -> str:
    """Return what counts the rows of tables, by their quoted names: their names and numbers.

    One statement for some hundreds: a thousand tables need no thousand answers over the network.
    """
    parts = [tables[at : at + _TOGETHER] for at in range(0, len(tables), _TOGETHER)]
    return ";\n".join(
        " union all ".join(
            f"select json_build_array({_text(name)}, (select count(*) from only {name}))" for name in part
        )
        for part in parts
    )


def _text(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


def _mine(catalogue: str, alias: str) -> str:
    return f"""n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and not exists (select from pg_depend e
  where e.classid = '{catalogue}'::regclass and e.objid = {alias}.oid and e.deptype = 'e')"""


def _grants(acl: str, owner: str) -> str:
    """What others than the owner may do."""
    return f"""nullif((select string_agg(format('%s %s%s', case g.grantee when 0 then 'everybody'
  else pg_get_userbyid(g.grantee) end, lower(g.privilege_type), case when g.is_grantable then ' and pass it on' end),
  ', ' order by pg_get_userbyid(g.grantee) collate "C", g.privilege_type collate "C")
  from aclexplode({acl}) g where g.grantee <> {owner}), '')"""


_COLLATION = """(select ' collate ' || quote_ident(m.nspname) || '.' || quote_ident(l.collname) from pg_collation l
  join pg_namespace m on m.oid = l.collnamespace where l.oid = a.attcollation
  and l.oid <> (select typcollation from pg_type where oid = a.atttypid))"""

_COLUMN = f"""format('%I %s%s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod), {_COLLATION},
  case when a.attnotnull then ' not null' end, ' default ' || pg_get_expr(d.adbin, d.adrelid),
  case when a.attidentity <> '' then ' identity ' || a.attidentity::text end)"""

#: A dump puts inherited columns first, whenever they came: their order is not kept. Partitions keep theirs.
_BY_NAME = """case when not c.relispartition and exists (select from pg_inherits i where i.inhrelid = c.oid)
  then a.attname end collate "C", """


def _tables(order: str, more: str) -> str:
    return f"""
select case c.relkind when 'p' then 'table' when 'r' then 'table' when 'f' then 'foreign table'
  when 'v' then 'view' when 'm' then 'materialized view' end,
  quote_ident(n.nspname) || '.' || quote_ident(c.relname),
  concat_ws('; ', (select string_agg({_COLUMN}, ', ' order by {order}a.attnum)
      from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'f')),
    case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end,
    case when c.relkind = 'p' then 'partitioned by ' || pg_get_partkeydef(c.oid) end,
    pg_get_expr(c.relpartbound, c.oid),
    (select 'inherits ' || string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno)
      from pg_inherits i where i.inhrelid = c.oid),
    case when c.relpersistence = 'u' then 'unlogged' end,
    case when c.relrowsecurity then 'row security' end, case when c.relforcerowsecurity then 'forced' end{more})
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f', 'v', 'm') and {_mine("pg_class", "c")}
"""


_MORE = """, 'with ' || (select string_agg(o, ', ' order by o collate "C") from unnest(c.reloptions) o),
    'generated ' || (select string_agg(quote_ident(a.attname), ', ' order by a.attname collate "C") from pg_attribute a
      where a.attrelid = c.oid and a.attgenerated <> '' and not a.attisdropped)"""

#: What is said about objects of somebody's own.
_COMMENTS = """
select 'comment', i.identity, d.description from pg_description d
cross join lateral pg_identify_object(d.classoid, d.objoid, d.objsubid) i
where d.objoid >= 16384 and i.type not in ('large object', 'extension') and not exists (select from pg_depend e
  where e.classid = d.classoid and e.objid = d.objoid and e.deptype = 'e')
"""

_SEQUENCES = f"""
select 'sequence', quote_ident(n.nspname) || '.' || quote_ident(c.relname),
  format('%s from %s by %s, %s to %s%s%s', format_type(s.seqtypid, null), s.seqstart, s.seqincrement, s.seqmin,
    s.seqmax, case when s.seqcycle then ' cycle' end,
    (select ' of ' || w.refobjid::regclass || '.' || quote_ident(a.attname) from pg_depend w join pg_attribute a
      on a.attrelid = w.refobjid and a.attnum = w.refobjsubid
      where w.classid = 'pg_class'::regclass and w.objid = c.oid and w.deptype in ('a', 'i')))
from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
where {_mine("pg_class", "c")}
"""

_INDEXES = f"""
select 'index', quote_ident(n.nspname) || '.' || quote_ident(c.relname), pg_get_indexdef(c.oid)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('i', 'I') and {_mine("pg_class", "c")} and not exists (select from pg_index i join pg_depend e
  on e.classid = 'pg_class'::regclass and e.objid = i.indrelid and e.deptype = 'e' where i.indexrelid = c.oid)
  and (c.relkind = 'I' or exists (select from pg_index i where i.indexrelid = c.oid and i.indisvalid))
"""

_CONSTRAINTS = f"""
select 'constraint', coalesce(nullif(k.conrelid, 0)::regclass::text, format_type(k.contypid, null)) || '.'
  || quote_ident(k.conname), pg_get_constraintdef(k.oid)
from pg_constraint k join pg_namespace n on n.oid = k.connamespace
where k.contype in ('c', 'f', 'p', 'u', 'x') and {_mine("pg_constraint", "k")} and not exists (select from pg_depend e
  where e.classid = 'pg_class'::regclass and e.objid = k.conrelid and e.deptype = 'e')
"""

_ROUTINES = f"""
select case p.prokind when 'a' then 'aggregate' when 'p' then 'procedure' else 'function' end,
  quote_ident(n.nspname) || '.' || quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')',
  case when p.prokind = 'a' then (select format('%s %s %s %s', g.aggtransfn, g.aggfinalfn,
    format_type(g.aggtranstype, null), g.agginitval) from pg_aggregate g where g.aggfnoid = p.oid)
  else pg_get_functiondef(p.oid) end
from pg_proc p join pg_namespace n on n.oid = p.pronamespace where {_mine("pg_proc", "p")}
"""

_TRIGGERS = f"""
select 'trigger', t.tgrelid::regclass || '.' || quote_ident(t.tgname),
  pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text
from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
where not t.tgisinternal and {_mine("pg_class", "c")}
union all
select 'event trigger', quote_ident(t.evtname), concat_ws(' ', t.evtevent, t.evttags::text,
  t.evtfoid::regproc::text, t.evtenabled)
from pg_event_trigger t where not exists (select from pg_depend e
  where e.classid = 'pg_event_trigger'::regclass and e.objid = t.oid and e.deptype = 'e')
"""

_POLICIES = f"""
select 'policy', p.polrelid::regclass || '.' || quote_ident(p.polname), concat_ws(' ', p.polcmd, p.polpermissive,
  (select string_agg(case r when 0 then 'everybody' else pg_get_userbyid(r) end, ', ' order by r)
    from unnest(p.polroles) r), pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
where {_mine("pg_class", "c")}
union all
select 'rule', r.ev_class::regclass || '.' || quote_ident(r.rulename), pg_get_ruledef(r.oid)
from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace
where r.rulename <> '_RETURN' and {_mine("pg_class", "c")}
"""

_TYPES = f"""
select 'type', format_type(t.oid, null), case t.typtype
  when 'e' then 'enum ' || (select string_agg(quote_literal(l.enumlabel), ', ' order by l.enumsortorder)
    from pg_enum l where l.enumtypid = t.oid)
  when 'd' then concat_ws(' ', 'domain', format_type(t.typbasetype, t.typtypmod), t.typdefault,
    case when t.typnotnull then 'not null' end)
  when 'r' then 'range ' || (select format_type(r.rngsubtype, null) from pg_range r where r.rngtypid = t.oid)
  else 'composite ' || (select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', '
    order by a.attnum) from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) end
from pg_type t join pg_namespace n on n.oid = t.typnamespace left join pg_class c on c.oid = t.typrelid
where (t.typtype in ('e', 'd', 'r') or t.typtype = 'c' and c.relkind = 'c') and {_mine("pg_type", "t")}
union all
select 'collation', quote_ident(n.nspname) || '.' || quote_ident(l.collname), concat_ws(' ', l.collprovider,
  l.collcollate, l.collctype, coalesce(to_jsonb(l) ->> 'colllocale', to_jsonb(l) ->> 'colliculocale'))
from pg_collation l join pg_namespace n on n.oid = l.collnamespace where {_mine("pg_collation", "l")}
union all
select 'statistics', quote_ident(n.nspname) || '.' || quote_ident(s.stxname), pg_get_statisticsobjdef(s.oid)
from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace where {_mine("pg_statistic_ext", "s")}
"""

_OTHERS = f"""
select 'schema', quote_ident(n.nspname), '' from pg_namespace n where {_mine("pg_namespace", "n")}
union all
select 'extension', quote_ident(x.extname), x.extversion from pg_extension x
union all
select 'publication', quote_ident(p.pubname), concat_ws(' ', p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete,
  (select string_agg(r.prrelid::regclass::text, ', ' order by r.prrelid::regclass::text collate "C")
   from pg_publication_rel r where r.prpubid = p.oid)) from pg_publication p
union all
select 'foreign server', quote_ident(f.srvname), concat_ws(' ', w.fdwname, f.srvtype, f.srvversion)
from pg_foreign_server f join pg_foreign_data_wrapper w on w.oid = f.srvfdw
"""

#: Who owns what, and who else may do what with it. The schema `public` belongs to another in each version.
_RIGHTS = f"""
select 'rights', quote_ident(n.nspname), concat_ws(', ', pg_get_userbyid(n.nspowner),
  {_grants("coalesce(n.nspacl, acldefault('n', n.nspowner))", "n.nspowner")})
from pg_namespace n where n.nspname <> 'public' and {_mine("pg_namespace", "n")}
union all
select 'rights', quote_ident(n.nspname) || '.' || quote_ident(c.relname), concat_ws(', ', pg_get_userbyid(c.relowner),
  {_grants("c.relacl", "c.relowner")}, (select string_agg(quote_ident(a.attname) || ': ' ||
    {_grants("a.attacl", "c.relowner")}, ', ' order by a.attnum) from pg_attribute a
    where a.attrelid = c.oid and a.attacl is not null and not a.attisdropped))
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f', 'v', 'm', 'S') and {_mine("pg_class", "c")}
union all
select 'rights', quote_ident(n.nspname) || '.' || quote_ident(p.proname) || '('
  || pg_get_function_identity_arguments(p.oid) || ')', concat_ws(', ', pg_get_userbyid(p.proowner),
  {_grants("coalesce(p.proacl, acldefault('f', p.proowner))", "p.proowner")})
from pg_proc p join pg_namespace n on n.oid = p.pronamespace where {_mine("pg_proc", "p")}
"""

_REST = (_SEQUENCES, _INDEXES, _CONSTRAINTS, _ROUTINES, _TRIGGERS, _POLICIES, _TYPES, _OTHERS, _RIGHTS)


def objects(spelling: int) -> str:
    """Return what lists a database's objects, as facts of that spelling have them."""
    kinds = (_tables("", ""), *_REST) if spelling < 2 else (_tables(_BY_NAME, _MORE), *_REST, _COMMENTS)
    return ";\n".join(
        f"select json_build_array(o.kind, o.name, o.definition) from ({kind}) as o (kind, name, definition)"
        for kind in kinds
    )


#: What a server must have before this database comes back.
NEEDS = r"""
select to_json('extension ' || extname) from pg_extension where extname <> 'plpgsql'
union all
select to_json('role ' || rolname) from pg_roles where rolname !~ '^pg_' and oid in (
  select refobjid from pg_shdepend where refclassid = 'pg_authid'::regclass
    and dbid = (select oid from pg_database where datname = current_database())
  union select datdba from pg_database where datname = current_database()
  union select relowner from pg_class where oid >= 16384
  union select nspowner from pg_namespace where oid >= 16384
  union select proowner from pg_proc where oid >= 16384)
union all
select to_json('locale ' || l) from pg_database, unnest(array[datcollate, datctype]) l
where datname = current_database()
union all
select to_json('locale ' || collcollate) from pg_collation where oid >= 16384 and collprovider = 'c'
union all
select to_json('provider icu'::text) from pg_database where datname = current_database()
  and to_jsonb(pg_database) ->> 'datlocprovider' = 'i'
union all
select to_json(x) from (select distinct 'collation ' || l.collname as x from pg_attribute a
join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
join pg_collation l on l.oid = a.attcollation
where l.oid < 16384 and l.collname not in ('default', 'C', 'POSIX', 'ucs_basic')
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema') y
"""

#: What a server has of all that a database could need.
OFFERED = """
select to_json('extension ' || name) from pg_available_extensions
union all select to_json('role ' || rolname) from pg_roles
union all select to_json('collation ' || collname) from pg_collation
union all select to_json('locale ' || collcollate) from pg_collation
  where collprovider = 'c' and collcollate is not null
union all select to_json('provider icu'::text) where exists (select from pg_collation where collprovider = 'i')
"""

#: Materialised views that show rows of foreign tables, however far behind other views or partitioned tables.
FROM_ELSEWHERE = """
with recursive far (oid) as (
  select oid from pg_catalog.pg_class where relkind = 'f'
  union
  select x.oid from far f cross join lateral (
    select r.ev_class as oid from pg_catalog.pg_depend d join pg_catalog.pg_rewrite r on r.oid = d.objid
    where d.classid = 'pg_catalog.pg_rewrite'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
      and d.refobjid = f.oid
    union all select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid = f.oid) x)
select json_build_array(n.nspname, c.relname) from far join pg_catalog.pg_class c on c.oid = far.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind = 'm'
order by n.nspname collate "C", c.relname collate "C"
"""

#: Subscriptions of the database that is asked; dumps make them disabled.
SUBSCRIPTIONS = """
select to_json(s.subname) from pg_catalog.pg_subscription s join pg_catalog.pg_database d on d.oid = s.subdbid
where d.datname = current_database() and not s.subenabled order by s.subname collate "C"
"""
