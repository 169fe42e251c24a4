-- The functions that change what is in the tables. A client's statement calls one of them, so
-- no transaction waits for a client. Each comes to the same when it is called again.
--
-- Locks are taken in one order: term, keys by digest, queues by digest, live jobs by id.

create or replace function harp.fence_1(me int, mine bigint) returns void
language plpgsql as $$
begin
  perform from harp.term where node = me and epoch = mine and alive for share;
  if not found then
    raise exception 'the term of this node is over' using errcode = 'HF001';
  end if;
end $$;

create or replace function harp.packets_of_1(job uuid) returns bigint
language sql stable as $$
  select coalesce((select p.first + p.count from harp.packets p where p.id = job
                   order by p.first desc limit 1), 0)
$$;

-- A line that says only what has become of a request.
create or replace function harp.told_1(a harp.act_1, what text) returns harp.told_1
language sql immutable as $$
  select row(a.n, what, a.job, a.attempt, a.owner, null, null, null, null, null, null, null,
             null, null)::harp.told_1
$$;

create or replace function harp.told_end_1(a harp.act_1, what text, e harp.ended, debt boolean)
returns harp.told_1 language sql immutable as $$
  select row(a.n, what, e.id, a.attempt, a.owner, e.ended, e.started, e.packets, e.size,
             e.outcome, e.remarks, null, debt, null)::harp.told_1
$$;

-- A job that has its turn, with its call; of one in a pool only that it can be fetched. With it
-- come the seconds within which it has to start, behind its submission.
create or replace function harp.told_turn_1(l harp.live) returns harp.told_1
language sql stable as $$
  select row(null, case when l.pool is null then 'turn' else 'offer' end, l.id, l.attempt,
             l.owner, case when l.attempt = 1 then l.start_by end, l.submitted,
             case when l.attempt = 1 then 0 else harp.packets_of_1(l.id) end,
             null, c.call, null, l.queue, l.wished, c.concurrency)::harp.told_1
  from harp.call c where c.id = l.id
$$;

-- A job that runs, with its call.
create or replace function harp.told_run_1(l harp.live) returns harp.told_1
language sql stable as $$
  select row(null, 'runs', l.id, l.attempt, l.owner, null, l.started, harp.packets_of_1(l.id),
             null, c.call, l.token, l.queue, l.wished, c.concurrency)::harp.told_1
  from harp.call c where c.id = l.id
$$;

-- What an attempt owes, with the call.
create or replace function harp.told_debt_1(d harp.debt) returns harp.told_1
language sql stable as $$
  select row(null, 'owes', d.id, d.attempt, d.owner, null, null, harp.packets_of_1(d.id),
             null, c.call, d.token, d.queue, null, c.concurrency)::harp.told_1
  from harp.call c where c.id = d.id
$$;

-- A job that waits for a time: until when it has to start, or from when on it may.
create or replace function harp.told_time_1(l harp.live) returns harp.told_1
language sql immutable as $$
  select row(null, 'time', l.id, l.attempt, l.owner, case when l.attempt = 1 then l.start_by end,
             l.submitted, null, case when l.stands = 'l' then l.not_before end,
             null, null, null, null, null)::harp.told_1
$$;

-- Takes a job in, unless there is no room or its key stands for another one.
create or replace function harp.accept_1(me int, mine bigint, gives boolean, a harp.act_1)
returns harp.told_1 language plpgsql as $$
declare
  told harp.told_1 := harp.told_1(a, 'new');
  q harp.queue; k harp.key; was_taken_in_by uuid; is_young boolean; placed boolean := gives;
  runs boolean;
