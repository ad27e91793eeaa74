-- How full the machine was, minute by minute; a week is kept.
create table resource_minutes (
    resource text not null,
    at       timestamptz not null,
    mean     double precision not null,
    most     double precision not null,
    primary key (resource, at)
);
create index resource_minutes_at on resource_minutes (at);
