-- How many watched in a minute, on the average of the looks in it; null when no look told.
alter table audience_minutes add column viewers integer;
