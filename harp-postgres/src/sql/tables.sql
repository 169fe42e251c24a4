-- What HarpCaller keeps in PostgreSQL. Texts of users are opaque bytes; times are milliseconds
-- since 1970. Changes only add, so that nodes of two releases run side by side.
create schema if not exists harp;

create table if not exists harp.meta (layout int not null);
insert into harp.meta select 1 where not exists (select from harp.meta);

-- A node's term: its number and its epoch. Every change of a node locks this row FOR SHARE and
-- compares the epoch; whoever ends the term updates it, and so waits for changes under way.
-- `version` is that of the release that the node runs.
create table if not exists harp.term (
  node int primary key, name text not null unique, epoch bigint not null, alive boolean not null,
  version text not null default ''
);
-- Apart from the terms, so that a beat does not wait for a round.
create table if not exists harp.beat (
  node int primary key references harp.term, beat bigint not null
) with (fillfactor = 10);

create sequence if not exists harp.submission;

-- What never changes. `act` is the request that has brought the job in, `concurrency` what was
-- in force in its queue.
create table if not exists harp.call (
  id uuid primary key, act uuid not null, submitted bigint not null, key bytea,
  concurrency bigint, call bytea not null
);
-- `size`: bytes of the call, the packets and the outcome. `act` is the request that ended it.
create table if not exists harp.ended (
  id uuid primary key, act uuid not null, owner int not null, started bigint, ended bigint not null,
  packets bigint not null, failed boolean not null, size bigint not null, outcome bytea not null,
  remarks bytea
);
create index if not exists ended_in_order on harp.ended (ended, id) include (size);
-- A segment of at most 4 KiB stays in its row.
create table if not exists harp.packets (
  id uuid not null, first bigint not null, count int not null, data bytea not null,
  primary key (id, first)
) with (toast_tuple_target = 8160);
alter table harp.packets alter column data set storage external;

-- What changes: as many rows as jobs live, places are kept and queues exist.
-- stands: w waits in its queue, l waits for its time or for what its last attempt owes,
-- t has its turn, r runs. node, epoch and owner are those of whoever holds it; of one that is not
-- held, node and epoch are those of whoever sees to its times. `taken_in` is the node that was
-- asked for it, `wished` that somebody wants it to be cancelled who does not hold it.
create table if not exists harp.live (
  id uuid primary key, sequence bigint not null, stands "char" not null,
  queue bytea, name text, concurrency bigint, pool bytea,
  submitted bigint not null, start_by bigint, not_before bigint, attempt int not null,
  started bigint, token bytea not null, claim uuid,
  node int not null, epoch bigint not null, owner int not null,
  taken_in int not null, wished boolean not null default false
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
create index if not exists live_waiting on harp.live (queue, sequence) where stands = 'w';
create index if not exists live_placed on harp.live (queue) where stands in ('t', 'r');
create index if not exists live_pool on harp.live (pool, sequence) where pool is not null;
create index if not exists live_held on harp.live (node, epoch) where stands in ('t', 'r');
create index if not exists live_timed on harp.live (node, epoch)
  where start_by is not null or not_before is not null;
create index if not exists live_wished on harp.live (node) where wished;

-- What an attempt owes at its end: its place is kept until that is paid.
create table if not exists harp.debt (
  id uuid primary key, attempt int not null, token bytea not null, sequence bigint not null,
  queue bytea, node int not null, epoch bigint not null, owner int not null
);
create index if not exists debt_queue on harp.debt (queue);
create index if not exists debt_held on harp.debt (node, epoch);

-- used: places taken by jobs that have their turn or run, and kept ones.
create table if not exists harp.queue (
  digest bytea primary key, name text not null, concurrency bigint not null,
  used bigint not null, waiting bigint not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
create index if not exists queue_free on harp.queue (digest) where waiting > 0 and used < concurrency;

-- The job that a client's key stands for, and what its call asks for.
create table if not exists harp.key (digest bytea primary key, job uuid, same bytea);

create table if not exists harp.paper (
  kind int not null, name uuid not null, revision bigint not null, text bytea not null,
  primary key (kind, name)
);
alter table harp.paper alter column text set storage external;

-- One request of a round, and one line of what has become of it.
do $$ begin
  if to_regtype('harp.act_1') is null then
    create type harp.act_1 as (
      n int, kind text, job uuid, attempt int, owner int, act uuid, at bigint, data bytea,
      token bytea, queue bytea, name text, pool bytea, key bytea, same bytea,
      amount bigint, count bigint, longest bigint, start_by bigint, unless_since bigint,
      again bigint, failed boolean, remarks bytea
    );
    create type harp.told_1 as (
      n int, what text, job uuid, attempt int, owner int, at bigint, started bigint,
      packets bigint, size bigint, data bytea, token bytea, queue bytea, flag boolean,
      concurrency bigint
    );
  end if;
end $$;
