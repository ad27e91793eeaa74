-- The logs: what ages and what stays.

-- Our own decisions. Kept for good; one appender at a time, so that seq is in commit order.
create table event_log (
    seq        bigint primary key,
    at         timestamptz not null default now(),
    feature    text not null,
    subject    uuid not null,
    body       jsonb not null
);
create index event_log_subject on event_log (subject, seq);

-- Where followers stand.
create table cursors (
    follower   text primary key,
    seq        bigint not null
);

-- Ids already heard; swept after a week. Unpartitioned: a unique id cannot be kept across day partitions.
create table inbox (
    source     text not null,
    message_id text not null,
    heard_at   timestamptz not null default now(),
    constraint inbox_key primary key (source, message_id)
);
create index inbox_heard_at on inbox (heard_at);

-- Raw messages, personal. Partitioned by day; dropped when the week's report is frozen.
create table audience_messages (
    live       uuid not null,
    at         timestamptz not null,
    offset_ms  bigint not null,
    message_id text not null,
    viewer_id  text not null,
    viewer_name text not null,
    body       text not null,
    trusted    boolean not null,
    bits       integer not null,
    primary key (live, at, message_id)
) partition by range (at);
create index audience_messages_viewer on audience_messages (viewer_id);

-- What happened, without persons. Partitioned by month, kept.
create table audience_facts (
    live       uuid not null,
    at         timestamptz not null,
    offset_ms  bigint not null,
    kind       text not null,
    viewer     bytea not null,
    amount     bigint not null
) partition by range (at);
create index audience_facts_live on audience_facts (live, offset_ms);

-- Minutes folded before anything ages out.
create table audience_minutes (
    live       uuid not null,
    minute     integer not null,
    messages   integer not null,
    chatters   integer not null,
    coverage   real not null,
    primary key (live, minute)
);

-- The key that makes pseudonyms within a week; destroyed at D+15.
create table week_keys (
    week       uuid primary key,
    secret     bytea,
    destroyed_at timestamptz
);

-- Creates the partition of a log that holds a moment in time. Callers hold the log's appender lock.
create function ensure_partition(log text, step text, moment timestamptz) returns void
language plpgsql as $$
declare
    lower_bound timestamptz := date_trunc(step, moment at time zone 'UTC') at time zone 'UTC';
    upper_bound timestamptz := (date_trunc(step, moment at time zone 'UTC') + ('1 ' || step)::interval) at time zone 'UTC';
    part text := log || '_' || to_char(lower_bound at time zone 'UTC', case step when 'day' then 'YYYYMMDD' else 'YYYYMM' end);
begin
    if to_regclass(part) is null then
        execute format('create table %I partition of %I for values from (%L) to (%L)', part, log, lower_bound, upper_bound);
    end if;
end $$;