begin
  select c.act into was_taken_in_by from harp.call c where c.id = a.job;
  if found then
    select l.started, l.owner into told.started, told.owner from harp.live l
      where l.id = a.job and l.stands = 'r' and l.node = me and l.epoch = mine;
    told.flag := was_taken_in_by = a.act;
    return told;
  end if;
  if a.key is not null then
    select * into k from harp.key t where t.digest = a.key;
    if k.job is not null then
      is_young := true;
      if a.unless_since is not null then
        select a.at < c.submitted + a.unless_since * 1000 and not coalesce(e.failed, false)
          into is_young from harp.call c left join harp.ended e using (id) where c.id = k.job;
      end if;
      if is_young and k.same <> a.same then
        told.what := 'key taken';
        return told;
      elsif is_young then
        told.what := 'before'; told.job := k.job;
        return told;
      end if;
    end if;
  end if;
  if a.queue is not null then
    select * into q from harp.queue t where t.digest = a.queue;
    if q.waiting >= a.longest then
      told.what := 'full'; told.at := a.longest;
      return told;
    end if;
    placed := gives and q.waiting = 0 and q.used < q.concurrency;
    update harp.queue t set used = used + placed::int, waiting = waiting + (not placed)::int
      where t.digest = a.queue;
  end if;
  runs := placed and a.pool is null;
  told.flag := true; told.owner := runs::int; told.queue := a.queue;
  told.started := case when runs then greatest(a.at, a.again) end;
  told.concurrency := q.concurrency;
  insert into harp.call values (a.job, a.act, a.at, a.key, q.concurrency, a.data);
  update harp.key t set job = a.job, same = a.same where t.digest = a.key;
  -- Numbers are given under the queue's lock, which is held until the commit.
  insert into harp.live values (
    a.job, nextval('harp.submission'),
    case when runs then 'r' when placed then 't' else 'w' end,
    a.queue, a.name, q.concurrency, a.pool, a.at, a.start_by, null, 1, told.started,
    coalesce(a.token, ''), null, me, mine, runs::int, me, false
  );
  if placed and not runs then told.at := 1; end if;
  return told;
end $$;

-- Whether this is the holder of the job.
create or replace function harp.holds_1(me int, mine bigint, a harp.act_1, l harp.live)
returns boolean language sql immutable as $$
  select l.owner = a.owner and l.node = me and l.epoch = mine and l.attempt = a.attempt
     and l.stands in ('t', 'r')
$$;

create or replace function harp.started_1(me int, mine bigint, a harp.act_1) returns harp.told_1
language plpgsql as $$
declare
  l harp.live; e harp.ended; told harp.told_1 := harp.told_1(a, 'started');
begin
  select * into l from harp.live t where t.id = a.job;
  if not found then
    select * into e from harp.ended t where t.id = a.job;
    return case when found and e.owner <= a.owner then harp.told_end_1(a, 'taken', e, false)
                else harp.told_1(a, 'fenced') end;
  end if;
  if not harp.holds_1(me, mine, a, l) then
    return harp.told_1(a, 'fenced');
  end if;
  told.at := l.started;
  if l.stands = 't' or l.token <> a.token then
    told.at := greatest(a.at, l.submitted);
    update harp.live t set stands = 'r', started = told.at, token = a.token, not_before = null
      where t.id = a.job;
  end if;
  return told;
end $$;

create or replace function harp.note_1(me int, mine bigint, a harp.act_1) returns harp.told_1
language plpgsql as $$
declare l harp.live;
begin
  select * into l from harp.live t where t.id = a.job;
  if not found then
    return harp.told_1(a, case when exists (select from harp.ended e where e.id = a.job
                          and e.owner <= a.owner) then 'done' else 'fenced' end);
  end if;
  if not harp.holds_1(me, mine, a, l) then
    return harp.told_1(a, 'fenced');
  end if;
  update harp.live t set token = a.token where t.id = a.job and t.stands = 'r';
  return harp.told_1(a, 'done');
end $$;

create or replace function harp.append_1(me int, mine bigint, a harp.act_1) returns harp.told_1
language plpgsql as $$
declare l harp.live; kept bigint := harp.packets_of_1(a.job);
begin
  if a.amount + a.count <= kept then
    return harp.told_1(a, 'done');
  end if;
  select * into l from harp.live t where t.id = a.job;
  if not found or not harp.holds_1(me, mine, a, l) then
    return harp.told_1(a, 'fenced');
  elsif a.amount <> kept then
    return harp.told_1(a, 'does not follow');
  end if;
  insert into harp.packets values (a.job, a.amount, a.count, a.data);
  return harp.told_1(a, 'done');
