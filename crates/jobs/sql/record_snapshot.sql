-- Records a snapshot that a command has made. $1 text: its id; $2 text: the tenant, as the source prints it; $3 text: the
-- store; $4 jsonb: options; $5 jsonb: its file; $6 bigint: the sequence id.
insert into offtake.job (public_id, kind, tenant_id, store, options, state, consistency, from_sequence_id, sequence_id, files,
                         percent, started_at, finished_at)
values ($1, 'snapshot', $2, $3, $4, 'completed', 'snapshot', $6, $6, $5, 100, now(), now())
on conflict (public_id) do nothing
