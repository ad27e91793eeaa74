-- Notifications as they came, whole. Personal: they age with the audience messages. Partitioned by the day they were heard.
create table notifications (
    seq        bigint not null,
    heard_at   timestamptz not null,
    channel    text not null,
    live       uuid,
    message_id text not null,
    kind       text not null,
    version    text not null,
    -- The chat message it is about, so that a deletion finds it.
    subject    text,
    viewer_id  text,
    raw        text not null,
    reading    jsonb not null,
    primary key (heard_at, seq)
) partition by range (heard_at);
create index notifications_channel on notifications (channel, heard_at);
create index notifications_seq on notifications (seq);
create index notifications_live on notifications (live, seq) where live is not null;
create index notifications_subject on notifications (subject) where subject is not null;
create index notifications_viewer on notifications (viewer_id) where viewer_id is not null;

-- Drawn under the appender's lock: in commit order.
create sequence notification_numbers;

create index audience_messages_id on audience_messages (live, message_id);

-- Drops partitions that hold nothing any more and whose time is over; one that is made ahead stays. Says how many.
drop function drop_empty_partitions(text);
create function drop_empty_partitions(log text, before timestamptz) returns integer
language plpgsql as $$
declare
    part regclass;
    holds_rows boolean;
    dropped integer := 0;
begin
    for part in
        select inhrelid::regclass from pg_inherits
         where inhparent = log::regclass
           and right(inhrelid::regclass::text, 8) < to_char(before at time zone 'UTC', 'YYYYMMDD')
    loop
        execute format('select exists (select from %s)', part) into holds_rows;
        if not holds_rows then
            execute format('drop table %s', part);
            dropped := dropped + 1;
        end if;
    end loop;
    return dropped;
end $$;