end $$;

-- Writes the end of a live job, whose row is gone.
create or replace function harp.end_1(a harp.act_1, l harp.live, packets bigint)
returns harp.ended language sql as $$
  insert into harp.ended values (
    l.id, a.act, l.owner, l.started, greatest(a.at, coalesce(l.started, l.submitted)), packets,
    a.failed,
    octet_length(a.data)
      + (select octet_length(c.call) from harp.call c where c.id = l.id)
      + coalesce((select sum(octet_length(p.data)) from harp.packets p where p.id = l.id), 0),
    a.data, a.remarks)
  returning *
$$;

create or replace function harp.close_1(me int, mine bigint, a harp.act_1) returns harp.told_1
language plpgsql as $$
declare
  l harp.live; e harp.ended; told harp.told_1 := harp.told_1(a, 'again');
  kept bigint; owes boolean := a.token is not null;
begin
  select * into l from harp.live t where t.id = a.job;
  if not found then
    select * into e from harp.ended t where t.id = a.job;
    if not found or e.owner > a.owner then
      return harp.told_1(a, 'fenced');
    end if;
    return harp.told_end_1(a, 'closed', e, exists (
      select from harp.debt d where d.id = a.job and d.attempt = a.attempt));
  end if;
  if a.attempt < l.attempt then
    told.flag := exists (select from harp.debt d where d.id = a.job and d.attempt = a.attempt);
    return told;
  elsif not harp.holds_1(me, mine, a, l) then
    return harp.told_1(a, 'fenced');
  end if;
  kept := harp.packets_of_1(a.job);
  if kept <> a.amount then
    told.what := 'other count'; told.packets := kept;
    return told;
  end if;
  if a.again is null then
    delete from harp.live t where t.id = a.job;
    e := harp.end_1(a, l, kept);
    told := harp.told_end_1(a, 'closed', e, owes);
  else
    update harp.live t set stands = 'l', started = null, claim = null, attempt = l.attempt + 1,
      not_before = a.again where t.id = a.job;
    told.flag := owes;
  end if;
  if owes then
    insert into harp.debt
      values (l.id, l.attempt, a.token, l.sequence, l.queue, me, mine, l.owner);
  else
    update harp.queue t set used = used - 1 where t.digest = l.queue;
  end if;
  return told;
end $$;

-- Lets a job wait in its queue that waits for nothing else; without a queue it has its turn.
create or replace function harp.line_up_1(me int, mine bigint, gives boolean, which uuid)
returns setof harp.told_1 language plpgsql as $$
declare l harp.live;
begin
  select * into l from harp.live t where t.id = which and t.stands = 'l'
    and t.not_before is null and not exists (select from harp.debt d where d.id = which);
  if not found then
    return;
  end if;
  if l.queue is null and gives then
    update harp.live t set stands = 't', node = me, epoch = mine, owner = owner + 1
      where t.id = which returning * into l;
    return next harp.told_turn_1(l);
  else
    update harp.live t set stands = 'w' where t.id = which;
    update harp.queue t set waiting = waiting + 1 where t.digest = l.queue;
  end if;
end $$;

create or replace function harp.settle_1(me int, mine bigint, gives boolean, a harp.act_1)
returns setof harp.told_1 language plpgsql as $$
declare d harp.debt; l harp.live; is_over boolean;
begin
  select * into d from harp.debt t where t.id = a.job for update;
  if found and d.attempt = a.attempt then
    if d.owner <> a.owner or d.node <> me or d.epoch <> mine then
      return next harp.told_1(a, 'fenced');
      return;
    end if;
    delete from harp.debt t where t.id = a.job;
    update harp.queue t set used = used - 1 where t.digest = d.queue;
    return next harp.told_1(a, 'done');
    return query select * from harp.line_up_1(me, mine, gives, a.job);
    return;
  end if;
  select * into l from harp.live t where t.id = a.job;
  if found then
    is_over := l.attempt > a.attempt;
  else
    is_over := exists (select from harp.ended e where e.id = a.job and e.owner <= a.owner);
  end if;
  return next harp.told_1(a, case when is_over then 'done' else 'fenced' end);
