"""What is asked of a database's catalogue about one table, each statement once. One JSON document a row.

`{table}` is the table's quoted name, as a literal; the search path is empty, so that names come back whole.
"""

from __future__ import annotations

#: Schema, name, kind, and the name among the rows counted at capture: those of tables that others inherit from are
#: not all of what such a table shows.
LISTED = """
select json_build_array(n.nspname, c.relname, case c.relkind when 'v' then 'view' when 'm' then 'materialized view'
  when 'f' then 'foreign table' else 'table' end, case when exists (select from pg_inherits i where i.inhparent = c.oid)
  then '' else quote_ident(n.nspname) || '.' || quote_ident(c.relname) end)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid
    and e.deptype = 'e')
order by n.nspname, c.relname
"""

_OWNED = """select json_agg(json_build_array(a.attname, s.relname) order by a.attnum) from pg_depend w
    join pg_class s on s.oid = w.objid and s.relkind = 'S'
    join pg_attribute a on a.attrelid = w.refobjid and a.attnum = w.refobjsubid
    where w.classid = 'pg_class'::regclass and w.refobjid = c.oid and w.deptype = '{}'"""

#: What the table is like: `columns` that take values, what is `left` out of it by kind, the statements that `strip` it
#: of that, whether it is made of `several`, and its sequences, with their columns.
ABOUT = f"""
select json_build_object(
  'columns', (select coalesce(json_agg(quote_ident(a.attname) order by a.attnum), '[]') from pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''),
  'several', c.relkind = 'p' or c.relispartition or exists (select from pg_inherits i
    where c.oid in (i.inhrelid, i.inhparent)),
  'serials', coalesce(({_OWNED.format("a")}), '[]'), 'identities', coalesce(({_OWNED.format("i")}), '[]'),
  'left', json_build_object(
    'foreign keys left out', (select coalesce(json_agg(k.conname order by k.conname), '[]') from pg_constraint k
      where k.conrelid = c.oid and k.contype = 'f'),
    'triggers left out', (select coalesce(json_agg(t.tgname order by t.tgname), '[]') from pg_trigger t
      where t.tgrelid = c.oid and not t.tgisinternal),
    'rules left out', (select coalesce(json_agg(r.rulename order by r.rulename), '[]') from pg_rewrite r
      where r.ev_class = c.oid and r.rulename <> '_RETURN'),
    'row security left out', (select coalesce(json_agg(p.polname order by p.polname), '[]') from pg_policy p
      where p.polrelid = c.oid)),
  'strip', coalesce((select json_agg(format(x.text, c.oid::regclass, x.name)) from (
      select 'alter table %s drop constraint if exists %I' as text, k.conname as name from pg_constraint k
        where k.conrelid = c.oid and k.contype = 'f'
      union all select 'drop trigger %2$I on %1$s', t.tgname from pg_trigger t
        where t.tgrelid = c.oid and not t.tgisinternal
      union all select 'drop rule %2$I on %1$s', r.rulename from pg_rewrite r
        where r.ev_class = c.oid and r.rulename <> '_RETURN'
      union all select 'drop policy %2$I on %1$s', p.polname from pg_policy p where p.polrelid = c.oid
      union all select 'alter table %s disable row level security', '' where c.relrowsecurity
      union all select 'alter table %s no force row level security', '' where c.relforcerowsecurity) x), '[]'))
from pg_class c where c.oid = {{table}}::regclass
"""  # noqa: S608 - a constant of this module

#: The indexes and sequences that have names of their own beside the table's.
NAMED = """
select json_build_object(
  'index', (select coalesce(json_agg(i.relname order by i.relname), '[]') from pg_index x
    join pg_class i on i.oid = x.indexrelid where x.indrelid = c.oid),
  'sequence', (select coalesce(json_agg(s.relname order by s.relname), '[]') from pg_depend w
    join pg_class s on s.oid = w.objid and s.relkind = 'S'
    where w.classid = 'pg_class'::regclass and w.refobjid = c.oid and w.deptype in ('a', 'i')))
from pg_class c where c.oid = {table}::regclass
"""

#: Where its sequences go on.
SEQUENCES = """
select to_json(format('select pg_catalog.setval(%L, %s, %s)', s.oid::regclass,
  (xpath('/row/v/text()', query_to_xml(format('select last_value as v from %s', s.oid::regclass), false, true, '')))[1],
  (xpath('/row/v/text()', query_to_xml(format('select is_called as v from %s', s.oid::regclass), false, true, '')))[1]))
from pg_depend w join pg_class s on s.oid = w.objid and s.relkind = 'S'
where w.classid = 'pg_class'::regclass and w.refobjid = {table}::regclass and w.deptype in ('a', 'i')
order by s.relname
"""

