-- Who listens to the audience: each process says so every few seconds.
create table listeners (
    name       text primary key,
    since      timestamptz not null,
    seen_at    timestamptz not null default clock_timestamp(),
    has_left   boolean not null default false,
    shards     integer[] not null,
    health     jsonb not null
);