end $$;

-- The time has come that a job has waited for, if it is still this one.
create or replace function harp.ready_1(me int, mine bigint, gives boolean, a harp.act_1)
returns setof harp.told_1 language plpgsql as $$
begin
  update harp.live t set not_before = null
    where t.id = a.job and t.stands = 'l' and t.not_before = a.amount;
  return next harp.told_1(a, 'done');
  return query select * from harp.line_up_1(me, mine, gives, a.job);
end $$;

-- Ends those that have not started: one job, or all of a queue or a pool, in their order. With
-- an attempt only one that is in this attempt.
create or replace function harp.withdraw_1(a harp.act_1) returns setof harp.told_1
language plpgsql as $$
declare l harp.live; e harp.ended;
begin
  if a.job is not null then
    select * into e from harp.ended t where t.id = a.job and t.act = a.act;
    if found then return next harp.told_end_1(a, 'ended', e, false); end if;
  else
    -- By an answer that was lost.
    for e in select x.* from harp.ended x join harp.call c using (id)
      where a.count > 0 and x.act = a.act and x.ended >= a.at order by x.id
    loop
      return next harp.told_end_1(a, 'ended', e, false);
    end loop;
  end if;
  for l in
    select * from harp.live t
    where t.stands in ('w', 't', 'l') and (a.attempt = 0 or t.attempt = a.attempt)
      and case when a.job is not null then t.id = a.job
               when a.queue is not null then t.queue = a.queue else t.pool = a.pool end
    order by t.sequence for update
  loop
    delete from harp.live t where t.id = l.id;
    e := harp.end_1(a, l, harp.packets_of_1(l.id));
    update harp.queue t set used = used - (l.stands = 't')::int,
      waiting = waiting - (l.stands = 'w')::int where t.digest = l.queue;
    return next harp.told_end_1(a, 'ended', e, false);
  end loop;
  return next harp.told_1(a, 'done');
end $$;

-- A worker takes a job out of a pool, where it has its place: this one, or the first.
create or replace function harp.claim_1(me int, mine bigint, a harp.act_1) returns harp.told_1
language plpgsql as $$
declare l harp.live; told harp.told_1 := harp.told_1(a, 'claimed');
begin
  select * into l from harp.live t where t.pool = a.pool and t.claim = a.act;
  if not found then
    select * into l from harp.live t
      where t.pool = a.pool and t.stands = 't' and (a.job is null or t.id = a.job)
      order by t.sequence limit 1 for update skip locked;
    if not found then
      return harp.told_1(a, 'none');
    end if;
    update harp.live t set stands = 'r', started = greatest(a.at, t.submitted), token = a.token,
      claim = a.act, node = me, epoch = mine, owner = owner + 1 where t.id = l.id
      returning * into l;
  end if;
  told.job := l.id; told.attempt := l.attempt; told.owner := l.owner; told.started := l.started;
  told.queue := l.queue; told.packets := harp.packets_of_1(l.id);
  select c.call, c.concurrency into told.data, told.concurrency
    from harp.call c where c.id = l.id;
  return told;
end $$;

-- Leaves the wish that a job which runs be cancelled.
create or replace function harp.wish_1(a harp.act_1) returns harp.told_1
language plpgsql as $$
begin
  update harp.live t set wished = true where t.id = a.job and t.stands = 'r';
  return harp.told_1(a, case when found then 'done' else 'none' end);
end $$;

