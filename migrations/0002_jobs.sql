-- Slow work. A lease and a fence make sure that one result is kept, whoever is late.
create table jobs (
    id           uuid primary key,
    kind         text not null,
    lane         text not null,
    dedupe_key   text not null,
    body         jsonb not null,
    state        text not null default 'waiting',
    attempt      integer not null default 0,
    fence        bigint not null default 0,
    worker       text,
    lease_until  timestamptz,
    run_at       timestamptz not null default now(),
    progress     real not null default 0,
    note         text not null default '',
    error        text,
    cancel_asked boolean not null default false,
    created_at   timestamptz not null default now(),
    started_at   timestamptz,
    finished_at  timestamptz,
    constraint jobs_state check (state in ('waiting', 'running', 'done', 'failed', 'cancelled'))
);
create unique index jobs_under_way on jobs (dedupe_key) where state in ('waiting', 'running');
create index jobs_claim on jobs (lane, run_at) where state in ('waiting', 'running');
create index jobs_newest on jobs (created_at desc);
