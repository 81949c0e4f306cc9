-- The settings of a connection. full: a commit is on the disk before it is told to the source, which
-- otherwise would be ahead of the file after a power cut. Foreign keys are not enforced, as is
-- SQLite's own default: rows arrive in no order that they ask for. The cache has 8 MB.
pragma synchronous = full;
pragma foreign_keys = off;
pragma cell_size_check = on;
pragma cache_size = -8000