create or replace function harp.paper_1(a harp.act_1) returns harp.told_1
language plpgsql as $$
declare p harp.paper; told harp.told_1 := harp.told_1(a, 'done'); revision bigint;
begin
  select * into p from harp.paper t where t.kind = a.count and t.name = a.job for update;
  revision := case when found then p.revision else 0 end;
  if (a.data is null and revision = 0)
     or (a.data is not null and revision = a.amount + 1 and p.text = a.data) then
    return told;
  elsif revision = a.amount and a.data is null then
    delete from harp.paper t where t.kind = a.count and t.name = a.job;
    return told;
  elsif revision = a.amount then
    insert into harp.paper values (a.count, a.job, a.amount + 1, a.data)
      on conflict (kind, name) do update set revision = excluded.revision, text = excluded.text
      where harp.paper.revision = a.amount;
    if found then return told; end if;
    select * into p from harp.paper t where t.kind = a.count and t.name = a.job;
    revision := p.revision;
  end if;
  told.what := 'other'; told.at := revision; told.data := p.text;
  return told;
end $$;

create or replace function harp.prune_1(a harp.act_1) returns harp.told_1
language plpgsql as $$
begin
  if not exists (select from harp.debt d where d.id = a.job) then
    delete from harp.ended t where t.id = a.job;
    if found then
      delete from harp.packets t where t.id = a.job;
      delete from harp.key t using harp.call c
        where c.id = a.job and t.digest = c.key and t.job = a.job;
      delete from harp.call t where t.id = a.job;
    end if;
  end if;
  return harp.told_1(a, case when exists (select from harp.call c where c.id = a.job)
                        then 'kept' else 'gone' end);
end $$;

-- Gives free places of a queue, whose row is locked, to those whose turn it is.
create or replace function harp.promote_1(me int, mine bigint, which bytea)
returns setof harp.told_1 language plpgsql as $$
declare q harp.queue; l harp.live; given int := 0;
begin
  select * into q from harp.queue t where t.digest = which;
  for l in
    with given as (
      update harp.live t set stands = 't', node = me, epoch = mine, owner = t.owner + 1
      where t.id in (
        select w.id from harp.live w where w.queue = which and w.stands = 'w'
        order by w.sequence limit greatest(q.concurrency - q.used, 0))
      returning t.*)
    select * from given order by sequence
  loop
    given := given + 1;
    return next harp.told_turn_1(l);
  end loop;
  if given > 0 then
    update harp.queue t set used = used + given, waiting = waiting - given
      where t.digest = which;
  end if;
end $$;

-- Makes the requests of a round, in their order, then gives the places that are free.
create or replace function harp.round_1(
  me int, mine bigint, gives boolean,
  kinds text[], jobs uuid[], attempts int[], owners int[], acts uuid[], ats bigint[],
  datas bytea[], tokens bytea[], queues bytea[], names text[], pools bytea[], keys bytea[],
  sames bytea[], amounts bigint[], counts bigint[], longests bigint[], start_bys bigint[],
  unlesses bigint[], agains bigint[], faileds boolean[], remarkses bytea[]
) returns setof harp.told_1 language plpgsql as $$
declare
  a harp.act_1; m harp.act_1; all_acts harp.act_1[]; told harp.told_1; tells harp.told_1[];
  touched bytea[]; wanted int; which bytea;
