-- What went wrong, from its beginning to its end.
create table incidents (
    id           uuid primary key,
    topic        jsonb not null,
    opened_at    timestamptz not null,
    closed_at    timestamptz,
    worst        double precision,
    slowed       text[] not null,
    taken_by     uuid references people (id),
    taken_at     timestamptz,
    told_opening boolean not null,
    told_ending  boolean not null
);
create index incidents_unfinished on incidents (opened_at) where closed_at is null or not told_ending;
create index incidents_ended on incidents (closed_at desc) where closed_at is not null;

-- Browsers that asked to be woken by an alert.
create table push_devices (
    endpoint text primary key,
    person   uuid not null references people (id),
    added_at timestamptz not null
);
