-- Names and addresses, beside the logs, purgeable field by field.
create table people (
    id            uuid primary key,
    email         text,
    name          text not null default '',
    role          text not null,
    password_hash text,
    created_at    timestamptz not null default now(),
    closed_at     timestamptz,
    constraint people_email_key unique (email)
);

-- Browser sessions, by the hash of their reference.
create table sessions (
    reference_hash bytea primary key,
    person         uuid not null references people (id),
    csrf           bytea not null,
    device         text not null,
    created_at     timestamptz not null,
    seen_at        timestamptz not null
);
create index sessions_person on sessions (person);

-- One-time links, by the hash of their token.
create table one_time_links (
    token_hash     bytea primary key,
    person         uuid not null references people (id),
    expires_at     timestamptz not null
);
create index one_time_links_person on one_time_links (person);