begin
  perform harp.fence_1(me, mine);
  select array_agg(row(u.n, u.kind, u.job, u.attempt, u.owner, u.act, u.at, u.data, u.token,
      u.queue, u.name, u.pool, u.key, u.same, u.amount, u.count, u.longest, u.start_by,
      u.unless_since, u.again, u.failed, u.remarks)::harp.act_1 order by u.n)
    into all_acts
    from unnest(kinds, jobs, attempts, owners, acts, ats, datas, tokens, queues, names, pools,
      keys, sames, amounts, counts, longests, start_bys, unlesses, agains, faileds, remarkses)
      with ordinality as u(kind, job, attempt, owner, act, at, data, token, queue, name, pool,
      key, same, amount, count, longest, start_by, unless_since, again, failed, remarks, n);
  if exists (select from unnest(keys) k where k is not null) then
    loop
      insert into harp.key (digest) select distinct k from unnest(keys) k where k is not null
        order by k on conflict do nothing;
      perform from harp.key t where t.digest = any(keys) order by t.digest for update;
      select count(distinct k) into wanted from unnest(keys) k where k is not null;
      exit when wanted = (select count(*) from harp.key t where t.digest = any(keys));
    end loop;
  end if;
  select array_agg(distinct x.queue) into touched from (
    select q as queue from unnest(queues) q
    union all select l.queue from harp.live l where l.id = any(jobs)
    union all select d.queue from harp.debt d where d.id = any(jobs)
    union all select l.queue from unnest(kinds, pools) u(kind, pool)
      join harp.live l on l.pool = u.pool where u.kind = 'withdraw'
  ) x where x.queue is not null;
  if touched is not null then
    loop
      insert into harp.queue
        select distinct on (x.queue) x.queue, x.name, x.concurrency, 0, 0 from (
          select u.queue, u.name, u.amount as concurrency
            from unnest(queues, names, amounts) u(queue, name, amount) where u.name is not null
          union all select l.queue, l.name, l.concurrency from harp.live l
            where l.id = any(jobs) and l.stands = 'l'
        ) x where x.queue is not null order by x.queue on conflict do nothing;
      perform from harp.queue t where t.digest = any(touched) order by t.digest for update;
      -- One that somebody else has removed meanwhile is made again.
      exit when not exists (
        select from unnest(queues, names) u(queue, name) where u.name is not null
          and not exists (select from harp.queue t where t.digest = u.queue));
    end loop;
  end if;
  perform from harp.live l
    where l.id in (select u.job from unnest(kinds, jobs) u(kind, job)
                   where u.kind in ('started', 'note', 'close', 'settle', 'ready', 'withdraw', 'wish'))
    order by l.id for update;

  foreach a in array all_acts loop
    case a.kind
      when 'accept' then
        if a.count = 1 then
          return next harp.accept_1(me, mine, gives, a);
        else
          -- All of them, or none.
          begin
            tells := '{}';
            foreach m in array all_acts[a.n : (a.n + a.count - 1)::int] loop
              told := harp.accept_1(me, mine, gives, m);
              tells := tells || told;
              if told.what in ('key taken', 'full') then
                raise exception 'not taken in' using errcode = 'HF002';
              end if;
            end loop;
          exception when sqlstate 'HF002' then
            told.n := a.n;
            tells := array[told];
          end;
          return query select * from unnest(tells);
        end if;
      when 'with' then null; -- of the accept before
      when 'started' then return next harp.started_1(me, mine, a);
      when 'note' then return next harp.note_1(me, mine, a);
      when 'append' then return next harp.append_1(me, mine, a);
      when 'close' then return next harp.close_1(me, mine, a);
      when 'settle' then return query select * from harp.settle_1(me, mine, gives, a);
      when 'ready' then return query select * from harp.ready_1(me, mine, gives, a);
      when 'withdraw' then return query select * from harp.withdraw_1(a);
      when 'claim' then return next harp.claim_1(me, mine, a);
      when 'wish' then return next harp.wish_1(a);
      when 'paper' then return next harp.paper_1(a);
      when 'prune' then return next harp.prune_1(a);
    end case;
  end loop;
  if touched is not null then
    foreach which in array touched loop
      if gives then
        return query select * from harp.promote_1(me, mine, which);
      end if;
      delete from harp.queue t where t.digest = which and t.used = 0 and t.waiting = 0;
    end loop;
  end if;
  delete from harp.key t where t.digest = any(keys) and t.job is null;
end $$;

-- All nodes, and their beats.
create or replace function harp.look_1()
returns table (node int, name text, epoch bigint, alive boolean, beat bigint)
language sql stable as $$
  select t.node, t.name, t.epoch, t.alive, b.beat
  from harp.term t join harp.beat b using (node) order by t.node
$$;

