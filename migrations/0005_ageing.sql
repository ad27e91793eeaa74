-- Drops partitions of a log that hold nothing any more; says how many.
create function drop_empty_partitions(log text) returns integer
language plpgsql as $$
declare
    part regclass;
    holds_rows boolean;
    dropped integer := 0;
begin
    for part in select inhrelid::regclass from pg_inherits where inhparent = log::regclass loop
        execute format('select exists (select from %s)', part) into holds_rows;
        if not holds_rows then
            execute format('drop table %s', part);
            dropped := dropped + 1;
        end if;
    end loop;
    return dropped;
end $$;