#: All types that its columns are made of, whatever they are themselves made of.
_TYPES = """
with recursive used(oid) as (
  select a.atttypid from pg_attribute a where a.attrelid = {table}::regclass and a.attnum > 0 and not a.attisdropped
  union
  select x.oid from used u join pg_type y on y.oid = u.oid, lateral (
    select y.typelem as oid where y.typelem <> 0
    union all select y.typbasetype where y.typbasetype <> 0
    union all select r.rngsubtype from pg_range r where r.rngtypid = y.oid
    union all select a.atttypid from pg_attribute a where a.attrelid = y.typrelid and y.typtype = 'c' and a.attnum > 0
      and not a.attisdropped) x),
own as (select t.*, n.nspname from used u join pg_type t on t.oid = u.oid join pg_namespace n on n.oid = t.typnamespace
  where t.oid >= 16384 and not exists (select from pg_depend e where e.classid = 'pg_type'::regclass and e.objid = t.oid
    and e.deptype = 'e'))
"""

#: What is made before the table where that is not there: schemas, extensions, types.
BEFORE = f"""
{_TYPES},
made as (select o.oid, format('create type %I.%I as ', o.nspname, o.typname) || case o.typtype
    when 'e' then 'enum (' || (select coalesce(string_agg(quote_literal(e.enumlabel), ', '
      order by e.enumsortorder), '') from pg_enum e where e.enumtypid = o.oid)
    when 'c' then '(' || (select string_agg(quote_ident(a.attname) || ' '
      || format_type(a.atttypid, a.atttypmod), ', ' order by a.attnum) from pg_attribute a
      where a.attrelid = o.typrelid and a.attnum > 0 and not a.attisdropped)
    when 'r' then 'range (subtype = ' || (select format_type(r.rngsubtype, null)
      from pg_range r where r.rngtypid = o.oid)
    end || ')' as text
  from own o left join pg_class c on c.oid = o.typrelid where o.typtype in ('e', 'r') or c.relkind = 'c'
  union all
  select o.oid, format('create domain %I.%I as %s', o.nspname, o.typname, concat_ws(' ',
    format_type(o.typbasetype, o.typtypmod), (select format('collate %I.%I', m.nspname, l.collname) from pg_collation l
      join pg_namespace m on m.oid = l.collnamespace join pg_type b on b.oid = o.typbasetype
      where l.oid = o.typcollation and l.oid <> b.typcollation),
    'default ' || o.typdefault, case when o.typnotnull then 'not null' end,
    (select string_agg(format('constraint %I %s', k.conname, pg_get_constraintdef(k.oid)), ' ') from pg_constraint k
      where k.contypid = o.oid and k.contype = 'c')))
  from own o where o.typtype = 'd')
select to_json(text) from (
  select 0 as turn, 0::oid as oid, format('create schema if not exists %I', n.nspname) as text from pg_namespace n
    where n.nspname <> 'public' and (n.nspname in (select nspname from own) or n.oid =
      (select relnamespace from pg_class where oid = {{table}}::regclass))
  union all
  select 1, x.oid, format('create extension if not exists %I with schema %I', x.extname, n.nspname)
    from pg_extension x join pg_namespace n on n.oid = x.extnamespace where exists (select from used u join pg_depend e
      on e.classid = 'pg_type'::regclass and e.objid = u.oid and e.deptype = 'e' and e.refobjid = x.oid)
  union all
  select 2, oid, format('do %L', format('begin execute %L; exception when duplicate_object then null; end', text))
    from made) s order by turn, oid
"""  # noqa: S608 - a constant of this module

#: What it uses and does not bring: functions, sequences of others, types that are tables.
NEEDS = f"""
{_TYPES}
select to_json(text) from (
  select distinct 'the ' || i.type || ' ' || i.identity as text from pg_depend d
  cross join lateral pg_identify_object(d.refclassid, d.refobjid, 0) i
  where d.deptype = 'n' and d.refobjid >= 16384 and not exists (select from pg_depend e
      where e.classid = d.refclassid and e.objid = d.refobjid and e.deptype = 'e')
    and (d.refclassid = 'pg_proc'::regclass or d.refclassid = 'pg_class'::regclass and exists (select from pg_class s
      where s.oid = d.refobjid and s.relkind = 'S' and not exists (select from pg_depend w where w.objid = s.oid
        and w.classid = 'pg_class'::regclass and w.refobjid = {{table}}::regclass and w.deptype in ('a', 'i'))))
    and ((d.classid = 'pg_attrdef'::regclass and d.objid in
        (select oid from pg_attrdef where adrelid = {{table}}::regclass))
      or (d.classid = 'pg_constraint'::regclass and d.objid in
        (select oid from pg_constraint where conrelid = {{table}}::regclass))
      or (d.classid = 'pg_class'::regclass and d.objid in
        (select indexrelid from pg_index where indrelid = {{table}}::regclass)))
  union all
  select format('the table %I.%I, whose rows are a type of its own', o.nspname, o.typname) from own o
  join pg_class c on c.oid = o.typrelid where c.relkind <> 'c'
) s order by text collate "C"
"""  # noqa: S608 - a constant of this module

#: A role that may read every table, and do nothing else. Policies hide nothing from it.
READER = """
do $$ declare s record; begin
  if not exists (select from pg_roles where rolname = '{role}') then create role {role} login bypassrls; end if;
  for s in select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' loop
    execute format('grant usage on schema %I to {role}', s.nspname);
    execute format('grant select on all tables in schema %I to {role}', s.nspname);
  end loop;
end $$;
"""
