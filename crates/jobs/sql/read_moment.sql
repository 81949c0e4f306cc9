-- The source's clock, and the version of its server, for what is told of a snapshot. No parameters;
-- reads no table.
select now() as read_at, split_part(current_setting('server_version'), ' ', 1) as server