-- Ends the term of a node whose beat has not moved since it was seen.
create or replace function harp.end_term_1(which int, seen bigint, seen_beat bigint)
returns void language sql as $$
  update harp.term t set alive = false where t.node = which and t.epoch = seen
    and exists (select from harp.beat b where b.node = which and b.beat = seen_beat)
$$;

-- The same by a node, while its own term goes on.
create or replace function harp.take_over_1(
  me int, mine bigint, which int, seen bigint, seen_beat bigint
) returns void language plpgsql as $$
begin
  perform harp.fence_1(me, mine);
  perform harp.end_term_1(which, seen, seen_beat);
end $$;

-- Begins a term, unless a node of this name is there.
create or replace function harp.join_1(called text, release text)
returns table (node int, epoch bigint) language plpgsql as $$
begin
  lock table harp.term in share row exclusive mode;
  if exists (select from harp.term t where t.alive and t.name = called) then
    return;
  end if;
  insert into harp.term select coalesce(max(t.node), 0) + 1, called, 0, false from harp.term t
    where not exists (select from harp.term x where x.name = called)
    having not exists (select from harp.term x where x.name = called);
  insert into harp.beat select t.node, 0 from harp.term t where t.name = called
    on conflict do nothing;
  return query update harp.term t set epoch = t.epoch + 1, alive = true, version = release
    where t.name = called returning t.node, t.epoch;
end $$;

-- Whether a term is over.
create or replace function harp.is_over_1(which int, its bigint) returns boolean
language sql stable as $$
  select not exists (select from harp.term t where t.node = which and t.epoch = its and t.alive)
$$;

-- Says that this node is there, and tells what it has to know: the nodes, whom of its jobs
-- somebody wants to be cancelled, the newest job that can be fetched, and whether there is
-- something that nobody sees to.
create or replace function harp.beat_1(me int, mine bigint)
returns table (
  kind text, node int, name text, epoch bigint, beat bigint, alive boolean, version text,
  job uuid, attempt int, owner int
) language plpgsql as $$
begin
  perform harp.fence_1(me, mine);
  update harp.beat b set beat = b.beat + 1 where b.node = me;
  return query select 'node', t.node, t.name, t.epoch, b.beat, t.alive, t.version,
      null::uuid, null::int, null::int
    from harp.term t join harp.beat b on b.node = t.node order by t.node;
  return query select 'wish', null::int, null::text, null::bigint, null::bigint, null::boolean,
      null::text, l.id, l.attempt, l.owner
    from harp.live l where l.node = me and l.epoch = mine and l.wished and l.stands = 'r';
  return query select 'pool', null::int, null::text, null::bigint, max(l.sequence),
      null::boolean, null::text, null::uuid, null::int, null::int
    from harp.live l where l.pool is not null and l.stands = 't' having count(*) > 0;
  if exists (select from (
               select l.node, l.epoch from harp.live l
                 where l.stands in ('t', 'r') and (l.stands = 'r' or l.pool is null)
               union select l.node, l.epoch from harp.live l
                 where l.start_by is not null or l.not_before is not null
               union select d.node, d.epoch from harp.debt d) x
             where harp.is_over_1(x.node, x.epoch))
     or exists (select from harp.queue q where q.waiting > 0 and q.used < q.concurrency)
     or exists (select from harp.live l where l.stands = 'w' and l.queue is null) then
    return query select 'left', null::int, null::text, null::bigint, null::bigint, null::boolean,
      null::text, null::uuid, null::int, null::int;
  end if;
end $$;

create or replace function harp.leave_1(me int, mine bigint) returns void
language sql as $$
  update harp.term t set alive = false where t.node = me and t.epoch = mine
$$;

