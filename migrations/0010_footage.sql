-- What lies in the DVR, a row a file, its parts in arrays of one length. The recorder never writes here: the server copies it
-- from the index beside each file, and `spark cameras index` makes it anew.
create table footage_files (
    recording uuid not null,
    file integer not null check (file > 0),
    camera uuid not null,
    from_ns bigint not null,
    to_ns bigint not null,
    bytes bigint not null,
    -- It was closed in order: nothing more comes to it.
    is_closed boolean not null,
    numbers integer[] not null,
    offsets bigint[] not null,
    lengths integer[] not null,
    dts bigint[] not null,
    ticks bigint[] not null,
    utc_ns bigint[] not null,
    keys boolean[] not null,
    primary key (recording, file)
);

create index footage_files_by_time on footage_files (camera, from_ns);
