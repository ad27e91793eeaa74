-- Folded from the event log: drop the rows, run `spark rebuild`, and they come back equal.
create table cards (
    model      text not null,
    key        uuid not null,
    parent     uuid not null,
    first_seq  bigint not null,
    document   jsonb not null,
    primary key (model, key)
);
create index cards_parent on cards (model, parent, first_seq);

-- Files that something refers to; others in the store are leftovers.
create table media_objects (
    key        text primary key,
    bytes      bigint not null,
    sha256     text not null,
    added_at   timestamptz not null default now()
);