-- Makes this node the holder of what was held in terms that are over, at most so much of each
-- kind; nodes that do this at the same time share it. No lock is waited for.
create or replace function harp.adopt_1(me int, mine bigint, most int)
returns setof harp.told_1 language plpgsql as $$
declare d harp.debt; l harp.live;
begin
  perform harp.fence_1(me, mine);
  for d in
    with found as (
      select x.id from harp.debt x where harp.is_over_1(x.node, x.epoch)
      order by x.id limit most for update skip locked),
    given as (
      update harp.debt x set node = me, epoch = mine, owner = x.owner + 1
      from found where x.id = found.id returning x.*)
    select * from given order by sequence
  loop
    return next harp.told_debt_1(d);
  end loop;
  for l in
    with found as (
      select x.id from harp.live x
      where (x.stands = 'r' or (x.stands = 't' and x.pool is null))
        and harp.is_over_1(x.node, x.epoch)
      order by x.id limit most for update skip locked),
    given as (
      update harp.live x set node = me, epoch = mine, owner = x.owner + 1
      from found where x.id = found.id returning x.*)
    select * from given order by sequence
  loop
    return next case when l.stands = 'r' then harp.told_run_1(l) else harp.told_turn_1(l) end;
  end loop;
  for l in
    with found as (
      select x.id from harp.live x
      where (x.stands in ('w', 'l') or (x.stands = 't' and x.pool is not null))
        and (x.start_by is not null or x.not_before is not null)
        and harp.is_over_1(x.node, x.epoch)
      order by x.id limit most for update skip locked),
    given as (
      update harp.live x set node = me, epoch = mine
      from found where x.id = found.id returning x.*)
    select * from given order by sequence
  loop
    return next harp.told_time_1(l);
  end loop;
end $$;

-- Gives places that nobody has given away to those whose turn it is; what waits for nothing has
-- its turn.
create or replace function harp.sweep_1(me int, mine bigint)
returns setof harp.told_1 language plpgsql as $$
declare which bytea; l harp.live;
begin
  perform harp.fence_1(me, mine);
  for which in select q.digest from harp.queue q where q.waiting > 0 and q.used < q.concurrency
    order by q.digest for update skip locked
  loop
    return query select * from harp.promote_1(me, mine, which);
  end loop;
  for l in
    with found as (
      select x.id from harp.live x where x.stands = 'w' and x.queue is null
      order by x.id for update skip locked),
    given as (
      update harp.live x set stands = 't', node = me, epoch = mine, owner = x.owner + 1
      from found where x.id = found.id returning x.*)
    select * from given order by sequence
  loop
    return next harp.told_turn_1(l);
  end loop;
end $$;

-- All that this node holds: what is owed, what runs, what has its turn; in their order. Behind
-- it the times that it sees to.
create or replace function harp.mine_1(me int, mine bigint) returns setof harp.told_1
language plpgsql as $$
begin
  perform harp.fence_1(me, mine);
  return query select (t.t).* from (
    select harp.told_debt_1(d) t from harp.debt d
    where d.node = me and d.epoch = mine order by d.sequence) t;
  return query select (t.t).* from (
    select harp.told_run_1(l) t from harp.live l
    where l.node = me and l.epoch = mine and l.stands = 'r' order by l.sequence) t;
  return query select (t.t).* from (
    select harp.told_turn_1(l) t from harp.live l
    where l.node = me and l.epoch = mine and l.stands = 't' and l.pool is null
    order by l.sequence) t;
  return query select (t.t).* from (
    select harp.told_time_1(l) t from harp.live l
    where l.node = me and l.epoch = mine
      and (l.stands in ('w', 'l') or (l.stands = 't' and l.pool is not null))
      and (l.start_by is not null or l.not_before is not null)
    order by l.sequence) t;
end $$;

-- How others get on with these jobs, in the order of the question.
create or replace function harp.elsewhere_1(jobs uuid[])
returns table (stands "char", node int, is_ended boolean, packets bigint)
language sql stable as $$
  select l.stands, l.node, l.id is null and e.id is not null,
         case when l.stands = 'r' then harp.packets_of_1(u.id) end
  from unnest(jobs) with ordinality u(id, n)
  left join harp.live l on l.id = u.id left join harp.ended e on e.id = u.id order by u.n
$$;
